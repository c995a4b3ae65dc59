"""Worker processes: real children, their replies, and every way in which they end."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from keepgain.cluster.process import WorkerLost
from keepgain.cluster.rank_actor import interface_of
from keepgain.cluster.ranks import Place, Ranks, rank_environments
from keepgain.core.launch import LaunchSpec, free_port

ROOT = Path(__file__).parents[2]
ENTRY = "tests.cluster.echo_worker"


def spec(**changes: object) -> LaunchSpec:
    env = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "3"}
    return LaunchSpec.model_validate({"entry_point": ENTRY, "env": env, **changes})


def gone(pid: int, seconds: float = 10.0) -> bool:
    """True once no such process runs (a zombie that nobody reaps does not run)."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


@pytest.fixture
def start() -> Iterator[Callable[..., Ranks]]:
    started: list[Ranks] = []

    def one(**changes: object) -> Ranks:
        started.append(Ranks(spec(**changes)))
        return started[-1]

    yield one
    for worker in started:
        worker.kill()


Start = Callable[..., Ranks]


def test_requests_are_answered_in_turn_by_one_process(start: Start) -> None:
    worker = start()
    replies = [worker.request({"do": "say", "number": n}) for n in range(3)]
    assert [r["number"] for r in replies] == [0, 1, 2]
    assert {r["pid"] for r in replies} == {worker.pid} != {os.getpid()}


def test_the_environment_stands_before_the_process_starts(start: Start) -> None:
    assert start().request({"do": "say"})["threads"] == "3"


def test_long_messages_arrive_whole_both_ways(start: Start) -> None:
    text = "ä" * 3_000_000
    assert start().request({"do": "say", "text": text})["text"] == text


def test_what_a_library_prints_goes_to_the_log_and_not_into_the_reply(
    start: Start, tmp_path: Path
) -> None:
    log = tmp_path / "worker.log"
    worker = start(log_path=str(log))
    assert worker.request({"do": "print", "text": "noise {"})["text"] == "noise {"
    worker.close()
    assert "noise {" in log.read_text()


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({"do": "exit", "code": 3}, "exit code 3"),
        ({"do": "kill", "signal": int(signal.SIGKILL)}, "signal SIGKILL"),
        ({"do": "kill", "signal": int(signal.SIGSEGV)}, "signal SIGSEGV"),
    ],
)
def test_a_worker_that_ends_before_it_answers_is_lost(
    start: Start, tmp_path: Path, message: dict[str, object], words: str
) -> None:
    worker = start(log_path=str(tmp_path / "worker.log"))
    with pytest.raises(WorkerLost, match=f"{words}.*worker.log"):
        worker.request(message)
    with pytest.raises(WorkerLost):
        worker.request({"do": "say"})


def test_an_entry_point_that_does_not_exist_is_a_lost_worker(tmp_path: Path) -> None:
    worker = Ranks(spec(entry_point="no.such.module", log_path=str(tmp_path / "log")))
    with pytest.raises(WorkerLost, match="exit code 1"):
        worker.request({"do": "say"})
    worker.close()
    assert (
        "no.such" in (tmp_path / "log").read_text() or "No module" in (tmp_path / "log").read_text()
    )


def test_a_worker_that_does_not_answer_in_time_is_killed(start: Start) -> None:
    worker = start()
    assert worker.request({"do": "say"})["pid"] == worker.pid
    begun = time.monotonic()
    with pytest.raises(WorkerLost, match=r"no answer of rank 0 within 0\.2 s"):
        worker.request({"do": "hang"}, timeout_seconds=0.2)
    assert gone(worker.pid)
    assert time.monotonic() - begun < 10


def test_closing_ends_an_idle_worker_and_may_be_repeated(start: Start) -> None:
    worker = start()
    pid = worker.request({"do": "say"})["pid"]
    worker.close()
    worker.close()
    assert gone(pid, 0.1)


def test_killing_does_not_wait_for_the_job(start: Start) -> None:
    worker = start()
    assert worker.request({"do": "say"})
    begun = time.monotonic()
    worker.kill()
    assert gone(worker.pid, 0.1) and time.monotonic() - begun < 4


