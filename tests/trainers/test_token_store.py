"""Encoded rows in files: as they were encoded, whole or absent, written once."""

import multiprocessing
import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keepgain.core.errors import UserError
from keepgain.trainers.data import TOKENS, DataCache
from keepgain.trainers.encode import Encoded, encode_rows
from keepgain.trainers.token_store import stored_tokens
from tests.trainers import tiny


def same(a: Encoded, b: Encoded) -> bool:
    fields = ("start", "truncated", "group", "answer_hash", "replay", "gaps")
    return a.ids.tolist() == b.ids.tolist() and all(getattr(a, f) == getattr(b, f) for f in fields)


@st.composite
def encoded(draw: Any) -> Encoded:
    ids = np.array(draw(st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=6)), np.int32)
    edges = sorted(draw(st.sets(st.integers(1, 9), max_size=4)))
    gaps = tuple(zip(edges[::2], edges[1::2], strict=False))
    group = draw(st.sampled_from([None, "a", "b", "é\n"]))
    answer = draw(st.integers(0, 2**32 - 1))
    return Encoded(ids, draw(st.integers(0, 6)), draw(st.booleans()), group, answer, gaps=gaps)


@settings(max_examples=20, deadline=None)
@given(rows=st.lists(encoded(), min_size=1, max_size=9), size=st.integers(1, 9))
def test_rows_come_back_as_they_were_whatever_the_chunks(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Encoded], size: int
) -> None:
    folder = tmp_path_factory.mktemp("store")
    chunks = [rows[i : i + size] for i in range(0, len(rows), size)]
    stored = stored_tokens(folder, lambda: chunks)
    assert len(stored) == len(rows)
    assert all(same(a, b) for a, b in zip(stored, rows, strict=True))
    assert same(stored[-1], rows[-1])
    assert stored.lengths.tolist() == [len(r.ids) for r in rows]
    for by, values in (
        ("group", [r.group for r in rows]),
        ("answer", [r.answer_hash for r in rows]),
    ):
        numbers = stored.classes(by).tolist()
        assert len(set(zip(numbers, values, strict=True))) == len(set(numbers)) == len(set(values))
    chosen = np.arange(len(rows))[::-2]
    part = stored.where(chosen).where(np.arange(len(chosen))[::-1])
    assert all(same(part[i], rows[n]) for i, n in enumerate(chosen[::-1]))
    assert part.lengths.tolist() == [len(rows[n].ids) for n in chosen[::-1]]


def test_a_source_is_encoded_once_for_all_processes_and_as_before(
    tmp_path: Path, llama: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, codec = tiny.trial(tmp_path, llama, max_length=12), tiny.codec()
    monkeypatch.setattr("keepgain.trainers.data.CHUNK", 7)
    found = DataCache().sources(config, codec)
    expected = encode_rows(codec, tiny.sums(60), 12)
    assert all(same(a, b) for a, b in zip(found["task"], expected, strict=True))
    assert all(r.replay and r.truncated for r in found["replay"])
    files = {p: p.stat().st_mtime_ns for p in (tmp_path / TOKENS).rglob("*.bin")}
    assert len(files) == 6
    again = DataCache().sources(config, codec)
    assert all(same(a, b) for a, b in zip(again["task"], expected, strict=True))
    DataCache().sources(config.model_copy(update={"learning_rate": 1.0}), codec)
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / TOKENS).rglob("*.bin")} == files
    for change in ({"max_length": 13}, {"loss": "all_turns"}):
        DataCache().sources(config.model_copy(update=change), codec)
    assert len(list((tmp_path / TOKENS).iterdir())) == 2 + 4


def test_a_source_that_cannot_be_encoded_leaves_no_store(tmp_path: Path, llama: Any) -> None:
    config = tiny.trial(tmp_path, llama)
    short = config.sources[0].model_copy(update={"rows": 61})
    with pytest.raises(UserError, match="should have 61 rows and has 60"):
        DataCache().sources(config.model_copy(update={"sources": (short, *config.sources[1:])}),
                            tiny.codec())  # fmt: skip
    assert not [p for p in (tmp_path / TOKENS).rglob("*") if p.name != "lock" and p.is_file()]
    assert len(DataCache().sources(config, tiny.codec())["task"]) == 60


def _write(folder: Path, calls: Path) -> None:
    def rows() -> list[list[Encoded]]:
        with calls.open("a") as handle:
            handle.write(f"{os.getpid()}\n")
        return [[Encoded(np.arange(50, dtype=np.int32), 1, False)] * 2000]

    assert stored_tokens(folder, rows)[1999].ids.tolist() == list(range(50))


def test_processes_that_start_together_share_one_writer(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    context = multiprocessing.get_context("fork")
    group = [context.Process(target=_write, args=(tmp_path / "s", calls)) for _ in range(4)]
    for process in group:
        process.start()
    for process in group:
        process.join(60)
    assert [p.exitcode for p in group] == [0] * 4
    assert len(calls.read_text().split()) == 1


def test_a_store_is_written_and_read_in_little_memory(tmp_path: Path) -> None:
    def rows() -> Iterator[list[Encoded]]:
        for i in range(100):
            yield [Encoded(np.full(10_000, i, dtype=np.int32), 1, False)] * 3

    tracemalloc.start()
    stored = stored_tokens(tmp_path, rows)
    total = sum(int(row.ids[-1]) for row in stored)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total == 3 * sum(range(100))
    assert len(stored.tokens) * 4 == 12_000_000
    assert peak < 3_000_000, "a publishing copy's buffers, not the tokens"


@pytest.mark.parametrize("harm", ["cut", "gone", "unfinished"])
def test_a_store_that_is_not_whole_is_written_again(tmp_path: Path, harm: str) -> None:
    rows = [Encoded(np.arange(9, dtype=np.int32), 1, False)] * 3
    stored_tokens(tmp_path, lambda: [rows])
    tokens = tmp_path / "rows" / "tokens.bin"
    if harm == "cut":
        os.truncate(tokens, 5)
    elif harm == "gone":
        tokens.unlink()
    else:  # as a writer that was killed leaves it
        (tmp_path / "rows").rename(tmp_path / "tmp.dead")
    assert all(same(r, rows[0]) for r in stored_tokens(tmp_path, lambda: [rows]))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["lock", "rows"]
