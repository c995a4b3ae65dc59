"""What cleaning changes in a row, and what it leaves alone."""

import copy
import json
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepgain.core.schema import parse
from keepgain.sweeps.clean.edits import Join, edit_record, tidy
from keepgain.sweeps.spec_data import DataRules


def edited(record: dict[str, Any], kind: str = "prompt_answer", **how: Any) -> dict[str, Any]:
    before = copy.deepcopy(record)
    new, _ = edit_record(
        record, kind, how.get("fields", {}), how.get("rules"), how.get("personal", False)
    )
    assert record == before, "the record that was read stays as it is"
    return new


@pytest.mark.parametrize(
    ("text", "join", "tidied"),
    [
        ("  a b  ", "none", "a b"),
        ("a\u00a0b\u2009c", "none", "a b c"),
        ("a\u200bb\ufeff", "none", "ab"),
        ("a\r\nb \t\nc\rd", "none", "a\nb\nc\nd"),
        ("a\n\n\n\n\n\nb", "none", "a\n\n\nb"),
        ("one\x0ctwo\x0bthree\x85four\u2028five", "none", "one\ntwo\nthree\nfour\nfive"),
        ("  a\n", "none", "a"),
        ("\n  \n    code\n      more\n", "none", "    code\n      more"),
        ("a    b\tc", "none", "a    b\tc"),
        ("\x00a\x1b[1m", "none", "a[1m"),
        (" The capital is ", "before", "The capital is "),
        (" Paris ", "after", " Paris"),
        ("\u0928\u200d\u092f", "none", "\u0928\u200d\u092f"),
    ],
)
def test_white_space_is_tidied_and_what_may_mean_something_stays(
    text: str, join: Join, tidied: str
) -> None:
    assert tidy(text, join) == tidied


@given(st.text(), st.sampled_from(["none", "before", "after"]))
def test_tidying_again_changes_nothing(text: str, join: Join) -> None:
    once = tidy(unicodedata.normalize("NFC", text), join)
    assert tidy(unicodedata.normalize("NFC", once), join) == once


def test_cleaning_again_changes_nothing() -> None:
    once = edited({"prompt": "caf e\u200b\u0301", "answer": " a\n"})
    assert once == {"prompt": "caf \u00e9", "answer": " a"} and edited(once) == once


@pytest.mark.parametrize("choices", ["[broken, x ", [{"text": "x "}, {"text": "y"}], [{"": 5}], 7])
def test_choices_that_nobody_reads_may_be_anything(choices: object) -> None:
    new = edited({"prompt": "p", "answer": "a", "choices": choices})
    assert new["choices"] == (choices.rstrip() if isinstance(choices, str) else choices)


def test_only_what_is_trained_on_is_edited_and_other_fields_stay() -> None:
    record = {"question": " e\u0301 ", "label": "x ", "note": " kept ", "n": 1.0, "tags": ["a "]}
    assert edited(record) == {
        "question": "\u00e9 ", "label": "x", "note": " kept ", "n": 1.0, "tags": ["a "]
    }  # fmt: skip
    assert list(edited(record)) == list(record)


def turns(a: str, b: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": a, "x": 1}, {"role": "assistant", "content": b}]


def said(a: str, b: str) -> list[dict[str, Any]]:
    return [{"from": "human", "value": a}, {"from": "gpt", "value": b}]


@pytest.mark.parametrize(
    ("kind", "record", "expected"),
    [
        ("messages", {"messages": turns(" a ", "b ")}, {"messages": turns("a", "b")}),
        ("messages", {"messages": json.dumps(turns("a ", "b"))}, {"messages": turns("a", "b")}),
        ("sharegpt", {"conversations": said("a ", "b ")}, {"conversations": said("a", "b")}),
        (
            "alpaca",
            {"instruction": " i", "input": " j", "output": "o "},
            {"instruction": "i", "input": "j", "output": "o"},
        ),
        ("text", {"text": " t "}, {"text": "t"}),
        (
            "prompt_answer",
            {"prompt": "p", "answer": "x ", "choices": ["x ", "y"]},
            {"prompt": "p", "answer": "x", "choices": ["x", "y"]},
        ),
        (
            "prompt_answer",
            {"prompt": "p", "answer": 1, "choices": ["x", "y"]},
            {"prompt": "p", "answer": 1, "choices": ["x", "y"]},
        ),
    ],
)
def test_every_format_is_edited_where_its_texts_are(
    kind: str, record: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert edited(record, kind) == expected


def test_dates_and_numbers_are_written_as_the_rules_say() -> None:
    rules = parse(
        DataRules,
        {
            "fields": {
                "day": {"type": "date", "formats": ["%d.%m.%Y"]},
                "price": {"type": "number", "decimal": ","},
                "free": {"type": "text"},
            },
            "answer": {"type": "number"},
        },
        source="",
    )
    record = {
        "prompt": "p",
        "answer": "1,234",
        "day": "1.2.2026",
        "price": "1.234,50",
        "free": "1,0",
    }
    assert edited(record, rules=rules) == {
        "prompt": "p", "answer": "1234", "day": "2026-02-01", "price": "1234.50", "free": "1,0"
    }  # fmt: skip
    odd = {"prompt": "p", "answer": "many", "day": "soon", "price": 3.5, "free": "x"}
    assert edited(odd, rules=rules) == odd
    assert edited(record)["day"] == "1.2.2026", "without rules nothing is known of fields"


def test_personal_data_is_masked_on_request_and_never_in_the_log() -> None:
    record = {
        "prompt": "write to jane.doe@gmail.com ",
        "answer": "ok",
        "mail": "jane.doe@gmail.com",
    }
    new, edits = edit_record(record, "prompt_answer", {}, None, personal=True)
    assert "jane.doe" not in new["prompt"] and new["mail"] == record["mail"]
    assert edits.reasons == ["personal"] and "jane.doe" not in str(edits.safe())
    assert edit_record(record, "prompt_answer", {}, None, personal=False)[0] == record
