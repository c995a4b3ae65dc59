import subprocess
import sys
from pathlib import Path

import pytest

from keepgain.core.errors import UserError
from keepgain.core.record import Evidence
from keepgain.core.status import Stage
from keepgain.core.store.location import StoreLocation, resolve_store
from keepgain.core.store.reader import (
    CACHE_NAME,
    _copy_name,
    kept_copy,
    load_from_mlflow,
    open_reader,
)
from keepgain.core.store.record_files import ITEMS_NAME, RECORD_NAME, load_folder, save_folder
from keepgain.core.store.shipper import Shipper
from keepgain.core.store.spool import Spool
from keepgain.core.store.summary import is_running, list_sweeps
from tests.core.store.conftest import SWEEP, same_evidence, scores

READ = """
import sys
from keepgain.core.store.location import resolve_store
from keepgain.core.store.reader import open_reader
from keepgain.core.store.spool import Spool
from keepgain.core.store.summary import list_sweeps
location = resolve_store(sys.argv[1])
reader = open_reader(location)
assert reader.load(reader.sweep_ids()[0]).sweep.name == "tickets"
assert list_sweeps(location)[0].status == "finished"
print(sorted({m.partition(".")[0] for m in sys.modules} & {"mlflow", "torch", "ray", "optuna"}))
"""

READ_ONE = """
import sys
from keepgain.core.store.location import resolve_store
from keepgain.core.store.reader import open_reader
sweep = open_reader(resolve_store(sys.argv[1])).load(sys.argv[2]).sweep
print(sweep.name, sorted({m.partition(".")[0] for m in sys.modules} & {"mlflow", "pandas"}))
"""


def record(location: StoreLocation, evidence: Evidence) -> Path:
    folder = location.sweep_folder(evidence.sweep.id) / "record"
    save_folder(folder, evidence)
    return folder


def upload(location: StoreLocation, folder: Path, *, end: str | None = "FINISHED") -> None:
    spool_folder = folder.parent / "spool"
    spool = Spool(spool_folder, "driver")
    for name in (ITEMS_NAME, RECORD_NAME):
        spool.artifact("parent", folder / name, "record")
    spool.metrics("parent", 0, {"trials/completed": 1, "trials/failed": 1})
    spool.tags("parent", {"keepgain.stage": "decided"})
    if end:
        spool.end("parent", end)
    spool.close()
    with Shipper(location, folder.parent.name, "tickets", spool_folder) as shipper:
        assert shipper.drain(30), shipper.trouble


def test_files_give_back_what_was_saved(tmp_path: Path, evidence: Evidence) -> None:
    save_folder(tmp_path / "record", evidence)
    assert same_evidence(load_folder(tmp_path / "record"), evidence)
    assert sorted(p.name for p in (tmp_path / "record").iterdir()) == [ITEMS_NAME, RECORD_NAME]


def test_a_crash_between_the_two_files_leaves_the_older_record(
    tmp_path: Path, evidence: Evidence
) -> None:
    older = Evidence(
        evidence.sweep.model_copy(update={"runs": evidence.sweep.runs[:1]}), evidence.items[:1]
    )
    save_folder(tmp_path, older)
    committed = (tmp_path / RECORD_NAME).read_bytes()
    save_folder(tmp_path, evidence)
    (tmp_path / RECORD_NAME).write_bytes(committed)  # as if killed before the second file
    assert same_evidence(load_folder(tmp_path), older)


def test_what_is_no_record_is_refused(tmp_path: Path, evidence: Evidence) -> None:
    stranger = Evidence(evidence.sweep, (("other-s0", scores("gain", "test", [1.0])),))
    with pytest.raises(ValueError, match="not in the record: other-s0"):
        save_folder(tmp_path, stranger)
    with pytest.raises(UserError, match="no such record"):
        load_folder(tmp_path)
    for text, words in (("{", "cannot be read"), ('{"schema_version": 9}', "version 9")):
        (tmp_path / RECORD_NAME).write_text(text)
        with pytest.raises(UserError, match=words):
            load_folder(tmp_path)


def test_local_files_and_mlflow_give_the_same_evidence(
    location: StoreLocation, evidence: Evidence
) -> None:
    folder = record(location, evidence)
    upload(location, folder)
    reader = open_reader(location)
    assert reader.sweep_ids() == [SWEEP]
    assert same_evidence(reader.load(SWEEP), evidence)
    assert same_evidence(load_from_mlflow(location, SWEEP), evidence)
    cached = list((location.work / CACHE_NAME / SWEEP).iterdir())
    assert len(cached) == 1 and sorted(p.name for p in cached[0].iterdir())[0] == ITEMS_NAME
    assert same_evidence(load_from_mlflow(location, SWEEP), evidence)

    folder.rename(folder.parent.parent.parent / "moved-away")
    assert same_evidence(open_reader(location).load(SWEEP), evidence)
    assert open_reader(location).sweep_ids() == [SWEEP]


