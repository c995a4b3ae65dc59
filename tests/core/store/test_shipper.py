import contextlib
import dataclasses
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from keepgain.core.errors import UserError
from keepgain.core.store.client import new_client
from keepgain.core.store.datasets import DatasetInfo, columns_of
from keepgain.core.store.location import StoreLocation, resolve_store
from keepgain.core.store.names import TAG_RUN_KEY, original_key
from keepgain.core.store.shipper import REFUSED_NAME, Shipper
from keepgain.core.store.spool import Spool
from keepgain.core.store.tail import SHIPPED_NAME
from keepgain.core.store.upkeep import reap
from tests.core.store.conftest import SWEEP

SHIP = """
import sys
from pathlib import Path
from keepgain.core.store.location import resolve_store
from keepgain.core.store.shipper import Shipper
shipper = Shipper(resolve_store(sys.argv[1]), sys.argv[2], "tickets", Path(sys.argv[3])).start()
shipper.drain(60)
"""


def spool_folder(location: StoreLocation) -> Path:
    return location.sweep_folder(SWEEP) / "spool"


def ship(location: StoreLocation, *, seconds: float = 30) -> Shipper:
    with Shipper(location, SWEEP, "tickets", spool_folder(location)) as shipper:
        assert shipper.drain(seconds), shipper.trouble
    return shipper


def runs_by_key(location: StoreLocation) -> dict[str, Any]:
    client = new_client(location)
    experiment = client.get_experiment_by_name("keepgain/tickets")
    runs = list(client.search_runs([experiment.experiment_id], max_results=1000))
    keys = [run.data.tags[TAG_RUN_KEY] for run in runs]
    assert len(keys) == len(set(keys)), f"several runs of one key: {sorted(keys)}"
    return dict(zip(keys, runs, strict=True))


def history(location: StoreLocation, run: Any, name: str) -> list[tuple[int, float]]:
    points = new_client(location).get_metric_history(run.info.run_id, name)
    return sorted((p.step, p.value) for p in points)


def test_a_sweep_is_one_parent_with_readable_children(location: StoreLocation) -> None:
    spool = Spool(spool_folder(location), "driver")
    spool.start("parent", SWEEP, {"spec": "sweep.yaml"}, {})
    spool.start("k-s0", "xs lora 1e-4", {"learning_rate": 1e-5, "flag": True}, {"host": "a"})
    for step in range(3):
        spool.metrics("k-s0", step * 64, {"train/loss": 1 / (step + 1), "recall@5": 0.5})
    log = location.work / "log.txt"
    log.write_text("hello")
    spool.artifact("k-s0", log, "logs")
    spool.end("k-s0", "FINISHED")
    spool.start("left-s0", "nobody ended it", {}, {})
    spool.end("parent", "FAILED")
    spool.close()
    assert ship(location).trouble is None

    runs = runs_by_key(location)
    parent, child = runs["parent"], runs["k-s0"]
    assert {k: r.info.status for k, r in runs.items()} == {
        "parent": "FAILED",
        "k-s0": "FINISHED",
        "left-s0": "KILLED",
    }
    assert child.info.run_name == "xs lora 1e-4"
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert child.data.params == {"learning_rate": "1e-05", "flag": "true"}
    assert "keepgain.version.mlflow" in parent.data.tags
    assert history(location, child, "train/loss") == [(0, 1.0), (64, 0.5), (128, 1 / 3)]
    assert {original_key(k) for k in child.data.metrics} == {"train/loss", "recall@5"}
    got = new_client(location).download_artifacts(child.info.run_id, "logs/log.txt")
    assert Path(got).read_text() == "hello"


