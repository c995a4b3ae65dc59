"""Raw JSON Lines: what is accepted, and that every fault names its file and line."""

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepgain.core.errors import UserError
from keepgain.core.jsonl import MAX_LINE_BYTES
from keepgain.core.row_files import read_row_file
from keepgain.core.rows import Row, row_from_json

GOOD = b'{"prompt": "a", "answer": "b"}\n'

# name, bytes of the file, line named in the message (None: the file alone), words of the message
MALFORMED: list[tuple[str, bytes, int | None, str]] = [
    ("empty file", b"", None, "no rows"),
    ("blank lines only", b"\n  \n\n", None, "no rows"),
    ("truncated last line", GOOD + b'{"prompt": "a", "ans', 2, "cut off"),
    ("array on one line", b'[{"prompt": "a", "answer": "b"}]\n', 1, "jq"),
    ("array over lines", b'[\n{"prompt": "a", "answer": "b"}\n]\n', 1, "jq"),
    ("object over lines", b'{\n"prompt": "a"\n}\n', 1, "jq"),
    ("UTF-16 with mark", '{"prompt": "a"}\n'.encode("utf-16"), 1, "UTF-16"),
    ("UTF-16 without mark", '{"prompt": "a"}\n'.encode("utf-16-le"), 1, "UTF-16"),
    ("invalid UTF-8", GOOD + b'{"prompt": "\xff", "answer": "b"}\n', 2, "not UTF-8"),
    ("NUL byte", GOOD + b'{"prompt": "\x00", "answer": "b"}\n', 2, "NUL"),
    ("lone surrogate", b'{"prompt": "\\ud800", "answer": "b"}\n', 1, "surrogate"),
    ("half of a key", GOOD + b'{"prompt": "a", "answer": "b", "x\\uDC01": 1}\n', 2, "\\udc01"),
    ("duplicate keys", b'{"prompt": "a", "prompt": "c", "answer": "b"}\n', 1, "'prompt'"),
    ("no known keys", b'{"body": "a"}\n', 1, "'body'"),
    ("missing answer", GOOD + b'{"prompt": "a"}\n', 2, "'answer'"),
    ("null text", GOOD + b'{"prompt": null, "answer": "b"}\n', 2, "null; it must be text"),
    ("number as text", b'{"prompt": "2+2", "answer": 4}\n', 1, "in quotes"),
    ("boolean as text", b'{"prompt": "a", "answer": true}\n', 1, "boolean"),
    ("list as text", b'{"text": ["a"]}\n', 1, "a list"),
    ("empty string", b'{"prompt": "a", "answer": " "}\n', 1, "empty"),
    ("long line", b'{"text": "' + b"x" * 10_000_000 + b'"}\n', 1, f"{MAX_LINE_BYTES:,}"),
    ("deep nesting", b'{"text": "a", "x": ' + b"[" * 10_000 + b"]" * 10_000 + b"}\n", 1, "deep"),
    ("NaN", b'{"text": "a", "x": NaN}\n', 1, "NaN"),
    ("Infinity", b'{"text": "a", "x": -Infinity}\n', 1, "Infinity"),
    ("float overflow", b'{"text": "a", "x": 1e999}\n', 1, "too large"),
    ("huge integer", b'{"text": "a", "x": ' + b"9" * 5000 + b"}\n", 1, "limit"),
    ("number instead of object", b"17\n", 1, "the number 17"),
    ("not JSON", b"prompt,answer\n", 1, "not JSON"),
    ("unknown role", b'{"messages": [{"role": "tool", "content": "a"}]}\n', 1, "'tool'"),
    ("role is no text", b'{"messages": [{"role": [1], "content": "a"}]}\n', 1, "role"),
    ("no assistant", b'{"messages": [{"role": "user", "content": "a"}]}\n', 1, "assistant"),
    ("no turns", b'{"messages": []}\n', 1, "empty list"),
    ("messages is text", b'{"messages": "hello"}\n', 1, "list of turns"),
    ("turn is text", b'{"messages": ["hello"]}\n', 1, "messages[0]"),
    (
        "ends with user",
        b'{"messages": [{"role": "assistant", "content": "a"}, '
        b'{"role": "user", "content": "b"}]}\n',
        1,
        "last turn",
    ),
    ("no question", b'{"messages": [{"role": "assistant", "content": "a"}]}\n', 1, "user turn"),
    ("gzip", gzip.compress(GOOD), 1, "gunzip"),
    ("parquet", b"PAR1xxxx", 1, "Parquet"),
    ("same id", b'{"id": 1, "text": "a"}\n{"id": "1", "text": "b"}\n', 2, "line 1"),
    ("mixed formats", GOOD + b'{"text": "a"}\n', 2, "prompt"),
]


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [(c, n, w) for _, c, n, w in MALFORMED],
    ids=[name for name, *_ in MALFORMED],
)
def test_malformed_file_is_refused_with_its_line(
    tmp_path: Path, content: bytes, line: int | None, words: str
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_row_file(path)
    assert caught.value.where == (str(path) if line is None else f"{path}:{line}")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["missing", "directory", "fifo", "device"])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "rows.jsonl"
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path = Path("/dev/zero")
    with pytest.raises(UserError, match=str(path)):
        read_row_file(path)


