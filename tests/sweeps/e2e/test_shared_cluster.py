"""Real drivers on one small Ray cluster: two at a time, and one that people steer.

Two sweeps on a cluster that is too small for both have starved each other in Tune (Ray issues 31330
and 24259). Here neither holds more than it uses: a trial is one bundle, so that none waits with
half of its own, and a driver that has nothing to do keeps one warm worker at most.
"""

import json
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from keepgain.core.status import Stage
from keepgain.sweeps.search.ledger import Asked, DriverStarted, DriverStopped, Rung, read_events
from tests.sweeps.e2e.test_ray_job import Cluster, ray_head
from tests.sweeps.e2e.world import NAME, Running, Swept, background, json_of, run, write_spec

ADDED = "- {learning_rate: 2e-3, mixture: {tickets: 0.75, general: 0.25}}\n"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with ray_head(dashboard=False) as head:
        yield head


def driver(cluster: Cluster, spec: Path, store: Path, log: Path) -> AbstractContextManager[Running]:
    """`sweep run` on the cluster, in the background."""
    swept = Swept(spec.parent, spec, store, cluster.for_drivers)
    return background(*swept.command, cwd=spec.parent, log=log, env=swept.env)


def test_two_sweeps_on_a_cluster_of_two_slots_both_finish(cluster: Cluster, tmp_path: Path) -> None:
    store, told = tmp_path / "store", tmp_path / "told"
    specs = [
        write_spec(tmp_path / name, name=name, trials=2, tokens=15_000) for name in ("one", "two")
    ]
    with specs[0].open("a") as file:
        file.write("tags: {team: search}\n")
        file.write(f'notify: {{command: "echo $KEEPGAIN_STATUS $KEEPGAIN_SWEEP > {told}"}}\n')
    with (
        driver(cluster, specs[0], store, tmp_path / "one.log") as first,
        driver(cluster, specs[1], store, tmp_path / "two.log") as second,
    ):
        codes = [one.wait(600) for one in (first, second)]
        assert codes == [0, 0], first.output[-3000:] + second.output[-3000:]
    folders = {p.name.rpartition("-")[0]: p for p in (store / "sweeps").glob("*-*") if p.is_dir()}
    for name in ("one", "two"):
        events = read_events(folders[name] / "ledger.jsonl")
        assert [type(e) for e in events if isinstance(e, DriverStarted | DriverStopped)] == [
            DriverStarted,
            DriverStopped,
        ]
        assert all(e.at is not None for e in events)
        assert all(e.seconds is not None and e.seconds > 0 for e in events if isinstance(e, Rung))
    assert told.read_text().split() == ["decided", folders["one"].name]
    costs = json_of(
        run("sweep", "list", "--costs", "--by", "team", "--json", "--store", store, cwd=tmp_path)
    )
    assert {t["group"]: t["sweeps"] for t in costs["totals"]} == {"search": 1, "(none)": 1}
    for sweep in costs["sweeps"]:
        assert sweep["trials"] == 2 + 2
        assert 4 * 15_000 <= sweep["tokens"] < 4 * 16_500
        assert sweep["cpu_hours"] > 0 and sweep["gpu_hours"] == 0 and sweep["user"]


def test_a_cluster_that_is_too_small_is_refused_before_anything_is_written(
    cluster: Cluster, tmp_path: Path
) -> None:
    spec = write_spec(tmp_path / "user")
    with spec.open("a") as file:
        file.write("resources: {cpus_per_trial: 3}\n")
    store = tmp_path / "store"
    with driver(cluster, spec, store, tmp_path / "log") as refused:
        assert refused.wait(300) == 2, refused.output[-3000:]
        assert "a trial needs 3 CPUs; the cluster has 2" in refused.output
    assert not store.exists()


def test_a_running_sweep_is_steered_from_other_processes(cluster: Cluster, tmp_path: Path) -> None:
    store = tmp_path / "store"
    spec = write_spec(tmp_path / "user", trials=3, tokens=60_000, rungs="[0.25, 0.5, 0.75, 1]")
    swept = Swept(spec.parent, spec, store)
    params = spec.parent / "params.yaml"
    params.write_text(ADDED)
    with driver(cluster, spec, store, tmp_path / "log") as running:
        running.until("a trial reports", lambda: reported(swept) > 0)
        assert "nothing new begins" in swept.sweep("pause", "last").expect().out
        running.until("nothing runs", lambda: is_still(swept, seconds=15))
        assert "1 trial to be tried next" in swept.sweep("add", "last", params).expect().out
        before = reported(swept)
        assert "it goes on" in swept.sweep("resume", "last").expect().out
        running.until("it goes on", lambda: reported(swept) > before)
        assert "the driver stops" in swept.sweep("stop", "last").expect().out
        assert running.wait(120) == 130, running.output[-3000:]
        assert "stopped by " in running.output
    assert "nobody listens" in swept.sweep("stop", "last").expect(1).out
    with driver(cluster, spec, store, tmp_path / "log") as again:
        assert again.wait(600) == 0, again.output[-3000:]
    asked = [e for e in swept.events() if isinstance(e, Asked) and e.stage is Stage.SEARCH]
    assert len({e.run_key for e in asked}) == 3 + 1
    assert [e.params["learning_rate"] for e in asked if e.origin == "list"] == [2e-3]
    listed = json.loads((swept.folder / "record" / "record.json").read_text())
    assert listed["stage"] == "decided" and listed["id"].startswith(NAME)


def reported(swept: Swept) -> int:
    """Rungs of search trials so far."""
    events = swept.events()
    search = {e.run_key for e in events if isinstance(e, Asked) and e.stage is Stage.SEARCH}
    return sum(isinstance(e, Rung) and e.report.run_key in search for e in events)


def is_still(swept: Swept, seconds: float) -> bool:
    """Whether the ledger does not grow for a while."""
    before = len(swept.events())
    time.sleep(seconds)
    return len(swept.events()) == before