@pytest.mark.fault("P5")
def test_killed_while_shipping_leaves_no_gap_and_no_duplicate(location: StoreLocation) -> None:
    steps = 3000
    for writer in ("a-s0", "b-s0"):
        spool = Spool(spool_folder(location), writer)
        spool.start(writer, writer, {"x": 1}, {})
        for step in range(steps):
            spool.metrics(writer, step, {"loss": float(step)})
        spool.end(writer, "FINISHED")
        spool.close()
    command = [sys.executable, "-c", SHIP, str(location.folder), SWEEP, str(spool_folder(location))]
    process = subprocess.Popen(command)
    assert location.database is not None
    count = 0
    with contextlib.closing(sqlite3.connect(location.database)) as db:
        while count == 0 and process.poll() is None:
            count = db.execute("SELECT count(*) FROM metrics").fetchone()[0]
            time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert 0 < count < 2 * steps, "killed in the middle"

    ship(location)
    (spool_folder(location) / SHIPPED_NAME).unlink()  # and once more, all of it
    ship(location)
    runs = runs_by_key(location)
    for key in ("a-s0", "b-s0"):
        assert history(location, runs[key], "loss") == [(i, float(i)) for i in range(steps)]
        assert runs[key].info.status == "FINISHED"


def test_a_run_started_by_two_writers_is_one_run(location: StoreLocation) -> None:
    for writer in ("driver", "worker"):
        spool = Spool(spool_folder(location), writer)
        spool.start("k-s0", "one", {"x": 1}, {"by": writer})
        spool.metrics("k-s0", 1, {writer: 1.0})
        spool.close()
    ship(location)
    assert set(runs_by_key(location)["k-s0"].data.metrics) == {"driver", "worker"}


def test_a_continued_run_is_running_again_and_a_replayed_start_is_not(
    location: StoreLocation,
) -> None:
    spool = Spool(spool_folder(location), "driver")
    spool.start("k-s0", "k", {"x": 1}, {})
    spool.start("lost-s0", "lost", {}, {})
    ship(location)
    assert reap(location, SWEEP, keep={"k-s0"}) == ["lost-s0"]
    assert runs_by_key(location)["lost-s0"].info.status == "KILLED"
    assert runs_by_key(location)["k-s0"].info.status == "RUNNING"

    spool.end("k-s0", "KILLED")
    time.sleep(0.01)
    spool.start("k-s0", "k", {"x": 1, "later": 2}, {})
    ship(location)
    assert runs_by_key(location)["k-s0"].info.status == "RUNNING"
    spool.end("k-s0", "FINISHED")
    ship(location)
    (spool_folder(location) / SHIPPED_NAME).unlink()
    ship(location)
    run = runs_by_key(location)["k-s0"]
    assert (run.info.status, run.data.params) == ("FINISHED", {"x": "1", "later": "2"})
    spool.close()


@pytest.mark.fault("N11", "N4")
def test_long_values_and_long_keys_are_kept_whole(location: StoreLocation) -> None:
    text, key = "y" * 7000, "k" * 300
    spool = Spool(spool_folder(location), "driver")
    spool.start("k-s0", "k", {"mixture": text}, {"note": text * 2})
    spool.metrics("k-s0", 1, {key: 1.0})
    spool.close()
    assert ship(location).trouble is None
    run = runs_by_key(location)["k-s0"]
    for value, whole in ((run.data.params["mixture"], text), (run.data.tags["note"], text * 2)):
        assert value.startswith("sha256:")
        artifact = value.rpartition(" ")[2]
        got = new_client(location).download_artifacts(run.info.run_id, artifact)
        assert Path(got).read_text() == whole
    assert [original_key(k, run.data.tags) for k in run.data.metrics] == [key]


@pytest.mark.fault("S3")
def test_no_secret_reaches_the_store(location: StoreLocation) -> None:
    spool = Spool(spool_folder(location), "driver")
    params = {"hub": "hf_canarycanary", "uri": "postgresql://u:canarypw@h/db"}
    spool.start("k-s0", "k hf_canarycanary", params, params)
    spool.close()
    ship(location)
    assert location.database is not None
    content = location.database.read_bytes()
    assert b"canary" not in content


