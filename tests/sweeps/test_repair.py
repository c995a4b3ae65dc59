"""`sweep repair`: real ledgers, spools and MLflow stores; the workers are stand-ins."""

import contextlib
import json
import shutil
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from keepgain.core.status import Stage, TrialStatus
from keepgain.core.store.bootstrap import prepare_store
from keepgain.core.store.client import new_client
from keepgain.core.store.location import StoreLocation, resolve_store
from keepgain.core.store.names import TAG_ROLE, TAG_RUN_KEY, TAG_SWEEP
from keepgain.core.store.shipper import Shipper
from keepgain.core.store.spool import Spool
from keepgain.core.store.tail import SHIPPED_NAME
from keepgain.core.store.upkeep import StoredRun, stored_runs
from keepgain.sweeps.cli.main import main
from keepgain.sweeps.keeper import Keeper
from keepgain.sweeps.prepare import prepare
from keepgain.sweeps.recorder import DRIVER, Recorder
from keepgain.sweeps.run import Outcome
from keepgain.sweeps.search.ledger import Ledger, read_events
from keepgain.sweeps.search.replay import replay
from keepgain.sweeps.spec import load_spec
from tests.sweeps.test_program import Sweep, world  # noqa: F401 - a fixture


@dataclass(frozen=True)
class Done:
    """A sweep that was carried out and recorded."""

    location: StoreLocation
    folder: Path

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def spool(self) -> Path:
        return self.folder / "spool"

    def runs(self) -> dict[str, StoredRun]:
        found = stored_runs(self.location, self.id)
        assert len({r.run_key for r in found}) == len(found)
        return {r.run_key: r for r in found}

    def figures(self) -> dict[str, Any]:
        """Run key → status and final figures, without those of the decision."""
        return {
            k: (r.status, {m: v for m, v in r.metrics.items() if m.startswith("final/")})
            for k, r in self.runs().items()
        }

    def repair(self, *options: str, code: int = 0) -> dict[str, Any]:
        capture = self.folder / "said.json"
        with capture.open("w") as file, contextlib.redirect_stdout(file):
            store = str(self.location.folder)
            found = main(["repair", self.id, "--store", store, "--json", *options])
        report = json.loads(capture.read_text())
        assert found == code, report
        assert report["agrees"] == (code == 0)
        return dict(report)


