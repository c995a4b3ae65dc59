"""What is to be judged: the stored answers of a sweep's runs to the suites that name a judge."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keepgain.core.answers import Answers, Text, read_answers, read_texts, texts_path
from keepgain.core.config import Split
from keepgain.core.endpoint.spec import EndpointSpec
from keepgain.core.errors import UserError
from keepgain.core.inside import inside
from keepgain.core.items import ItemScores
from keepgain.core.record import Evidence, RunRecord
from keepgain.core.schema import parse
from keepgain.core.store.location import StoreLocation
from keepgain.core.store.names import RECORD_FOLDER
from keepgain.core.store.record_files import load_folder
from keepgain.sweeps.overview import find_sweep, read_resolved_spec
from keepgain.sweeps.spec import load_spec
from keepgain.sweeps.spec_judge import JudgeSpec


@dataclass(frozen=True)
class JudgeSettings:
    """Keys of a spec that judging reads."""

    judges: Mapping[str, JudgeSpec]
    """Suite → its judge."""
    endpoints: Mapping[str, EndpointSpec]
    folder: Path
    """Relative paths start here."""
    source: str
    """File, for messages."""


@dataclass(frozen=True)
class Material:
    """Answers of one suite and split."""

    suite: str
    split: Split
    spec: JudgeSpec
    answers: Mapping[str, Mapping[str, str]]
    """Run key → item → answer."""
    bases: Mapping[str, str]
    """Run key of what is no base → run key of its base, where that has answers."""
    texts: Mapping[str, Text]
    """Of the items of this split."""
    every_text: Mapping[str, Text]
    """Of all items of the suite: labels may be of the other split."""
    like: ItemScores
    """Scores of the suite, whose clusters, groups and slices the judged items have too."""


@dataclass(frozen=True)
class Sweep:
    """A sweep whose answers are here."""

    folder: Path
    evidence: Evidence
    settings: JudgeSettings


def read_sweep(
    location: StoreLocation, sweep: str, spec: Path | None, profile: str | None
) -> Sweep:
    """Finds the sweep, its record and who is to judge.

    Args:
        location: The store.
        sweep: Id, or `last`.
        spec: File with `suites.NAME.judge` and `endpoints`; None: as the sweep was run.
        profile: Of the file.

    Raises:
        UserError: No such sweep, no record of it here, or a spec that cannot be used.
    """
    folder = find_sweep(location, sweep)
    record = folder / RECORD_FOLDER
    if not record.is_dir():
        raise UserError(
            f"the files of sweep '{folder.name}' are not here: {folder}.",
            hint="Answers lie where the sweep ran: run this there, with that --store.",
        )
    return Sweep(folder, load_folder(record), _settings(folder, spec, profile))


def _settings(folder: Path, spec: Path | None, profile: str | None) -> JudgeSettings:
    if spec is not None:
        loaded = load_spec(spec, profile)
        judges = {n: s.judge for n, s in loaded.spec.suites.items() if s.judge is not None}
        return JudgeSettings(judges, loaded.spec.endpoints, loaded.folder, str(spec))
    content = read_resolved_spec(folder)
    source = f"the spec of {folder.name}"
    suites: dict[str, dict[str, Any]] = content["suites"]
    return JudgeSettings(
        {
            name: parse(JudgeSpec, suite["judge"], source=f"{source}:suites.{name}.judge")
            for name, suite in suites.items()
            if suite.get("judge")
        },
        {
            name: parse(EndpointSpec, endpoint, source=f"{source}:endpoints.{name}")
            for name, endpoint in (content.get("endpoints") or {}).items()
        },
        Path.cwd(),
        source,
    )


def read_material(sweep: Sweep, suite: str, split: Split | None) -> Material:
    """The answers to one suite.

    Args:
        sweep: The sweep.
        suite: One of `sweep.settings.judges`.
        split: None: test if it was opened, else validation.

    Raises:
        UserError: No answers, or texts that are not there.
    """
    by_split: dict[Split, dict[str, Answers]] = {"validation": {}, "test": {}}
    runs = {run.run_key: run for run in sweep.evidence.sweep.runs}
    for run in runs.values():
        for path in (inside(sweep.folder, name) for name in run.answers):
            for given in read_answers(path) if path.is_file() else ():
                if given.suite == suite and given.split in ("validation", "test"):
                    by_split["test" if given.split == "test" else "validation"][run.run_key] = given
    chosen = split or ("test" if by_split["test"] else "validation")
    found = by_split[chosen]
    if not found:
        raise UserError(
            f"no run of {sweep.folder.name} has kept {chosen} answers to '{suite}'.",
            hint="Answers are kept of suites that ask for some, at the full budget.",
        )
    every = {g.digest for of in by_split.values() for g in of.values()}
    texts = _texts(sweep.folder, {g.digest for g in found.values()}, required=True)
    return Material(
        suite=suite,
        split=chosen,
        spec=sweep.settings.judges[suite],
        answers={k: dict(zip(g.item_ids, g.given, strict=True)) for k, g in found.items()},
        bases=_bases(runs, list(found)),
        texts=texts,
        every_text={**_texts(sweep.folder, every, required=False), **texts},
        like=_like(sweep.evidence, suite, chosen),
    )


def _bases(runs: Mapping[str, RunRecord], answered: Sequence[str]) -> dict[str, str]:
    base = {runs[k].model: k for k in answered if runs[k].kind == "base"}
    others = [k for k in answered if runs[k].kind != "base"]
    return {k: base[runs[k].model] for k in others if runs[k].model in base}


def _texts(folder: Path, digests: set[str], *, required: bool) -> dict[str, Text]:
    found: dict[str, Text] = {}
    for digest in sorted(digests):
        if required or texts_path(folder, digest).is_file():
            found.update(read_texts(folder, digest))
    return found


def _like(evidence: Evidence, suite: str, split: Split) -> ItemScores:
    for _, scores in evidence.items:
        if (scores.suite, scores.split) == (suite, split):
            return scores
    raise UserError(f"the record has no {split} scores of '{suite}'.")
