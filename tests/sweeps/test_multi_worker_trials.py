"""Trials of several ranks on two of Ray's nodes: where the ranks are, and that they end.

The ranks are stand-ins without torch: what is tested is placing and ending them. DeepSpeed on the
same two nodes is in `tests/sweeps/e2e/test_multi_worker.py`.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from keepgain.cluster.local import LocalCluster, start_local_cluster
from keepgain.core.status import Stage, TrialStatus
from keepgain.sweeps.search.ledger import read_events
from keepgain.sweeps.search.replay import SweepState, replay
from tests.sweeps.e2e.world import PATIENCE, environment
from tests.sweeps.ranked_stand_in import HOLD, NOTES
from tests.sweeps.test_program import edit
from tests.sweeps.test_rung_scheduler import AUDITS, write
from tests.sweeps.tune_sweep import ROOT

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600 * PATIENCE)]

GONE_SECONDS = 30.0
"""Within it, whatever a trial has held must be free again (traps, P15)."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    with start_local_cluster(nodes=2, cpus=2, root=tmp_path_factory.mktemp("clusters")) as made:
        yield made


@dataclass
class Driver:
    """`tune_sweep` on the cluster."""

    process: subprocess.Popen[bytes]
    folder: Path
    log: Path

    def notes(self) -> list[dict[str, Any]]:
        path = self.folder / NOTES
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def training(self) -> list[dict[str, Any]]:
        """Notes of ranks that train, and live."""
        return [n for n in self.notes() if n["op"] == "train" and psutil.pid_exists(n["pid"])]

    def state(self) -> SweepState:
        return replay(read_events(self.folder / "ledger.jsonl"))

    def until(self, what: str, true: Callable[[], Any], seconds: float = 120.0) -> Any:
        deadline = time.monotonic() + seconds * PATIENCE
        while not (found := true()):
            said = self.log.read_text()[-3000:]
            assert self.process.poll() is None, f"ended before: {what}\n{said}"
            assert time.monotonic() < deadline, f"never: {what}\n{said}"
            time.sleep(0.1)
        return found

    def finishes(self, seconds: float = 300.0) -> dict[str, Any]:
        code = self.process.wait(seconds * PATIENCE)
        said = self.log.read_text()
        assert code == 0, said[-3000:]
        result: dict[str, Any] = json.loads(said.strip().splitlines()[-1])
        return result


@contextmanager
def driver(cluster: LocalCluster, tmp_path: Path, resources: str, hold: bool) -> Iterator[Driver]:
    spec = write(tmp_path)
    edit(spec, "training: {", "training: {engine: deepspeed, zero_stage: 2, ")
    edit(
        spec, "trials_per_model: 12, generation_size: 6", "trials_per_model: 3, generation_size: 3"
    )
    edit(spec, f"audit_trials: {AUDITS}", "audit_trials: 0")
    with spec.open("a") as file:
        file.write(f"resources: {{{resources}}}\n")
    folder, log = tmp_path / "sweep", tmp_path / "log"
    folder.mkdir()
    if hold:
        (folder / HOLD).touch()
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.sweeps.tune_sweep", spec, folder, "1", "ranked"],
            cwd=ROOT,
            env=environment(**cluster.env, PYTHONPATH=str(ROOT)),
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    made = Driver(process, folder, log)
    try:
        yield made
    finally:
        process.kill()
        process.wait(30)
        wait_gone([n["pid"] for n in made.notes()])


def wait_gone(pids: list[int], seconds: float = GONE_SECONDS) -> float:
    """Seconds until none of the processes runs."""
    began = time.monotonic()
    while alive := [p for p in pids if runs(p)]:
        assert time.monotonic() - began < seconds * PATIENCE, f"still there: {alive}"
        time.sleep(0.1)
    return time.monotonic() - began


def runs(pid: int) -> bool:
    try:
        one = psutil.Process(pid)
        return one.status() != psutil.STATUS_ZOMBIE and "ranked_stand_in" in " ".join(one.cmdline())
    except psutil.NoSuchProcess:
        return False


GROUPS = """
import json, ray
ray.init(address="auto", log_to_driver=False)
states = [g["state"] for g in ray.util.placement_group_table().values()]
free = ray.available_resources().get("CPU", 0)
held = [s for s in states if s != "REMOVED"]
nodes = {n["NodeName"]: [n["Alive"], n["NodeID"]] for n in ray.nodes()}
left = ray._private.state.available_resources_per_node()
print(json.dumps({"held": held, "free": free, "nodes": nodes, "left": left}))
"""


