import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keepgain.core.errors import UserError
from keepgain.core.rows import Row, read_rows, row_from_json, slice_columns, write_rows

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
EXTRA = {name: st.none() | TEXT for name in ("context", "group", "cluster")}
EXTRA["slices"] = st.dictionaries(TEXT, TEXT, max_size=2).map(lambda d: tuple(d.items()))
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