PARENT = """
import sys
from keepgain.cluster.ranks import Ranks
from keepgain.core.launch import LaunchSpec
worker = Ranks(LaunchSpec.model_validate_json(sys.argv[1]))
print(worker.request({"do": "say"})["pid"], flush=True)
worker.request({"do": "hang"})
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the parent-death signal is Linux's")
def test_a_busy_worker_dies_with_its_parent() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, spec().model_dump_json()], stdout=subprocess.PIPE, text=True
    )
    try:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
    finally:
        parent.kill()
        parent.communicate(timeout=10)
    assert gone(worker)


def test_ranks_find_one_address_and_the_reply_is_that_of_rank_0(start: Start) -> None:
    ranks = start(world_size=3)
    reply = ranks.request({"do": "say"})
    assert reply["pid"] == ranks.pid
    assert (reply["env"]["RANK"], reply["env"]["WORLD_SIZE"]) == ("0", "3")
    other = ranks.request({"do": "say", "fail": 2}, failed=lambda r: r.get("failed", False))
    assert (other["env"]["RANK"], other["env"]["LOCAL_RANK"]) == ("2", "2")
    assert other["env"]["MASTER_PORT"] == reply["env"]["MASTER_PORT"]


def test_a_rank_that_fails_ends_the_ranks_that_would_wait_for_it(start: Start) -> None:
    ranks = start(world_size=2)
    pid = ranks.request({"do": "say"})["pid"]
    began = time.monotonic()
    message = {"do": "hang", "unless": 1, "fail": 1}
    reply = ranks.request(message, failed=lambda r: r.get("failed", False))
    assert reply["env"]["RANK"] == "1"
    assert gone(pid)
    assert time.monotonic() - began < 10


@pytest.mark.fault("P3")
def test_a_rank_that_is_lost_takes_the_others_with_it(start: Start) -> None:
    ranks = start(world_size=2)
    pid = ranks.request({"do": "say"})["pid"]
    with pytest.raises(WorkerLost, match="signal SIGKILL"):
        ranks.request({"do": "hang", "unless": 1, "then": {"do": "kill", "signal": 9}})
    assert gone(pid)


@pytest.mark.fault("P4")
def test_a_stopped_rank_is_found_by_its_silence_and_ends_the_others(start: Start) -> None:
    ranks = start(world_size=2, hang_seconds=2)
    pids = [rank.pid for rank in ranks._ranks]
    os.kill(pids[1], signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(WorkerLost, match="no sign of life of rank 1 for 2 s"):
        ranks.request({"do": "work", "seconds": 60})
    assert 2 <= time.monotonic() - began < 20
    assert all(gone(pid) for pid in pids)


def test_a_worker_that_gives_signs_of_life_may_take_its_time(start: Start) -> None:
    worker = start(hang_seconds=1)
    assert worker.request({"do": "work", "seconds": 3})["seconds"] == 3
    time.sleep(1.5)  # idle is not hung
    assert worker.request({"do": "say"})["pid"] == worker.pid
    with pytest.raises(WorkerLost, match="no sign of life of rank 0 for 1 s"):
        worker.request({"do": "hang"})


@pytest.mark.fault("R8")
@pytest.mark.parametrize("rank_0_seconds", [0, 0.5], ids=["rank 0 first", "rank 1 first"])
def test_a_taken_port_is_given_up_for_another(
    start: Start, monkeypatch: pytest.MonkeyPatch, rank_0_seconds: float
) -> None:
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        taken = other.getsockname()[1]
        offered = iter([taken, taken, free_port(), free_port()])
        monkeypatch.setattr("keepgain.cluster.ranks.free_port", lambda: next(offered))
        ranks = start(world_size=2)
        first = [rank.pid for rank in ranks._ranks]
        asked = {"do": "listen", "seconds": rank_0_seconds, "strangers_port": str(taken)}
        reply = ranks.request(asked if rank_0_seconds else {"do": "listen"})
        assert reply["env"]["MASTER_PORT"] not in (None, str(taken))
        assert reply["pid"] == ranks.pid not in first
        assert all(gone(pid) for pid in first)


def test_a_port_that_stays_taken_is_an_error_and_no_loop(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        taken = other.getsockname()[1]
        monkeypatch.setattr("keepgain.cluster.ranks.free_port", lambda: taken)
        with pytest.raises(WorkerLost, match=r"rank 0: .*exit code 98"):
            start(world_size=2).request({"do": "listen"})


def test_ranks_are_counted_by_node_and_meet_at_rank_0() -> None:
    """Two of Ray's nodes on one machine share its address."""
    a, b = Place("a", "10.0.0.1", ("2",), "eth0"), Place("b", "10.0.0.1", ("5",), "eth0")
    a2, b2 = replace(a, gpus=("3",)), replace(b, gpus=("1",))
    envs = rank_environments([a, a2, b, b2], 4711)
    keys = ("RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "CUDA_VISIBLE_DEVICES")
    assert [tuple(e[k] for k in keys) for e in envs] == [
        ("0", "0", "2", "2,3"),
        ("1", "1", "2", "2,3"),
        ("2", "0", "2", "5,1"),
        ("3", "1", "2", "5,1"),
    ]
    assert {(e["MASTER_ADDR"], e["MASTER_PORT"]) for e in envs} == {("10.0.0.1", "4711")}
    assert {(e["WORLD_SIZE"], e["GLOO_SOCKET_IFNAME"]) for e in envs} == {("4", "eth0")}


def test_ranks_of_one_node_meet_on_the_loopback() -> None:
    one, two = rank_environments([Place("a", "10.0.0.1"), Place("a", "10.0.0.1")], 1)
    assert one["MASTER_ADDR"] == two["MASTER_ADDR"] == "127.0.0.1"
    assert "CUDA_VISIBLE_DEVICES" not in one and "GLOO_SOCKET_IFNAME" not in one


def test_the_interface_of_an_address_is_found_among_those_of_the_machine() -> None:
    assert interface_of("127.0.0.1") == "lo"
    assert interface_of("192.0.2.1") is None


def test_a_single_process_is_told_nothing_of_ranks(start: Start) -> None:
    assert start().request({"do": "say"})["env"]["RANK"] is None
