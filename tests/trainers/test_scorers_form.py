"""Form, repetition and length of answers, by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepgain.core.rows import Row, facts_of
from keepgain.core.scorer_options import ScorerOptions
from keepgain.trainers.scorers.form import (
    FORMS,
    PATTERN_CHARACTERS,
    answer_length_ratio,
    form_fault,
    repetition,
    repetition_figures,
    valid_form,
)

OPTIONS = ScorerOptions()
EXAMPLES = Path(__file__).parents[2] / "examples" / "behaviour" / "form.jsonl"


def row(format: Any = None, answer: str = "yes") -> Row:
    facts = {} if format is None else {"format": format}
    return Row("r", "pair", prompt="q", answer=answer, facts=facts_of(facts))


@pytest.mark.parametrize(
    ("form", "right", "wrong"),
    [
        ("json", ['{"a": 1}', " [1, 2]\n"], ["5", '"a"', "{'a': 1}", "{} and more", "", "[NaN]"]),
        ({"json": True}, ["{}"], ["```json\n{}\n```", '{"a": 1, "a": 2}', "[" * 100_000]),
        ({"json_keys": ["a", "b"]}, ['{"b": 0, "a": [], "c": 1}'], ['{"a": 1}', '["a", "b"]']),
        ({"pattern": r"\d{4}-\d\d"}, ["2025-03", " 2025-03 "], ["on 2025-03", "2025-03-01", ""]),
        ({"pattern": "[a-z]+"}, ["abc", "a" * PATTERN_CHARACTERS], ["a" * 4001, "ABC"]),
        ({"one_of": ["yes", "no"]}, ["yes", " no"], ["Yes", "yes.", "yes no"]),
        ({"max_words": 2}, ["a b", "a"], ["a b c", "", "  "]),
        ({"max_characters": 3}, ["äöü", " abc "], ["abcd", ""]),
        ({"lines": 2}, ["a\nb", "\na\nb\n"], ["a", "a\nb\nc", ""]),
        ({"max_words": 3, "pattern": ".*!"}, ["a b!"], ["a b", "a b c d!"]),
    ],
)
def test_the_form_of_an_answer(form, right, wrong):
    item = row(form)
    assert [valid_form(text, item, OPTIONS) for text in right] == [1.0] * len(right)
    assert [valid_form(text, item, OPTIONS) for text in wrong] == [0.0] * len(wrong)


@pytest.mark.parametrize(
    ("form", "answer", "words"),
    [
        (None, "yes", "has no 'format'"),
        ("xml", "yes", "must be 'json' or an object"),
        ({}, "yes", "must be 'json' or an object"),
        (["json"], "[]", "must be 'json' or an object"),
        ({"max_word": 2}, "yes", "unknown key 'max_word'; known: json, json_keys"),
        ({"max_words": 0}, "yes", "'max_words' of 'format' is 0; it must be a number from 1"),
        ({"max_words": True}, "yes", "a number from 1"),
        ({"one_of": []}, "yes", "a list of texts"),
        ({"json": False}, "yes", "it must be true"),
        ({"pattern": "("}, "yes", "no regular expression"),
        ({"pattern": "(?a)(?u)yes"}, "yes", "no regular expression"),
        ({"pattern": "(y+)+es"}, "yes", "too many ways"),
        ({"max_words": 1}, "yes it is", "own answer does not have the form"),
    ],
)
def test_an_item_that_cannot_be_scored_says_why(form, answer, words):
    assert words in str(form_fault(row(form, answer), None))


def test_a_pattern_from_the_beginning_may_have_more_repeats_than_one_anywhere():
    assert form_fault(row({"pattern": ".*e.*"}), OPTIONS) is None


def test_the_example_holds_every_form_and_no_fault():
    rows = [json.loads(line) for line in EXAMPLES.read_text(encoding="utf-8").splitlines()]
    assert [form_fault(row(r["format"], r["answer"]), OPTIONS) for r in rows] == [None] * len(rows)
    used = {key for r in rows for key in (["json"] if r["format"] == "json" else r["format"])}
    assert used == FORMS.keys()


def test_repetition_counts_4_grams_of_words_that_stood_there_before():
    assert repetition("a b c d", row(), OPTIONS) == repetition("", row(), OPTIONS) == 0
    # abcd bcda cdab dabc abcd: 4 different ones of 5.
    assert repetition("a b c d a b c d", row(), OPTIONS) == pytest.approx(1 / 5)
    # 7 times the same 4-gram.
    assert repetition("no " * 10, row(), OPTIONS) == pytest.approx(6 / 7)


@given(st.lists(st.sampled_from("ab"), max_size=30))
def test_repetition_is_a_share_and_0_without_any(words):
    found = repetition(" ".join(words), row(), OPTIONS)
    assert 0 <= found < 1
    numbered = " ".join(f"{w}{i}" for i, w in enumerate(words))
    assert repetition(numbered, row(), OPTIONS) == 0


def test_figures_of_repetition():
    answers = ["no " * 10, "a b c d", "a b c d e f", ""]
    scores = np.array([repetition(a, row(), OPTIONS) for a in answers])
    assert repetition_figures(answers, [row()] * 4, scores, OPTIONS) == {
        "mostly_repeated_share": 0.25,
        "too_short_share": 0.5,
    }


def test_the_length_ratio_counts_bytes_of_the_stripped_answer():
    assert answer_length_ratio(" äb ", row(answer="abcd"), OPTIONS) == 3 / 4
    assert answer_length_ratio("", row(answer="ab"), OPTIONS) == 0
    assert answer_length_ratio(" ab", row(answer=" ab\n"), OPTIONS) == 1
