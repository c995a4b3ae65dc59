"""Verifiable instructions, each kind by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepgain.core.rows import Row, facts_of
from keepgain.core.scorer_options import ScorerOptions
from keepgain.trainers.scorers.instructions import (
    TYPES,
    by_type,
    has_phrase,
    instructions_fault,
    instructions_followed,
    sentence_count,
)

OPTIONS = ScorerOptions()
EXAMPLES = Path(__file__).parents[2] / "examples" / "behaviour" / "instructions.jsonl"


def one(type: str, value: Any = None) -> dict[str, Any]:
    return {"type": type} if value is None else {"type": type, "value": value}


def row(*wanted: Any, answer: str = "yes") -> Row:
    facts = facts_of({"instructions": list(wanted)} if wanted else {})
    return Row("r", "pair", prompt="q", answer=answer, facts=facts)


CASES = [
    (one("min_words", 2), ["a b"], ["a"]),
    (one("max_words", 2), ["a b", "a-b c"], ["a b c"]),
    (one("min_characters", 3), ["你好吗"], ["ab"]),
    (one("max_characters", 3), ["你好吗", " abc "], ["abcd"]),
    (one("min_sentences", 2), ["One. Two", "一。二。"], ["Version 2.5 is out."]),
    (one("max_sentences", 1), ["Costs 3.50 today!", "No end"], ["Why? So.", "一。二。"]),
    (one("paragraphs", 2), ["a\n\nb", "a\n \n\nb\nc"], ["a\nb", "a"]),
    (one("bullets", 2), ["- a\n* b", "Both:\n • a\n - b"], ["-a\n-b", "- a"]),
    (one("include", ["sea", "wind"]), ["Wind and SEA."], ["seaside wind", "sea"]),
    (one("exclude", ["sea"]), ["The seaside."], ["the Sea!"]),
    (one("starts_with", "Dear"), ["dear all"], ["My dear"]),
    (one("ends_with", "Bye."), ["Good bye."], ["Bye. Or not"]),
    (one("lower_case"), ["ab 1", "straße"], ["Ab", "12"]),
    (one("upper_case"), ["AB 1"], ["Ab", "12", "雨"]),
    (one("json"), ['{"a": 1}', "[]"], ["a", "{'a': 1}"]),
    (one("no_commas"), ["a; b"], ["a, b", "一，二", "一、二"]),
    (one("quoted"), ['"a b"', "“a”", "„a“"], ["a", '"a', '"']),
]


@pytest.mark.parametrize(("wanted", "right", "wrong"), CASES, ids=lambda v: str(v)[:30])
def test_what_follows_an_instruction_and_what_does_not(wanted, right, wrong):
    item = row(wanted)
    assert [instructions_followed(text, item, OPTIONS) for text in right] == [1.0] * len(right)
    assert [instructions_followed(text, item, OPTIONS) for text in wrong] == [0.0] * len(wrong)


def test_every_type_is_tried_above_and_an_empty_answer_follows_none():
    assert {case[0]["type"] for case in CASES} == TYPES.keys()
    assert [instructions_followed(" \n", row(case[0]), OPTIONS) for case in CASES] == [0.0] * len(
        CASES
    )


def test_the_score_is_the_share_and_the_figures_tell_strict_and_each_type():
    items = [
        row(one("max_words", 2), one("no_commas")),
        row(one("max_words", 1)),
        row(one("max_words", 3), one("lower_case")),
    ]
    answers = ["a, b", "a b", "a b"]
    scores = np.array(
        [instructions_followed(a, r, OPTIONS) for a, r in zip(answers, items, strict=True)]
    )
    assert scores.tolist() == [0.5, 0.0, 1.0]
    assert by_type(answers, items, scores, OPTIONS) == {
        "strict_share": pytest.approx(1 / 3),
        "instruction_share": pytest.approx(3 / 5),
        "instructions": 5.0,
        "followed/lower_case": 1.0,
        "n/lower_case": 1.0,
        "followed/max_words": pytest.approx(2 / 3),
        "n/max_words": 3.0,
        "followed/no_commas": 0.0,
        "n/no_commas": 1.0,
    }


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ([], "must be a list such as"),
        (["max_words"], r"instructions[0]: 'max_words' is no object"),
        ([{"value": 2}], "is no object with 'type'"),
        ([one("max_words", 2) | {"n": 1}], "is no object with 'type' and 'value'"),
        ([one("max_words", 9), one("shout")], "instructions[1]: unknown type 'shout'; known: min_"),
        ([one("max_words", 2.5)], "the value of 'max_words' is 2.5; it must be a number from 1"),
        ([one("include", "sea")], "it must be a list of texts"),
        ([one("ends_with", " ")], "it must be a text"),
        ([one("lower_case", True)], "it must be left out"),
        ([one("upper_case")], "own answer does not follow its instruction 'upper_case'"),
        ([one("max_words", 1), one("min_words", 2)], "own answer does not follow"),
    ],
)
def test_an_item_that_cannot_be_scored_says_why(wanted, words):
    assert words in str(instructions_fault(row(*wanted), None))


def test_the_example_has_no_fault():
    rows = [json.loads(line) for line in EXAMPLES.read_text(encoding="utf-8").splitlines()]
    made = [row(*r["instructions"], answer=r["answer"]) for r in rows]
    assert [instructions_fault(r, OPTIONS) for r in made] == [None] * len(rows)
    assert {i["type"] for r in rows for i in r["instructions"]} >= TYPES.keys() - {"min_characters"}


@given(st.lists(st.text(alphabet="ab ,.\n", max_size=40), min_size=1, max_size=4))
def test_including_a_word_and_excluding_it_never_both_hold(texts):
    for text in (t for t in texts if t.strip()):
        both = row(one("include", ["ab"]), one("exclude", ["ab"]))
        assert instructions_followed(text, both, OPTIONS) == 0.5
        limits = row(one("max_words", 3), one("min_words", 4))
        assert instructions_followed(text, limits, OPTIONS) == 0.5


def test_sentences_and_phrases_in_scripts_without_blanks():
    assert sentence_count("今天下雨。明天呢？") == 2 and sentence_count("...") == 0
    assert has_phrase("今天下雨了", "下雨") and not has_phrase("rainy", "rain")
    assert has_phrase("C++ is here", "c++") and has_phrase("Straße frei", "STRASSE")