@pytest.mark.fault("N2")
def test_events_that_no_store_takes_do_not_hold_up_the_others(location: StoreLocation) -> None:
    folder = spool_folder(location)
    spool = Spool(folder, "driver")
    spool.start("k-s0", "k", {"x": 1}, {})
    spool.metrics("k-s0", 1, {"before": 1.0})
    spool.artifact("k-s0", folder / "absent.txt")
    spool.start("k-s0", "k", {"x": 2}, {})
    spool.close()
    with (folder / "other.jsonl").open("a") as handle:
        bad = {"event": "metrics", "run_key": "k-s0", "time_ms": 1, "step": 1}
        handle.write(json.dumps(bad)[:-1] + ', "values": {"huge": 1e999}}\n')
        handle.write("not json\n")
        handle.write(json.dumps({**bad, "values": {"after": 2.0}}) + "\n")
    shipper = ship(location)
    assert shipper.state == "degraded"
    assert shipper.trouble is not None and "3 event(s) were refused" in shipper.trouble
    notes = [json.loads(line) for line in (folder / REFUSED_NAME).read_text().splitlines()]
    assert sorted(note["reason"].partition(" ")[0] for note in notes) == [
        "artifact",
        "metric",
        "parameters",
    ]
    run = runs_by_key(location)["k-s0"]
    assert (run.data.params, set(run.data.metrics)) == ({"x": "1"}, {"before", "after"})


@pytest.mark.fault("P10")
def test_an_emptied_store_gets_everything_again(
    location: StoreLocation, template_store: Path
) -> None:
    spool = Spool(spool_folder(location), "driver")
    spool.metrics("k-s0", 1, {"a": 1.0})
    spool.close()
    ship(location)
    assert location.database is not None
    fresh = location.folder
    assert fresh is not None
    other = resolve_store(str(fresh / "other"), create=True)
    assert other.database is not None
    other.database.write_bytes(template_store.read_bytes())
    with Shipper(other, SWEEP, "tickets", spool_folder(location)) as shipper:
        assert shipper.drain(30)
    assert runs_by_key(other)["k-s0"].data.metrics == {"a": 1.0}


@pytest.mark.fault("P12")
def test_two_processes_cannot_ship_one_spool(location: StoreLocation) -> None:
    with (
        Shipper(location, SWEEP, "tickets", spool_folder(location)),
        pytest.raises(UserError, match="already being run"),
    ):
        Shipper(location, SWEEP, "tickets", spool_folder(location)).start()


def test_the_death_of_the_thread_is_told(location: StoreLocation) -> None:
    Spool(spool_folder(location), "driver").end("parent", "FINISHED")
    faulty = dataclasses.replace(location, tracking_uri=None)  # type: ignore[arg-type]
    with Shipper(faulty, SWEEP, "tickets", spool_folder(location)) as shipper:
        assert not shipper.drain(10)
        assert shipper.state == "degraded"
        assert shipper.trouble is not None and "the shipper stopped" in shipper.trouble


def test_datasets_are_recorded_once_and_a_malformed_one_is_refused(location: StoreLocation) -> None:
    spool = Spool(spool_folder(location), "driver")
    spool.start("parent", SWEEP, {}, {})
    info = DatasetInfo(
        name="tickets/train", context="training", digest="a" * 64, path="/data/t.jsonl", rows=7,
        columns=columns_of(b'{"id": "1", "n": 2, "x": 0.5, "ok": true, "messages": []}'),
        facts={"role": "task"},
    )  # fmt: skip
    spool.inputs("parent", [info])
    spool.inputs("parent", [info])  # a continued sweep says it again
    spool.close()
    bad = {"event": "inputs", "run_key": "parent", "time_ms": 1, "datasets": [{"name": "x"}]}
    with (spool_folder(location) / "driver.jsonl").open("a") as handle:
        handle.write(json.dumps(bad) + "\n")
    assert "not a dataset" in (ship(location).trouble or "")

    (found,) = runs_by_key(location)["parent"].inputs.dataset_inputs
    assert [(t.key, t.value) for t in found.tags] == [("mlflow.data.context", "training")]
    assert (found.dataset.name, found.dataset.digest) == ("tickets/train", "a" * 36)
    assert json.loads(found.dataset.source) == {"uri": "/data/t.jsonl"}
    profile = {"num_rows": 7, "digest": "a" * 64, "role": "task"}
    assert json.loads(found.dataset.profile) == profile
    kinds = {c["name"]: c["type"] for c in json.loads(found.dataset.schema)["mlflow_colspec"]}
    assert kinds == {
        "id": "string", "n": "long", "x": "double", "ok": "boolean", "messages": "any"
    }  # fmt: skip
