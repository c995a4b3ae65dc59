"""What a check gives, kept in the sweep's folder: what has not changed is not checked anew."""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from keepgain.core.config import Split
from keepgain.core.identity import fingerprint, folder_digest
from keepgain.core.schema import StrictModel
from keepgain.sweeps.check_progress import CheckProgress
from keepgain.sweeps.data_card import DataCard, data_card
from keepgain.sweeps.gate import Found, Gate, Material
from keepgain.sweeps.gates.catalogue import CODES
from keepgain.sweeps.gates.findings import Finding, finish
from keepgain.sweeps.gates.material import RowSet
from keepgain.sweeps.gates.scan import Probe, scan_sets, usable_processes
from keepgain.sweeps.gates.shape import ShapeProbe
from keepgain.sweeps.located import Located
from keepgain.sweeps.prepare import Prepared
from keepgain.sweeps.sources import SPLITS

FILE_NAME = "data_check.json"
"""In the sweep's folder, and on its MLflow run."""
_CODE = (
    "core/formats.py",
    "core/personal/*.py",
    "core/record_reader.py",
    "core/redaction.py",
    "core/row_files.py",
    "core/rows.py",
    "core/whole_words.py",
    *(
        f"sweeps/{name}.py"
        for name in ("check*", "data_card", "gate", "gates/*", "row_sets", "spec_data")
    ),
)
"""Files of Keepgain that decide what is found."""
_NOT_DATA = {"allow", "limits", "notify", "tags", "resources", "storage"}
"""Keys of a spec that no gate of rows looks at."""


Flagged = dict[str, dict[str, dict[Split, tuple[str, ...]]]]
"""Kind → suite → split → ids of items."""


class Checked(StrictModel):
    """Findings and data card of a sweep."""

    version: Literal[1] = 1
    key: str
    """Changes with what the gates of rows look at, and with Keepgain."""
    findings: tuple[Finding, ...]
    """As people see them."""
    card: DataCard
    of_rows: dict[str, tuple[Finding, ...]]
    """Gate of rows → what it found, before waivers."""
    flagged: Flagged = {}
    """Items without which scores are shown, too."""
    seconds: float
    """That the check took."""


def examine(
    material: Material,
    gates: Sequence[Gate],
    progress: CheckProgress,
    known: Checked | None = None,
) -> Checked:
    """Runs gates.

    Args:
        material: Not yet scanned.
        gates: In the order of their findings.
        progress: Is told.
        known: Of an earlier check: what follows from the same rows is taken from it.
    """
    began, key = time.monotonic(), check_key(material.prepared)
    same = known if known is not None and known.key == key else None
    kept = same.of_rows if same is not None else {}
    if same is None:
        material = _scanned(material, gates, progress)
    found: dict[str, tuple[Finding, ...]] = {}
    flagged: Flagged = {} if same is None else same.flagged
    for gate in gates:
        if gate.name in kept:
            found[gate.name] = kept[gate.name]
            continue
        with progress.gate(gate.name):
            given = gate.run(material)
        if isinstance(given, Found):
            flagged = flagged | _by_id(material.sets, given.flagged)
        found[gate.name] = tuple(given.findings if isinstance(given, Found) else given)
    every = [finding for findings in found.values() for finding in findings]
    return Checked(
        key=key,
        findings=tuple(finish(every, _waivers(material.spec.allow, gates))),
        card=same.card if same is not None else _card(material, gates),
        of_rows={gate.name: found[gate.name] for gate in gates if gate.of_rows},
        flagged=flagged,
        seconds=time.monotonic() - began,
    )


def _by_id(sets: Sequence[RowSet], flagged: Mapping[str, Mapping[str, Sequence[int]]]) -> Flagged:
    """Positions as ids: the record knows items by those."""
    named: Flagged = {}
    for kind, by_label in flagged.items():
        for rows in sets:
            if rows.part != "train" and len(items := by_label.get(rows.label, ())):
                ids = tuple(rows.rows[int(i)].id for i in items)
                named.setdefault(kind, {}).setdefault(rows.name, {})[rows.part] = ids
    return named


def _card(material: Material, gates: Sequence[Gate]) -> DataCard:
    return data_card(material, languages=any(gate.name == "language" for gate in gates))


def _scanned(material: Material, gates: Sequence[Gate], progress: CheckProgress) -> Material:
    """With what the probes of the gates measure, each once."""
    probes: dict[str, Probe] = {probe.name: probe for probe in [ShapeProbe()]}
    probes |= {probe.name: probe for gate in gates for probe in gate.probes(material)}
    with progress.rows(sum(len(rows.rows) for rows in material.sets)) as tick:
        scanned = scan_sets(material.sets, list(probes.values()), usable_processes(), tick)
    return replace(material, scanned=scanned)


def _waivers(allow: Mapping[str, str], gates: Sequence[Gate]) -> dict[str, str]:
    """Those that the gates could use: of a part of the check the others are not unused."""
    names = {gate.name for gate in gates}
    return {key: why for key, why in allow.items() if CODES[key.partition("@")[0]].gate in names}


def check_key(prepared: Prepared) -> str:
    """Of everything that gates of rows look at."""
    digest = hashlib.sha256()
    for source in prepared.sources.values():
        _add_rows(digest, source.train)
        if (made := source.lineage) is not None:  # rows that were left out are in no set
            told = (made.parent, made.asked, made.unchanged, made.left_out)
            digest.update(repr(told).encode())
    for suite in prepared.suites.values():
        for split in SPLITS:
            _add_rows(digest, suite.items(split))
    spec = prepared.spec.model_dump(mode="json", exclude=_NOT_DATA)
    code = folder_digest(Path(__file__).parents[1], _CODE)
    return fingerprint([prepared.sweep_id, spec, digest.hexdigest(), code])


def _add_rows(digest: "hashlib._Hash", rows: Located) -> None:
    """What the digest of normalised rows, which the sweep id has, leaves out."""
    digest.update(str(rows.places.path).encode("utf-8", "surrogateescape"))
    digest.update(rows.places.lines.tobytes())
    for name, column in sorted(rows.columns.items()):
        digest.update(json.dumps([name, list(column.values)]).encode())
        digest.update(column.codes.tobytes())


def read_checked(folder: Path) -> Checked | None:
    """What the last check of a sweep found; None where there is none that can be used."""
    path = folder / FILE_NAME
    if not path.is_file():
        return None
    try:
        return Checked.model_validate_json(path.read_bytes())
    except ValidationError:  # of another version of Keepgain
        return None


def write_checked(folder: Path, checked: Checked) -> Path:
    """Whole or not at all."""
    path = folder / FILE_NAME
    partial = path.with_name(path.name + ".partial")
    partial.write_text(checked.model_dump_json(indent=2) + "\n", encoding="utf-8")
    partial.replace(path)
    return path
