import json
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keepgain.core.errors import UserError
from keepgain.core.rows import (
    Row,
    RowSpool,
    StoredRows,
    facts_of,
    read_rows,
    row_from_json,
    slice_columns,
    write_rows,
)

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
EXTRA = {name: st.none() | TEXT for name in ("context", "group", "cluster")}
EXTRA["slices"] = st.dictionaries(TEXT, TEXT, max_size=2).map(lambda d: tuple(d.items()))
EXTRA["facts"] = st.dictionaries(TEXT, st.none() | st.integers() | TEXT | st.lists(TEXT)).map(
    facts_of
)
TURN = st.fixed_dictionaries({"role": st.sampled_from(["system", "user"]), "content": TEXT})
CHATS = st.builds(
    lambda turns, answer, **rest: Row(
        kind="chat",
        messages=(*turns, {"role": "assistant", "content": answer}),
        answer=answer,
        **rest,
    ),
    turns=st.lists(TURN, max_size=3),
    answer=TEXT,
    id=TEXT,
    **EXTRA,
)
PAIRS = st.builds(Row, id=TEXT, kind=st.just("pair"), prompt=TEXT, answer=TEXT, **EXTRA)
TEXTS = st.builds(Row, id=TEXT, kind=st.just("text"), text=TEXT, **EXTRA)


@given(st.lists(CHATS | PAIRS | TEXTS, max_size=5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_rows_come_back_exactly(tmp_path: Path, rows: list[Row]) -> None:
    assert write_rows(tmp_path / "rows.jsonl", rows) == len(rows)
    assert list(read_rows(tmp_path / "rows.jsonl")) == rows


def _stored(rows: list[Row]) -> StoredRows:
    spool = RowSpool()
    for row in rows:
        spool.add(row)
    return spool.rows()


@given(st.lists(CHATS | PAIRS | TEXTS, max_size=5), st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_rows_put_aside_are_a_sequence_of_the_same_rows(
    tmp_path: Path, rows: list[Row], data: st.DataObject
) -> None:
    stored = _stored(rows)
    assert (list(stored), list(stored)) == (rows, rows)
    assert stored[1:] == rows[1:] and stored[::-1] == rows[::-1]
    assert [stored[i - len(rows)] for i in range(len(rows))] == rows
    with pytest.raises(IndexError):
        stored[len(rows)]
    write_rows(tmp_path / "rows.jsonl", rows)
    assert b"".join(stored.lines()) == (tmp_path / "rows.jsonl").read_bytes()
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=5) if rows else st.just([]))
    part = stored.where(np.array(chosen, dtype=np.int64))
    assert (len(part), list(part)) == (len(chosen), [rows[i] for i in chosen])
    assert list(part.where(np.arange(len(chosen))[1:])) == [rows[i] for i in chosen[1:]]


def test_rows_put_aside_are_not_in_memory_and_leave_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    tracemalloc.start()
    spool = RowSpool()
    for i in range(2000):
        spool.add(Row(str(i), "text", text="x" * 2000))
    stored = spool.rows()
    assert sum(len(row.text) for row in stored) == 4_000_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 400_000, "a tenth of the text"
    assert list(tmp_path.iterdir()) == []


def test_no_room_for_rows_is_said_whenever_it_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda: open("/dev/full", "r+b", buffering=0))
    with pytest.raises(UserError, match=r"put aside .*No space left") as caught:
        RowSpool().add(Row("1", "text", text="x"))
    assert "TMPDIR" in str(caught.value.hint)
    # A few rows wait in a buffer, and are written when they are asked for.
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda: open("/dev/full", "wb"))
    spool = RowSpool()
    spool.add(Row("1", "text", text="x"))
    with pytest.raises(UserError, match=r"put aside .*No space left"):
        spool.rows()


@pytest.mark.parametrize("line", ["{", "[]", "5", '{"prompt": "x"}', '{"id": "1", "messages": []}'])
def test_a_file_changed_by_hand_is_named_with_its_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "rows.jsonl"
    write_rows(path, [Row("1", "text", text="x")])
    with path.open("a") as handle:
        handle.write(line + "\n")
    with pytest.raises(UserError, match="not a normalised row") as caught:
        list(read_rows(path))
    assert caught.value.where == f"{path}:2"


def test_the_question_is_what_comes_before_the_answer() -> None:
    turns = ({"role": "user", "content": "q"}, {"role": "assistant", "content": "a"})
    assert Row("1", "chat", messages=turns, answer="a").question() == "user: q"
    assert Row("1", "pair", prompt="q", answer="a").question() == "q"
    assert Row("1", "text", text="all").question() == "all"


def test_slices_are_kept_and_only_written_where_there_are_some() -> None:
    plain = Row("1", "text", text="a")
    assert plain.to_json() == {"id": "1", "text": "a"}
    sliced = Row("1", "text", text="a", slices=(("language", "de"), ("level", "2")))
    assert row_from_json(json.loads(json.dumps(sliced.to_json()))) == sliced


def test_slice_columns_have_a_place_for_every_row() -> None:
    kept = [(("a", "x"),), (), (("b", "y"),)]
    rows = [Row(str(i), "text", slices=slices) for i, slices in enumerate(kept)]
    assert slice_columns(rows) == {"a": ("x", None, None), "b": (None, None, "y")}
    assert slice_columns(rows[1:2]) == {}


def test_facts_are_values_of_any_kind_and_those_recorded_are_slices_as_text() -> None:
    row = Row("a", "pair", prompt="p", answer="x", facts=facts_of({"n": [4, 8], "safe": True}))
    assert (row.fact("n"), row.fact("safe"), row.fact("other")) == ([4, 8], True, None)
    assert row.to_json()["facts"] == {"n": [4, 8], "safe": True}
    assert "facts" not in Row("a", "pair", prompt="p", answer="x").to_json()
    assert slice_columns([row, Row("b", "text", text="t")], ["safe"]) == {"safe": ("true", None)}
