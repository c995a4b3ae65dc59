"""Ranks that die, hang or cannot meet while DeepSpeed trains over gloo: real processes."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("deepspeed")

import torch.distributed

from keepgain.cluster.process import WorkerLost
from keepgain.cluster.ranks import Ranks
from keepgain.core.config import Runtime
from keepgain.core.launch import COLLECTIVE_SECONDS, LaunchSpec, free_port
from keepgain.core.work import TrainRequest, WorkReply
from keepgain.trainers.failures import is_disk_full, is_memory, is_peer_lost
from tests.sweeps.e2e.world import PATIENCE
from tests.trainers import tiny

pytestmark = [pytest.mark.processes, pytest.mark.timeout(300 * PATIENCE)]

TIMEOUT = 20
"""Seconds that a rank waits for the others."""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Ranks]]:
    started: list[Ranks] = []

    def two(timeout: float = TIMEOUT, **changes: Any) -> Ranks:
        env = {"OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu", COLLECTIVE_SECONDS: str(timeout)}
        spec = LaunchSpec(
            entry_point="keepgain.trainers.worker",
            env=env,
            world_size=2,
            log_path=str(tmp_path / "ranks.log"),
            **changes,
        )
        started.append(Ranks(spec))
        return started[-1]

    yield two
    for ranks in started:
        ranks.kill()


def long_request(folder: Path, llama: Any, stage: int = 2, budget: int = 4_000_000) -> TrainRequest:
    runtime = Runtime(engine="deepspeed", zero_stage=stage, world_size=2, micro_batch_size=1)
    config = tiny.trial(folder, llama, runtime=runtime, budget=budget, rungs=(budget,))
    return TrainRequest(config=config, seed=3, rung=0, sweep_folder=str(folder))


def ended(ranks: Ranks, request: TrainRequest, number: signal.Signals) -> tuple[str, float]:
    """Signals rank 1 in the middle of the training; what came of it, and after how long."""
    sent: list[float] = []

    def disturb() -> None:
        spool = Path(request.sweep_folder) / "spool"
        while not any('"train/loss"' in p.read_text() for p in spool.glob("*")):
            time.sleep(0.1)
        sent.append(time.monotonic())
        os.kill(ranks._ranks[1].pid, number)

    threading.Thread(target=disturb, daemon=True).start()
    try:
        answer = ranks.request(
            request.model_dump(mode="json"),
            failed=lambda reply: reply["report"] is None,
            timeout_seconds=250 * PATIENCE,
        )
    except WorkerLost as lost:
        said = str(lost)
    else:
        reply = WorkReply.model_validate(answer)
        assert reply.cause == "worker_lost", f"{reply.cause}: {reply.detail}"
        said = str(reply.detail)
    assert sent, "it ended before it was disturbed"
    return said, time.monotonic() - sent[0]


def all_gone(ranks: Ranks) -> bool:
    return all(rank._process.poll() is not None for rank in ranks._ranks)  # type: ignore[union-attr]


@pytest.mark.fault("P3")
@pytest.mark.parametrize("stage", [2, 3])
def test_a_rank_that_is_killed_ends_the_others_within_the_time_limit(tmp_path, llama, start, stage):
    ranks = start()
    said, seconds = ended(ranks, long_request(tmp_path, llama, stage), signal.SIGKILL)
    assert "rank 1: the worker process ended (signal SIGKILL)" in said or "gone" in said
    assert seconds < TIMEOUT * PATIENCE
    assert all_gone(ranks)


@pytest.mark.fault("P4")
def test_a_rank_that_stands_still_is_given_up_when_the_others_have_waited_long_enough(
    tmp_path, llama, start
):
    ranks = start()
    said, seconds = ended(ranks, long_request(tmp_path, llama), signal.SIGSTOP)
    assert said.startswith("the other ranks are gone")
    assert TIMEOUT * 0.9 < seconds < TIMEOUT * 3 * PATIENCE
    assert all_gone(ranks)


@pytest.mark.fault("P4")
def test_the_watchdog_finds_ranks_that_stand_still_before_the_collective_gives_up(
    tmp_path, llama, start
):
    limit = 15 * PATIENCE  # longer than imports take, which give no sign
    ranks = start(timeout=600, hang_seconds=limit)
    said, seconds = ended(ranks, long_request(tmp_path, llama), signal.SIGSTOP)
    assert "no sign of life of" in said and "rank 1" in said
    assert limit * 0.9 < seconds < limit + 30
    assert all_gone(ranks)


@pytest.mark.fault("R8")
def test_ranks_meet_on_another_port_where_the_first_was_taken(tmp_path, llama, start, monkeypatch):
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        taken = other.getsockname()[1]
        offered = iter([taken, free_port(), free_port()])
        monkeypatch.setattr("keepgain.cluster.ranks.free_port", lambda: next(offered))
        ranks = start()
        first = [rank.pid for rank in ranks._ranks]
        request = long_request(tmp_path, llama, budget=600)
        answer = ranks.request(request.model_dump(mode="json"), lambda r: r["report"] is None)
        reply = WorkReply.model_validate(answer)
        assert reply.report is not None, f"{reply.cause}: {reply.detail}"
        assert ranks.pid not in first


def test_what_torch_says_of_ranks_that_are_gone_is_known():
    gloo = "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:544] Connection closed by peer"
    for error in (RuntimeError(gloo), torch.distributed.DistBackendError("NCCL error")):
        assert is_peer_lost(error) and not is_memory(error) and not is_disk_full(error)
    assert not is_peer_lost(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