def everything_is_free(cluster: LocalCluster, cpus: float = 4) -> None:
    """No placement group is left, and all CPUs are free, soon."""
    deadline = time.monotonic() + GONE_SECONDS * PATIENCE
    while True:
        done = subprocess.run(
            [sys.executable, "-c", GROUPS],
            env=environment(**cluster.env),
            capture_output=True,
            text=True,
            timeout=60 * PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        found = json.loads(done.stdout.strip().splitlines()[-1])
        if (found["held"], found["free"]) == ([], cpus):
            return
        assert time.monotonic() < deadline, found
        time.sleep(0.5)


@pytest.mark.fault("P15")
def test_ranks_spread_over_nodes_end_with_every_rung_and_leave_nothing(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    with driver(cluster, tmp_path, "workers_per_trial: 4, placement: spread", hold=False) as sweep:
        assert sweep.finishes()["stage"] == Stage.DECIDED
        state = sweep.state()
        pruned = {k for k, r in state.runs.items() if r.status is TrialStatus.PRUNED}
        assert pruned, "the scheduler has stopped trials"
        by_launch = defaultdict(list)
        for one in sweep.notes():
            if one["op"] == "train":
                assert one["world"] == 4
                by_launch[one["run_key"], one["rank"]].append(one)
        for key in pruned:
            ranks = [by_launch[key, rank][0] for rank in range(4)]
            assert len({r["node"] for r in ranks}) == 2
            assert [r["local"] for r in ranks] == [0, 1, 0, 1]
            assert {r["master"] for r in ranks} == {"127.0.0.1"}
        wait_gone([n["pid"] for n in sweep.notes()])
        everything_is_free(cluster)


@pytest.mark.fault("P15", "P6")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_ranks_and_placement_group_end_with_the_driver(
    cluster: LocalCluster, tmp_path: Path, number: int
) -> None:
    with driver(cluster, tmp_path, "workers_per_trial: 4, placement: spread", hold=True) as sweep:
        sweep.until("four ranks train", lambda: len(sweep.training()) == 4)
        sweep.process.send_signal(number)
        sweep.process.wait(60 * PATIENCE)
        wait_gone([n["pid"] for n in sweep.notes()])
        everything_is_free(cluster)


@pytest.mark.fault("P3")
@pytest.mark.parametrize("victim", ["another node's rank", "the trial's own actor"])
def test_a_trial_that_loses_a_rank_or_its_actor_is_tried_once_more(
    cluster: LocalCluster, tmp_path: Path, victim: str
) -> None:
    with driver(cluster, tmp_path, "workers_per_trial: 2, placement: spread", hold=True) as sweep:
        first = sweep.until("two ranks train", lambda: len(f := sweep.training()) == 2 and f)
        by_rank = {n["rank"]: n for n in first}
        assert by_rank[0]["node"] != by_rank[1]["node"]
        if victim == "another node's rank":
            os.kill(by_rank[1]["pid"], signal.SIGKILL)
        else:
            psutil.Process(by_rank[0]["pid"]).parent().kill()
        wait_gone([n["pid"] for n in first])
        (sweep.folder / HOLD).unlink()
        assert sweep.finishes()["stage"] == Stage.DECIDED
        again = [n for n in sweep.notes() if n["run_key"] == first[0]["run_key"]]
        assert {n["pid"] for n in again} > {n["pid"] for n in first}
        run = sweep.state().runs[first[0]["run_key"]]
        assert run.status in (TrialStatus.COMPLETED, TrialStatus.PRUNED)
        assert "trying once more" in sweep.log.read_text() or run.cause is None
        everything_is_free(cluster)


@pytest.mark.fault("P4")
def test_a_rank_that_is_stopped_is_found_and_its_trial_tried_once_more(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    # On a loaded machine a rank takes more than 5 s from its start to its first sign of life.
    hang = 15 * PATIENCE
    resources = f"workers_per_trial: 2, placement: spread, hang_seconds: {hang:g}"
    with driver(cluster, tmp_path, resources, hold=True) as sweep:
        first = sweep.until("two ranks train", lambda: len(f := sweep.training()) == 2 and f)
        os.kill(next(n["pid"] for n in first if n["rank"] == 1), signal.SIGSTOP)
        wait_gone([n["pid"] for n in first], seconds=hang + GONE_SECONDS)
        run = sweep.state().runs[first[0]["run_key"]]
        assert not run.reports, "what hung is no success"
        (sweep.folder / HOLD).unlink()
        assert sweep.finishes()["stage"] == Stage.DECIDED
        everything_is_free(cluster)


REQUESTS = """
import time, ray
from ray.air.execution import ResourceRequest
from keepgain.sweeps.tune_groups import SettledGroups
ray.init(address="auto", log_to_driver=False)
groups, asked = SettledGroups(), ResourceRequest([{"CPU": 1}] * 2, strategy="SPREAD")
for number in range(500):
    groups.request_resources(asked)
    time.sleep(number % 8 / 2000)
    groups.cancel_resource_request(asked)
groups.request_resources(asked)
groups.clear()
"""


@pytest.mark.fault("P15")
def test_requests_that_tune_takes_back_within_milliseconds_leave_nothing(
    cluster: LocalCluster,
) -> None:
    """With Ray's own manager 400 of them are enough to lose CPUs for good."""
    env = environment(**cluster.env)
    subprocess.run([sys.executable, "-c", REQUESTS], env=env, timeout=120 * PATIENCE, check=True)
    everything_is_free(cluster)


@pytest.mark.fault("P7")
def test_a_trial_whose_node_is_lost_waits_for_another_and_is_tried_once_more(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    """The last test here: it replaces a node of the cluster."""
    resources = "workers_per_trial: 2, placement: strict_spread"
    with driver(cluster, tmp_path, resources, hold=True) as sweep:
        first = sweep.until("two ranks train", lambda: len(f := sweep.training()) == 2 and f)
        cluster.kill_node(1)
        wait_gone([n["pid"] for n in first], seconds=60)
        (sweep.folder / HOLD).unlink()
        cluster.add_node()
        assert sweep.finishes()["stage"] == Stage.DECIDED
        again = [n for n in sweep.notes() if n["run_key"] == first[0]["run_key"]]
        assert len({n["node"] for n in again}) == 3, "both nodes, and the new one"
        failed = [r for r in sweep.state().runs.values() if r.status is TrialStatus.FAILED]
        assert not failed
        everything_is_free(cluster)