def test_a_missing_file_names_the_nearest_one(tmp_path: Path) -> None:
    (tmp_path / "tickets.jsonl").write_bytes(GOOD)
    with pytest.raises(UserError, match=r"tickets\.jsonl\?"):
        read_row_file(tmp_path / "ticket.jsonl")


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + GOOD,
        GOOD.replace(b"\n", b"\r\n") * 2,
        b"\n" + GOOD + b"\n\n",
        GOOD.rstrip(b"\n"),
        b'{"prompt": "a", "answer": "b", "big": 9223372036854775808}\n',
    ],
    ids=["byte order mark", "CRLF", "blank lines", "no last newline", "2^63"],
)
def test_harmless_oddities_are_accepted(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    row = read_row_file(path).rows[0]
    assert (row.prompt, row.answer) == ("a", "b")


@pytest.mark.parametrize(
    "text", ["שלום עולם", "👩‍👩‍👧‍👦 family", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢", "a\u2028b", "\u202eabc"]
)
def test_every_script_survives_a_round_trip(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"prompt": text, "answer": text}) + "\n", encoding="utf-8")
    row = read_row_file(path).rows[0]
    assert row.prompt == row.answer == text
    assert row_from_json(json.loads(json.dumps(row.to_json()))) == row


CHAT = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
SHAREGPT = [
    {"from": "system", "value": "s"},
    {"from": "human", "value": "q"},
    {"from": "gpt", "value": "a"},
]


@pytest.mark.parametrize(
    ("record", "format", "question", "answer"),
    [
        ({"prompt": "q", "answer": "a"}, "prompt_answer", "q", "a"),
        ({"question": "q", "response": "a"}, "prompt_answer", "q", "a"),
        ({"prompt": "q", "completion": "a"}, "prompt_answer", "q", "a"),
        ({"messages": CHAT}, "messages", "user: q", "a"),
        ({"conversations": SHAREGPT}, "sharegpt", "system: s\nuser: q", "a"),
        ({"instruction": "do", "input": "x", "output": "a"}, "alpaca", "do\n\nx", "a"),
        ({"instruction": "do", "input": "", "output": "a"}, "alpaca", "do", "a"),
        ({"text": "t"}, "text", "t", ""),
    ],
)
def test_formats_are_detected(
    tmp_path: Path, record: dict[str, Any], format: str, question: str, answer: str
) -> None:
    file = read_row_file(_write(tmp_path, record))
    assert file.format == format
    assert (file.rows[0].question(), file.rows[0].answer) == (question, answer)


def test_fields_map_other_names(tmp_path: Path) -> None:
    record = {"body": "q", "label": "a", "passage": "c", "region": 7, "key": "k1", "text": "no"}
    fields = {"prompt": "body", "answer": "label", "context": "passage"}
    fields |= {"group": "region", "id": "key"}
    row = read_row_file(_write(tmp_path, record), fields=fields).rows[0]
    assert row == Row("k1", "pair", prompt="q", answer="a", context="c", group="7")


def test_a_mapped_field_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'passage' \\(mapped to context\\)"):
        read_row_file(
            _write(tmp_path, {"prompt": "q", "answer": "a"}), fields={"context": "passage"}
        )


def test_a_declared_format_overrules_detection(tmp_path: Path) -> None:
    path = _write(tmp_path, {"messages": CHAT, "text": "t"})
    assert read_row_file(path, format="text").rows[0].kind == "text"
    with pytest.raises(UserError, match="'instruction'"):
        read_row_file(path, format="alpaca")


def test_ids_follow_from_content_and_equal_rows_are_told_apart(tmp_path: Path) -> None:
    twice = _write(tmp_path, {"text": "t"}, {"text": "u"}, {"text": "t"})
    first, _, again = (row.id for row in read_row_file(twice).rows)
    assert again == f"{first}-2"
    alone = _write(tmp_path, {"text": "t"})
    assert read_row_file(alone).rows[0].id == first


def test_lines_are_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\n" + GOOD + b"\n" + GOOD)
    assert read_row_file(path).lines == (2, 4)
    assert read_row_file(path, limit=1).lines == (2,)


@given(st.binary(max_size=300))
def test_any_bytes_are_rows_or_a_user_error(tmp_path_factory: Any, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.jsonl"
    path.write_bytes(content)
    try:
        assert read_row_file(path).rows
    except UserError as error:
        assert str(path) in str(error)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_any_json_value_in_a_field_is_a_row_or_a_user_error(
    tmp_path_factory: Any, value: Any
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.jsonl"
    for record in (
        {"prompt": value, "answer": "a"},
        {"messages": value},
        {"text": "t", "id": value},
    ):
        path.write_text(json.dumps(record) + "\n")
        try:
            assert read_row_file(path).rows
        except UserError as error:
            assert f"{path}:1" in str(error)


def _write(folder: Path, *records: dict[str, Any]) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in records))
    return path


def test_slices_are_kept_as_text_and_leave_the_ids_alone(tmp_path: Path) -> None:
    records = [
        {"text": "t", "language": "de", "level": 3, "hard": True},
        {"text": "u", "language": None, "level": "3", "hard": False},
        {"text": "v"},
    ]
    path = _write(tmp_path, *records)
    sliced = read_row_file(path, slices=["language", "level", "hard"]).rows
    assert [r.slices for r in sliced] == [
        (("language", "de"), ("level", "3"), ("hard", "true")),
        (("level", "3"), ("hard", "false")),
        (),
    ]
    assert [r.id for r in sliced] == [r.id for r in read_row_file(path).rows]


@pytest.mark.parametrize("value", [1.5, ["de"], {"a": 1}, "\ud800"])
def test_a_slice_that_is_no_name_is_refused(tmp_path: Path, value: Any) -> None:
    path = _write(tmp_path, {"text": "t"}, {"text": "u", "language": value})
    with pytest.raises(UserError, match="'language'") as caught:
        read_row_file(path, slices=["language"])
    assert caught.value.where == f"{path}:2"
