"""Sweeps whose trials are four DeepSpeed ranks over gloo, on two of Ray's nodes of two CPUs each.

Both nodes are on this machine and share its address and its two cores; what is real is that ranks
are started by two raylets, meet over a socket, and that one placement group spans both.
"""

import json
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from keepgain.cluster.local import LocalCluster, start_local_cluster
from keepgain.cluster.marked import VARIABLE
from keepgain.core.status import Stage
from keepgain.sweeps.search.ledger import Rung
from tests.sweeps.e2e.world import (
    PATIENCE,
    Running,
    Swept,
    background,
    environment,
    searched,
    write_spec,
)

pytestmark = [pytest.mark.processes, pytest.mark.timeout(1800 * PATIENCE)]

SWEEP_SECONDS = 900.0


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    with start_local_cluster(nodes=2, cpus=2, root=tmp_path_factory.mktemp("clusters")) as made:
        yield made


def sweep_on(cluster: LocalCluster, folder: Path, stage: int, resources: str) -> Swept:
    spec = write_spec(folder, trials=2, tokens=8_000, rungs="[1]")
    text = spec.read_text().replace("limit: 60", "limit: 12")
    text = text.replace("training: {", f"training: {{engine: deepspeed, zero_stage: {stage}, ")
    text = text.replace("seeds: 2", "seeds: 1")
    spec.write_text(text + f"resources: {{{resources}}}\n")
    return Swept(folder, spec, folder / "store", (cluster.address, environment(**cluster.env)))


class Ranks:
    """Rank processes of the trainers as they come and go: rank -> node and process of each."""

    def __init__(self) -> None:
        self.seen: dict[int, psutil.Process] = {}
        self.rank: dict[int, int] = {}
        self.node: dict[int, str] = {}

    def look(self) -> None:
        for one in psutil.process_iter(["cmdline"]):
            if (
                "keepgain.trainers.worker" in (one.info["cmdline"] or ())
                and one.pid not in self.seen
            ):
                try:
                    env = one.environ()
                except psutil.Error:
                    continue
                if env.get("WORLD_SIZE") == "4":
                    self.seen[one.pid] = one
                    self.rank[one.pid] = int(env["RANK"])
                    self.node[one.pid] = env[VARIABLE]

    def alive(self) -> list[int]:
        return [pid for pid, one in self.seen.items() if one.is_running()]

    def nodes_by_rank(self) -> dict[int, set[str]]:
        found = defaultdict(set)
        for pid, rank in self.rank.items():
            found[rank].add(self.node[pid])
        return found


def watched(running: Running, ranks: Ranks, kill_rank: int | None = None) -> None:
    """To its end; once, half a minute into the training of four ranks, one of them is killed."""
    deadline = time.monotonic() + SWEEP_SECONDS * PATIENCE
    while running.process.poll() is None:
        assert time.monotonic() < deadline, running.output[-3000:]
        ranks.look()
        alive = ranks.alive()
        if kill_rank is not None and len(alive) == 4 and begun(ranks, alive) > 20:
            next(ranks.seen[p] for p in alive if ranks.rank[p] == kill_rank).kill()
            kill_rank = None
        time.sleep(0.5)
    assert kill_rank is None, "no rank was there to be killed"


def begun(ranks: Ranks, alive: list[int]) -> float:
    """Seconds since the youngest of them was started."""
    return time.time() - max(ranks.seen[p].create_time() for p in alive)


@pytest.mark.fault("P3")
@pytest.mark.parametrize(("stage", "kill_rank"), [(2, None), (3, 3)])
def test_a_sweep_of_two_times_two_ranks_decides(
    cluster: LocalCluster, tmp_path: Path, stage: int, kill_rank: int | None
) -> None:
    """ZeRO 2 undisturbed; under ZeRO 3 a rank of the other node is killed on the way."""
    resources = "workers_per_trial: 4, placement: spread, collective_timeout_seconds: 120"
    swept = sweep_on(cluster, tmp_path, stage, resources)
    ranks = Ranks()
    with background(*swept.command, cwd=swept.cwd, log=tmp_path / "log", env=swept.env) as running:
        watched(running, ranks, kill_rank)
        assert running.wait(10) == 0, running.output[-4000:]
        assert ("trying once more" in running.output) == (kill_rank is not None)
    state = swept.state()
    assert Stage.TEST in state.stages
    kept = json.loads((swept.folder / "decision" / "decision.json").read_text())
    assert kept["decision"]["trial"] in {run.asked.trial_id for run in state.runs.values()}
    assert all(run.last_report is not None for run in searched(state))
    for event in swept.events():
        if isinstance(event, Rung) and "zero_stage" in event.report.numerics:
            assert event.report.numerics["zero_stage"] == str(stage)
            assert event.report.numerics["world_size"] == "4"
    by_rank = ranks.nodes_by_rank()
    assert set(by_rank) == {0, 1, 2, 3}
    assert all(by_rank[rank] for rank in by_rank)
    first = [pid for pid in ranks.seen][:4]
    assert len({ranks.node[pid] for pid in first}) == 2
    _, left = psutil.wait_procs(ranks.seen.values(), timeout=30 * PATIENCE)
    assert not left


@pytest.mark.fault("P14")
def test_a_trial_that_fits_on_no_node_is_refused_and_not_waited_for(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    swept = sweep_on(cluster, tmp_path, 2, "workers_per_trial: 4")
    began = time.monotonic()
    done = swept.run().expect(2)
    assert "a trial needs 4 CPUs on one node; the cluster has 2 nodes of 2 CPUs" in done.err
    assert "resources.placement" in done.err
    assert time.monotonic() - began < 100 * PATIENCE
    assert not swept.store.exists()
