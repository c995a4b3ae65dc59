import json
from pathlib import Path

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
