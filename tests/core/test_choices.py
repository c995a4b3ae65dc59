"""Multiple-choice rows: read only where they are asked for, the answer as text or as index."""

import json
from pathlib import Path
from typing import Any

import pytest

from keepgain.core.errors import UserError
from keepgain.core.row_files import read_row_file
from keepgain.core.rows import row_from_json

ANIMALS = ["cat", "dog", "1"]


def read(folder: Path, row: dict[str, Any], **options: Any) -> Any:
    path = folder / "rows.jsonl"
    path.write_text(json.dumps(row) + "\n")
    return read_row_file(path, **{"choices": True, **options}).rows[0]


@pytest.mark.parametrize(
    ("answer", "text"),
    [("dog", "dog"), (" dog ", "dog"), (0, "cat"), (2, "1"), ("1", "1"), ("0", "cat")],
)
def test_the_answer_is_a_choice_or_its_index_and_a_text_comes_first(tmp_path, answer, text):
    row = read(tmp_path, {"question": "q", "choices": ANIMALS, "answer": answer})
    assert (row.answer, row.choices) == (text, ("cat", "dog", "1"))
    assert row_from_json(json.loads(json.dumps(row.to_json()))) == row


@pytest.mark.parametrize("answer", ["horse", 3, -1, 1.0, True, None])
def test_another_answer_is_refused_with_line_and_what_is_allowed(tmp_path, answer):
    with pytest.raises(UserError, match=r"rows.jsonl:1: .*none of the 3 choices.* from 0 to 2"):
        read(tmp_path, {"question": "q", "choices": ANIMALS, "answer": answer})


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        (None, "must be a list"),
        (["one"], "at least two"),
        (["a", "a "], "same choice twice"),
        (["a", 1], "is the number 1"),
        (["a", " "], "is empty"),
        ("[1", "no list in JSON"),
    ],
)
def test_choices_are_at_least_two_different_texts(tmp_path, choices, words):
    with pytest.raises(UserError, match=words):
        read(tmp_path, {"question": "q", "choices": choices, "answer": "a"})


def test_choices_of_chats_under_another_key_and_as_json_text(tmp_path):
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "dog"}]
    row = read(tmp_path, {"messages": turns, "options": json.dumps(ANIMALS)})
    assert row.choices == ("cat", "dog", "1")
    named = {"prompt": "q", "answer": 1, "endings": ANIMALS}
    assert read(tmp_path, named, fields={"choices": "endings"}).answer == "dog"


def test_where_they_are_not_asked_for_rows_and_ids_are_as_without_them(tmp_path):
    plain = {"question": "q", "answer": "dog"}
    assert read(tmp_path, plain, choices=False) == read(
        tmp_path, {**plain, "choices": ANIMALS}, choices=False
    )