def test_a_finished_sweep_is_read_a_second_time_without_mlflow(
    location: StoreLocation, evidence: Evidence, tmp_path: Path
) -> None:
    upload(location, record(location, evidence))
    (location.work / SWEEP).rename(tmp_path / "moved-away")
    said: list[str] = []
    assert same_evidence(open_reader(location, said.append).load(SWEEP), evidence)
    assert any("downloading record/items.parquet" in line for line in said)
    command = [sys.executable, "-c", READ_ONE, str(location.folder), SWEEP]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.returncode) == ("tickets []", 0), done.stderr


def test_a_sweep_that_went_on_since_is_read_afresh(
    location: StoreLocation, evidence: Evidence, tmp_path: Path
) -> None:
    folder = record(location, evidence)
    upload(location, folder)
    load_from_mlflow(location, SWEEP)
    newer = Evidence(evidence.sweep.model_copy(update={"test_opened": 1}), evidence.items)
    upload(location, record(location, newer))
    folder.rename(tmp_path / "moved-away")
    assert open_reader(location).load(SWEEP).sweep.test_opened == 1


def test_a_server_is_asked_again_until_the_decision_is_made(
    location: StoreLocation, evidence: Evidence, tmp_path: Path
) -> None:
    upload(location, record(location, evidence))
    load_from_mlflow(location, SWEEP)
    (location.work / SWEEP).rename(tmp_path / "moved-away")
    copy = kept_copy(location, SWEEP)
    assert copy is not None
    there, elsewhere = (
        StoreLocation(uri, None, location.work, "--store")
        for uri in ("http://one:5000", "http://two:5000")
    )
    run_and_end = copy.name.rpartition("-")[0]
    of_server = copy.with_name(f"{run_and_end}-{_copy_name(there, 'r', 0).rpartition('-')[2]}")
    copy.rename(of_server)
    assert kept_copy(there, SWEEP) == of_server
    assert kept_copy(elsewhere, SWEEP) is None
    said: list[str] = []
    assert same_evidence(open_reader(there, said.append).load(SWEEP), evidence)
    assert said == [f"read from the copy in {of_server}; delete it to ask the server again"]
    searching = evidence.sweep.model_copy(update={"stage": Stage.SEARCH})
    save_folder(of_server, Evidence(searching, evidence.items))
    assert kept_copy(there, SWEEP) is None


def test_a_running_sweep_is_read_afresh(location: StoreLocation, evidence: Evidence) -> None:
    upload(location, record(location, evidence), end=None)
    load_from_mlflow(location, SWEEP)
    newer = Evidence(evidence.sweep.model_copy(update={"test_opened": 1}), evidence.items)
    upload(location, record(location, newer), end=None)
    assert load_from_mlflow(location, SWEEP).sweep.test_opened == 1


def test_an_unknown_id_names_the_store_and_the_nearest(
    location: StoreLocation, evidence: Evidence
) -> None:
    with pytest.raises(UserError, match="holds no sweep at all"):
        open_reader(location).load("tickets-000000")
    record(location, evidence)
    with pytest.raises(UserError, match=f"{location.folder}.*Nearest known: {SWEEP}"):
        open_reader(location).load("tickets-7f3a2d")
    with pytest.raises(UserError, match="cannot be a sweep id"):
        open_reader(location).load("../../etc")


def test_reading_creates_no_database(tmp_path: Path) -> None:
    (tmp_path / "store" / "sweeps").mkdir(parents=True)
    location = resolve_store(str(tmp_path / "store"))
    assert open_reader(location).sweep_ids() == []
    assert list_sweeps(location) == []
    assert not (tmp_path / "store" / "mlflow.db").exists()


def test_artifacts_that_lead_elsewhere_are_refused(
    location: StoreLocation, evidence: Evidence
) -> None:
    folder = record(location, evidence)
    upload(location, folder)
    assert location.artifacts is not None
    stored = next(location.artifacts.rglob(RECORD_NAME))
    stored.unlink()
    stored.symlink_to("/etc/passwd")
    with pytest.raises(UserError) as caught:
        load_from_mlflow(location, SWEEP)
    assert "root:" not in str(caught.value)


def test_a_local_record_is_read_without_mlflow(location: StoreLocation, evidence: Evidence) -> None:
    record(location, evidence)
    command = [sys.executable, "-c", READ, str(location.folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


def test_lists_agree_between_folders_and_mlflow(
    location: StoreLocation, evidence: Evidence, tmp_path: Path
) -> None:
    folder = record(location, evidence)
    upload(location, folder)
    with Shipper(location, "other-123456", "other", location.work / "other-123456" / "spool") as it:
        assert it.drain(30)
        assert is_running(location.work / "other-123456")
        running, finished = list_sweeps(location)
    assert (running.id, running.name, running.status) == ("other-123456", "other", "running")
    assert (finished.status, finished.completed, finished.failed) == ("finished", 1, 1)
    (folder / RECORD_NAME).write_text("{")
    assert [s.status for s in list_sweeps(location)] == ["stopped", "unreadable"]

    location.work.rename(tmp_path / "moved-away")
    running, finished = list_sweeps(location)
    assert (finished.id, finished.stage, finished.status) == (SWEEP, "decided", "finished")
    assert (finished.completed, finished.failed) == (1, 1)