@pytest.fixture(scope="module")
def template(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:  # noqa: F811
    """Carried out up to its test stage and shipped; its driver has ended in order."""
    location = resolve_store(str(tmp_path_factory.mktemp("stores") / "store"), create=True)
    sweep_id = prepare(load_spec(world), None).sweep_id
    folder = location.sweep_folder(sweep_id)
    prepare_store(location, prepare(load_spec(world), None).spec.name)
    shutil.copytree(world.parent, folder, dirs_exist_ok=True)
    sweep = Sweep(world, folder).run()
    with (
        Ledger.open(folder / "ledger.jsonl") as ledger,
        contextlib.closing(Spool(folder / "spool", DRIVER)) as spool,
    ):
        recorder = Recorder(spool, folder)
        recorder.parent_started(sweep_id)
        keeper = Keeper(sweep.prepared, location, folder, ledger, recorder, (), None)
        keeper.save(Stage.TEST)
        recorder.parent_ended("KILLED")
    ship(location, folder)
    return Done(location, folder)


def ship(location: StoreLocation, folder: Path) -> None:
    name = json.loads((folder / "spec.resolved.json").read_text())["name"]
    with Shipper(location, folder.name, name, folder / "spool") as shipper:
        assert shipper.drain(60), shipper.trouble


@pytest.fixture
def done(template: Done, tmp_path: Path) -> Done:
    """A copy: a process keeps databases open, so that one that is to be lost must be another."""
    assert template.location.folder is not None
    shutil.copytree(template.location.folder, tmp_path / "store")
    location = resolve_store(str(tmp_path / "store"))
    done = Done(location, location.sweep_folder(template.id))
    shipped = done.spool / SHIPPED_NAME  # it says to which store
    moved = shipped.read_text().replace(template.location.display, location.display)
    shipped.write_text(moved)
    return done


@pytest.mark.processes
def test_a_record_that_agrees_is_left_alone(template: Done) -> None:
    before = template.figures()
    report = template.repair()
    state = replay(read_events(template.folder / "ledger.jsonl"))
    keys = {k for k, r in state.runs.items() if r.asked.stage is not Stage.TEST}
    assert report["runs"] == len(keys) + 1 and set(before) == keys | {"parent"}
    assert (report["found"], report["unshipped"], report["rebuilt"]) == ([], 0, 0)
    assert template.figures() == before and not report["sent_again"]


@pytest.mark.fault("P5", "P10")
@pytest.mark.processes
def test_a_lost_database_gets_everything_again(template: Done, done: Done) -> None:
    before = template.figures()
    assert done.location.database is not None
    done.location.database.unlink()
    looked = done.repair("--dry-run", code=1)
    assert not done.location.database.exists(), "a dry run makes nothing"
    assert looked["unshipped"] > 0 and len(looked["left"]) == looked["runs"]
    report = done.repair()
    assert report["runs"] == len(report["found"]) == len(before)
    assert done.figures() == before
    assert done.repair()["found"] == []


@pytest.mark.fault("P5")
@pytest.mark.processes
def test_runs_that_were_made_twice_left_open_or_lost_are_put_in_order(done: Done) -> None:
    runs, client = done.runs(), new_client(done.location)
    before = done.figures()
    keys = sorted(k for k, r in runs.items() if k != "parent" and r.status == "FINISHED")
    twice, deleted, killed, overwritten = keys[:4]
    again = client.create_run(
        client.get_run(runs["parent"].run_id).info.experiment_id,
        tags={TAG_SWEEP: done.id, TAG_RUN_KEY: twice, TAG_ROLE: "run"},
    )
    client.delete_run(runs[deleted].run_id)
    client.update_run(runs[killed].run_id, status="RUNNING")
    client.set_terminated(runs[overwritten].run_id, "FAILED")
    name = next(m for m in runs[overwritten].metrics if m.startswith("final/"))
    _forget_metric(done.location, runs[overwritten].run_id, name)
    looked = done.repair("--dry-run", code=1)
    assert looked["stale"] == sorted({twice, killed})
    assert looked["duplicates"] == [again.info.run_id]
    report = done.repair()
    assert {d["run_key"] for d in report["found"]} == {twice, deleted, killed, overwritten}
    assert report["sent_again"]
    assert done.figures() == before
    assert client.get_run(again.info.run_id).info.lifecycle_stage == "deleted"


def _forget_metric(location: StoreLocation, run_id: str, name: str) -> None:
    assert location.database is not None
    with contextlib.closing(sqlite3.connect(location.database)) as db:
        for table in ("metrics", "latest_metrics"):
            db.execute(f"DELETE FROM {table} WHERE run_uuid = ? AND key = ?", (run_id, name))
        db.commit()


@pytest.mark.fault("P5")
@pytest.mark.processes
def test_a_lost_spool_is_written_anew_from_the_ledger(template: Done, done: Done) -> None:
    before = template.figures()
    shutil.rmtree(done.spool)
    assert done.location.database is not None
    done.location.database.unlink()
    report = done.repair()
    assert report["rebuilt"] > 0
    after = done.figures()
    # What Optuna was told (gain and forgetting) follows from several runs: `sweep run` says it.
    told = ("final/gain", "final/forgetting")
    expected = {
        k: (s, {m: v for m, v in f.items() if m not in told}) for k, (s, f) in before.items()
    }
    assert after == expected


@pytest.mark.fault("P5")
@pytest.mark.processes
def test_a_driver_killed_in_the_middle_leaves_nothing_running(
    world: Path,  # noqa: F811
    template: Done,
    tmp_path: Path,
) -> None:
    location = resolve_store(str(tmp_path / "store"), create=True)
    done = Done(location, location.sweep_folder(template.id))
    shutil.copytree(world.parent, done.folder)
    sweep = Sweep(world, done.folder)
    job = sweep.program.next_job()
    assert job is not None
    sweep.program.on_started(job)
    sweep.spool.close()
    sweep.search.close(interrupted=True)
    (done.spool / ".owner.json").write_text("{}")
    with contextlib.redirect_stdout(None):
        assert main(["repair", done.id, "--store", str(done.location.folder)]) == 2, "it is taken"
    sweep.ledger.close()  # as the kernel does for a killed one
    (done.folder / "spec.resolved.json").write_text(json.dumps({"name": "tickets"}))
    prepare_store(done.location, "tickets")
    ship(done.location, done.folder)
    assert {r.status for r in done.runs().values()} == {"RUNNING"}

    report = done.repair()
    assert set(report["stale"]) == {job.run_key, "parent"}
    assert {k: r.status for k, r in done.runs().items()} == {
        job.run_key: "KILLED",
        "parent": "KILLED",
    }
    assert {r.complete for r in done.runs().values()} == {"true"}
    assert not (done.spool / ".owner.json").exists()

    # And the sweep goes on from there.
    time.sleep(0.01)
    Sweep(world, done.folder).run()
    ship(done.location, done.folder)
    state = replay(read_events(done.folder / "ledger.jsonl"))
    assert {r.status for r in state.runs.values()} == {TrialStatus.COMPLETED}
    statuses = {k: r.status for k, r in done.runs().items() if k != "parent"}
    assert set(statuses.values()) == {"FINISHED"} and len(statuses) > 3


def test_a_sweep_that_is_not_here_is_said_to_be_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    location = resolve_store(str(tmp_path / "store"), create=True)
    (location.sweep_folder("other-123456") / "spool").mkdir(parents=True)
    assert main(["repair", "other-123456", "--store", str(location.folder)]) == 2
    assert "no ledger of sweep" in capsys.readouterr().err


@pytest.mark.fault("P10")
def test_a_sweep_that_mlflow_did_not_take_is_decided_and_said_to_be_degraded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The outcome alone; what comes of the record is in tests/core/store/test_outages.py."""
    store = resolve_store(str(tmp_path), create=True)
    outcome = Outcome(0, "tiny-000000", tmp_path, store, trouble="the store says nothing")
    monkeypatch.setattr("keepgain.sweeps.run.run_sweep", lambda *given: outcome)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("KEEPGAIN_STORE", "http://127.0.0.1:5000")
    assert main(["run", "sweep.yaml"]) == 0
    said = capsys.readouterr().out
    assert "degraded" in said and "the store says nothing" in said
    assert "sweep repair tiny-000000 --store http://127.0.0.1:5000\n" in said
