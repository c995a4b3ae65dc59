import json
import resource
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from keepgain.core.store import tail as tail_module
from keepgain.core.store.spool import Spool
from keepgain.core.store.tail import SHIPPED_NAME, SpoolTail


def kinds(tail: SpoolTail) -> list[str]:
    lines = tail.read()
    tail.commit(lines)
    return [line.event["event"] if line.event else "torn" for line in lines]


def write(path: Path, *events: tuple[str, int]) -> None:
    with path.open("a", encoding="utf-8") as handle:
        for name, time_ms in events:
            handle.write(json.dumps({"event": name, "time_ms": time_ms}) + "\n")


def test_files_are_merged_by_time_and_each_keeps_its_order(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", ("a1", 10), ("a2", 5), ("a3", 30))  # its clock went back
    write(tmp_path / "b.jsonl", ("b1", 7), ("b2", 20))
    assert kinds(SpoolTail(tmp_path)) == ["b1", "a1", "a2", "b2", "a3"]


def test_only_complete_lines_are_read_and_none_twice(tmp_path: Path) -> None:
    tail = SpoolTail(tmp_path)
    write(tmp_path / "a.jsonl", ("a1", 1))
    with (tmp_path / "a.jsonl").open("a") as handle:
        handle.write('{"event": "half')
    assert kinds(tail) == ["a1"]
    assert tail.complete_sizes() == tail.offsets
    assert kinds(tail) == []


def test_a_new_writer_does_not_continue_a_torn_line(tmp_path: Path) -> None:
    (tmp_path / "w.jsonl").write_text('{"event": "start", "run_k')
    spool = Spool(tmp_path, "w")
    spool.end("k", "FINISHED")
    spool.close()
    assert kinds(SpoolTail(tmp_path)) == ["torn", "end"]


def test_offsets_count_only_for_their_owner(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", ("a1", 1))
    tail = SpoolTail(tmp_path)
    tail.load("store-1 run-1")
    assert kinds(tail) == ["a1"]
    again = SpoolTail(tmp_path)
    again.load("store-1 run-1")
    assert kinds(again) == []
    again.load("store-1 run-2")
    assert kinds(again) == ["a1"]
    (tmp_path / SHIPPED_NAME).write_text("{damaged")
    again.load("store-1 run-2")
    assert kinds(again) == ["a1"]


def test_a_file_made_anew_is_read_from_its_start(tmp_path: Path) -> None:
    tail = SpoolTail(tmp_path)
    write(tmp_path / "a.jsonl", ("a1", 1), ("a2", 2))
    kinds(tail)
    (tmp_path / "a.jsonl").unlink()
    write(tmp_path / "a.jsonl", ("b1", 3))
    assert kinds(tail) == ["b1"]


def sent(folder: Path) -> list[tuple[int, dict[str, float]]]:
    """(step, values) of the metrics that a shipper of an empty store would send."""
    tail, found = SpoolTail(folder), []
    while lines := tail.read():
        tail.commit(lines)
        found += [
            (line.event["step"], line.event["values"])
            for line in lines
            if line.event and not line.superseded
        ]
    return found


def curve(folder: Path, steps: range, value: float, *more: str) -> None:
    spool = Spool(folder, "k-s0")
    for step in steps:
        spool.metrics("k-s0", step, {"loss": value, **dict.fromkeys(more, value)})
    spool.close()


@pytest.mark.fault("P1")
def test_the_curve_of_a_killed_attempt_ends_where_the_next_one_went_on(tmp_path: Path) -> None:
    curve(tmp_path, range(0, 5), 1.0, "seen")
    curve(tmp_path, range(3, 6), 2.0)
    assert sent(tmp_path) == [
        *((i, {"loss": 1.0, "seen": 1.0}) for i in range(3)),
        *((i, {"seen": 1.0}) for i in (3, 4)),
        *((i, {"loss": 2.0}) for i in (3, 4, 5)),
    ]


@pytest.mark.fault("P1")
def test_a_later_attempt_counts_however_far_behind_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail_module, "LINES_PER_FILE", 3)
    curve(tmp_path, range(0, 20), 1.0)
    curve(tmp_path, range(15, 30), 2.0)
    curve(tmp_path, range(7, 9), 3.0)
    expected = [(i, 1.0) for i in range(7)] + [(7, 3.0), (8, 3.0)]
    assert [(step, values["loss"]) for step, values in sent(tmp_path)] == expected


@pytest.mark.fault("P1", "P9")
def test_a_writer_that_was_given_up_is_not_listened_to_any_more(tmp_path: Path) -> None:
    zombie = Spool(tmp_path, "k-s0")
    zombie.metrics("k-s0", 1, {"loss": 1.0})
    zombie.flush()
    current = Spool(tmp_path, "k-s0")
    current.metrics("k-s0", 2, {"loss": 2.0})
    current.flush()
    tail = SpoolTail(tmp_path)
    tail.load("store run")
    assert kinds(tail) == ["metrics", "metrics"]
    zombie.metrics("k-s0", 99, {"loss": 99.0})
    zombie.end("k-s0", "FAILED")
    current.end("k-s0", "FINISHED")
    zombie.close()
    current.close()

    again = SpoolTail(tmp_path)  # also after a restart of the driver
    again.load("store run")
    counted = [line.event["event"] for line in again.read() if line.event and not line.superseded]
    assert counted == ["end"]


@pytest.mark.fault("R9")
@pytest.mark.parametrize("shift", [-3600, 3600])
def test_times_of_one_file_never_go_back_whatever_the_clock_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shift: int
) -> None:
    now = time.time()
    clock = iter([now, now + shift, now + shift + 1, now + 2])
    skewed = SimpleNamespace(time=lambda: next(clock), monotonic=time.monotonic)
    monkeypatch.setattr("keepgain.core.store.spool.time", skewed)
    for _ in range(2):  # the second attempt may run on another machine
        spool = Spool(tmp_path, "k-s0")
        spool.end("k-s0", "KILLED")
        spool.end("k-s0", "KILLED")
        spool.close()
    lines = (tmp_path / "k-s0.jsonl").read_text().splitlines()
    times = [json.loads(line)["time_ms"] for line in lines]
    assert times == sorted(times) and times[2] > times[1]
    assert [json.loads(line)["attempt"] for line in lines] == [1, 1, 2, 2]


@pytest.mark.fault("R1", "R2")
def test_what_a_full_disk_did_not_take_is_written_when_it_does(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "w")
    spool.metrics("k", 1, {"a": 1.0})
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40, limit[1]))  # within the first line
    try:
        with pytest.raises(OSError, match="File too large"):
            spool.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, before)
    spool.metrics("k", 2, {"a": 2.0})
    spool.close()
    assert sent(tmp_path) == [(1, {"a": 1.0}), (2, {"a": 2.0})]
