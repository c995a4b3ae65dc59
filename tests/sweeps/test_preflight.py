"""What `sweep run` learns of the data before anything is written, and what is kept of it."""

import json
from pathlib import Path

import pytest

from keepgain.core.errors import UserError
from keepgain.core.status import Stage
from keepgain.core.store.location import resolve_store
from keepgain.core.store.spool import Spool
from keepgain.sweeps.checked import FILE_NAME, read_checked, write_checked
from keepgain.sweeps.gates.findings import Finding
from keepgain.sweeps.keeper import REPORT_NAME, Keeper
from keepgain.sweeps.preflight import Ready, preflight, warnings_of
from keepgain.sweeps.recorder import DRIVER, Recorder
from keepgain.sweeps.search.ledger import Ledger
from tests.sweeps.tiny_models import make_world, write_jsonl


def ready(spec: Path, said: list[str]) -> Ready:
    store = str(spec.parent / "store")
    return preflight(spec, said.append, profile=None, store=store, address=None)


def copy_an_item_into_training(spec: Path) -> None:
    rows = [{"prompt": f"route ticket {i}", "answer": f"desk {i % 7}"} for i in range(60)]
    write_jsonl(spec.parent / "items.jsonl", rows[:40])
    write_jsonl(spec.parent / "tickets.jsonl", rows)
    text = spec.read_text().replace(", split: auto", "")
    spec.write_text(text.replace("gain: {from: tickets,", "gain: {path: items.jsonl,"))


def test_an_error_stops_it_before_anything_is_written(tmp_path: Path) -> None:
    spec = make_world(tmp_path, models=1)
    copy_an_item_into_training(spec)
    before = set(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=r"questions of gain/validation are in tickets/train too"):
        ready(spec, [])
    assert set(tmp_path.rglob("*")) == before
    spec.write_text(spec.read_text() + "allow: {split_overlap: 'a test of memory'}\n")
    said: list[str] = []
    warnings = ready(spec, said).warnings
    (allowed, *_) = [w for w in warnings if "questions of gain/validation" in w]
    assert allowed.endswith("Allowed by the spec: a test of memory.")
    assert f"warning: {allowed}" in said


def test_what_was_checked_is_attached_to_the_sweeps_own_run(tmp_path: Path) -> None:
    spec = make_world(tmp_path / "world", models=1)
    found, folder = ready(spec, []), tmp_path / "sweep"
    folder.mkdir()
    (folder / "sweep.yaml").write_text(spec.read_text())
    item = found.prepared.suites["gain"].test.rows[0].id
    flagged = {"leaked": {"gain": {"test": (item,)}}}
    write_checked(folder, found.checked.model_copy(update={"flagged": flagged}))
    with Ledger.open(folder / "ledger.jsonl") as ledger:
        spool = Spool(folder / "spool", DRIVER)
        store = resolve_store(str(tmp_path), create=True)
        recorder = Recorder(spool, folder)
        keeper = Keeper(found.prepared, store, folder, ledger, recorder, found.warnings, None)
        evidence = keeper.save(Stage.BASE)
        spool.close()
    events = [
        json.loads(x) for x in (folder / "spool" / f"{DRIVER}.jsonl").read_text().splitlines()
    ]
    files = {Path(e["path"]).name for e in events if e.get("folder") == "data"}
    assert files == {FILE_NAME, REPORT_NAME}
    assert "few_items" in (folder / REPORT_NAME).read_text()
    tags = {k: v for e in events if "tags" in e for k, v in e["tags"].items()}
    warned = sum(f.severity == "warning" for f in found.checked.findings)
    assert tags["keepgain.data_warnings"] == str(warned) and warned > 0
    assert evidence.sweep.flagged == flagged and evidence.sweep.warnings == found.warnings


def test_what_an_earlier_driver_kept_is_taken_again(tmp_path: Path) -> None:
    spec = make_world(tmp_path, models=1)
    first = ready(spec, [])
    folder = resolve_store(str(tmp_path / "store"), create=True).sweep_folder(
        first.prepared.sweep_id
    )
    folder.mkdir(parents=True)
    made_up = first.checked.findings[0].model_copy(
        update={"where": "kept", "code": "field_missing"}
    )
    kept = {**first.checked.of_rows, "slices": (made_up,)}
    write_checked(folder, first.checked.model_copy(update={"of_rows": kept}))
    assert any(w.startswith("kept: ") for w in ready(spec, []).warnings)
    assert read_checked(folder) is not None


def test_warnings_of_one_code_are_said_in_one_line(tmp_path: Path) -> None:
    found = ready(make_world(tmp_path, models=1), []).checked
    findings = [
        *(warning("label_conflict", f"s{i}/train", f"{i} rows.") for i in range(6)),
        warning("label_conflict", "kept/train", "kept as they are.", "they vote"),
        warning("diversity", "s0/train", "few templates."),
        warning("diversity", "s0/train", "a note.").model_copy(update={"severity": "note"}),
    ]
    assert warnings_of(found.model_copy(update={"findings": tuple(findings)})) == (
        "s0/train: 0 rows. Likewise: s1/train, s2/train, s3/train and 2 more (`sweep check`).",
        "kept/train: kept as they are. Allowed by the spec: they vote.",
        "s0/train: few templates.",
    )


def warning(code: str, where: str, message: str, waived: str | None = None) -> Finding:
    return Finding(code=code, severity="warning", where=where, message=message, waived=waived)
