"""What models answered, and the items' texts."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepgain.core.answers import (
    Answers,
    Text,
    keep_texts,
    read_answers,
    read_texts,
    texts_path,
    write_answers,
)
from keepgain.core.errors import UserError
from keepgain.core.rows import Row


@given(texts=st.lists(st.text(), max_size=5))
def test_answers_come_back_as_they_were_given(texts: list[str], tmp_path_factory) -> None:
    path = tmp_path_factory.mktemp("answers") / "a.parquet"
    ids = tuple(f"i{n}" for n in range(len(texts)))
    written = [Answers("tickets", s, f"d-{s}", ids, tuple(texts)) for s in ("validation", "test")]
    write_answers(path, written)
    assert read_answers(path) == (written if texts else [])


def test_texts_are_kept_once_and_the_first_ones_stay(tmp_path: Path) -> None:
    keep_texts(tmp_path, "d", [Row(id="a", kind="pair", prompt="2+2=", answer="4")])
    keep_texts(tmp_path, "d", [Row(id="a", kind="pair", prompt="other", answer="5")])
    assert read_texts(tmp_path, "d") == {"a": Text("2+2=", "4")}
    assert [p.name for p in texts_path(tmp_path, "d").parent.iterdir()] == ["d.parquet"]


def test_a_chat_is_read_as_its_turns_and_a_text_as_itself(tmp_path: Path) -> None:
    turns = ({"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"})
    rows = [
        Row(id="c", kind="chat", messages=turns, answer="Hello"),
        Row(id="t", kind="text", text="plain"),
    ]
    keep_texts(tmp_path, "d", rows)
    assert read_texts(tmp_path, "d") == {"c": Text("user: Hi", "Hello"), "t": Text("plain", "")}


def test_what_was_not_kept_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="answers cannot be read"):
        read_texts(tmp_path, "none")
    (tmp_path / "a.parquet").write_text("no table")
    with pytest.raises(UserError, match="answers cannot be read"):
        read_answers(tmp_path / "a.parquet")
