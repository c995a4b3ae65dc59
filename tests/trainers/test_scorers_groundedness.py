"""Answers held against a passage, by rules whose figures are worked out by hand."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepgain.core import safe_patterns
from keepgain.core.errors import UserError
from keepgain.core.rows import Row, facts_of
from keepgain.core.scorer_options import ScorerOptions
from keepgain.trainers.scorers.groundedness import (
    abstentions,
    cited,
    cited_fault,
    grounded,
    grounded_fault,
)

PASSAGE = "The pump P-12 was built in Bern in 1998. It weighs 3.5 kg."
RULES = ScorerOptions(abstains=(r"(?i)not stated|cannot tell",), rejects=(r"(?i)\bin fact\b",))


def item(kind: str, answer: str = "Bern", passage: str | None = PASSAGE, **facts: Any) -> Row:
    known = {"kind": kind, **facts} | ({} if passage is None else {"passage": passage})
    prompt = f"{passage or ''}\nQuestion?"
    return Row("r", "pair", prompt=prompt, answer=answer, facts=facts_of(known))


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ("Bern", 1.0),
        ("in BERN", 1.0),  # `in` is too short to say something
        ("It was built in Bern in 1998", 1.0),
        ("It was built in Basel in 1998", 2 / 3),  # built, Basel, 1998
        ("Bern Bern Bern Basel", 0.5),  # each part counts once
        ("1999", 0.0),
        ("3", 0.0),  # no part of 3.5
        ("3.5 kg", 1.0),
        ("5", 0.0),
        ("199", 0.0),
        ("no", 0.0),  # nothing but a short word, which is looked for too
        ("it", 1.0),
        ("", 0.0),
        ("That is not stated; Bern", 0.0),  # it abstains
    ],
)
def test_an_answerable_item_scores_the_share_that_the_passage_holds(answer, score):
    assert grounded(answer, item("answerable"), RULES) == pytest.approx(score)


def test_a_pattern_that_would_match_for_ever_ends_with_an_error(monkeypatch):
    monkeypatch.setattr(safe_patterns, "SECONDS", 0.2)
    answer = "a" * 60 + "!"
    for options in (ScorerOptions(abstains=("(a|aa)+$",)), ScorerOptions(entities="(a|aa)+$")):
        with pytest.raises(UserError, match=r"\(a\|aa\)\+\$' took more than 0.2 s on the answer"):
            grounded(answer, item("answerable"), options)


def test_names_of_several_words_are_found_in_a_long_answer():
    options = ScorerOptions(entities=r"[A-Z]\w+(?: [A-Z]\w+)*")
    row = item("answerable", "The pump", passage="Anna Berg met Carl Dorn.")
    assert grounded("and Anna Berg " * 2_000, row, options) == 1


def test_a_pattern_says_what_is_looked_for():
    options = ScorerOptions(entities=r"[A-Z]-\d+|\d{4}")
    row = item("answerable", "P-12")
    assert grounded("The lovely P-12 of 1998", row, options) == 1
    assert grounded("The P-13 of 1998", row, options) == 0.5
    assert grounded("something else", row, options) == 0, "the reference names one"
    assert grounded("something else", item("answerable", "pump"), options) == 1
    assert grounded(" ", item("answerable", "pump"), options) == 0


def test_an_answer_can_be_asked_to_equal_the_reference_too():
    options = ScorerOptions(equals_reference=True)
    assert grounded("the Bern.", item("answerable"), options) == 1
    assert grounded("1998", item("answerable"), options) == 0


@pytest.mark.parametrize(
    ("kind", "answer", "score"),
    [
        ("unanswerable", "I cannot tell.", 1.0),
        ("unanswerable", "Bern", 0.0),
        ("ambiguous", "Which pump do you mean? ", 1.0),
        ("ambiguous", "Which pump? P-12.", 0.0),
        ("ambiguous", "", 0.0),
        ("false_premise", "In fact it is from Bern.", 1.0),
        ("false_premise", "In 1998.", 0.0),
    ],
)
def test_the_other_kinds_are_right_or_wrong(kind, answer, score):
    assert grounded(answer, item(kind), RULES) == score


def test_asking_back_can_have_patterns_of_its_own():
    options = ScorerOptions(asks_back=(r"(?i)please say which",))
    assert grounded("Please say which pump.", item("ambiguous"), options) == 1
    assert grounded("Which pump?", item("ambiguous"), options) == 0


def test_citations_must_be_in_the_list_or_in_the_passage():
    options = ScorerOptions(entities=r"\[\d+\]|P-\d+")
    row = item("", "see [1]", allowed=["[1]", "[2]"])
    assert cited("see [1] and [2] on P-12", row, options) == 1
    assert cited("see [1] and [3], [3] on P-13", row, options) == pytest.approx(1 / 3)
    assert cited("no citation", row, options) == 0, "the reference cites"
    assert cited("no citation", item("", "none", allowed=[]), options) == 1
    alone = item("", "[2]", passage=None, allowed=["[2]"])
    assert cited_fault(alone, options) is None
    assert cited("[2] [1]", alone, options) == 0.5


def test_a_mark_in_the_passage_may_stand_right_beside_a_word():
    options = ScorerOptions(entities=r"\[S\d+\]")
    row = item("", "[S1]", passage="The cow is brown[S1]. It eats grass[S2]and hay.")
    assert cited("so say [S1] and [S2]", row, options) == 1
    assert cited("so say [S1] and [S3]", row, options) == 0.5
    numbers = item("", "-7", passage="From 10-5 to -7, by 3.5")
    assert cited("-7 and -5 and .5", numbers, ScorerOptions(entities=r"[-.]\d")) == 1 / 3


def test_abstentions_are_counted_by_kind():
    rows = [item("answerable"), item("answerable"), item("unanswerable")]
    answers = ["Bern", "I cannot tell", "not stated"]
    nothing = np.zeros(3)
    assert abstentions(answers, rows, nothing, RULES) == {
        "abstained_answerable": 0.5,
        "abstained_unanswerable": 1.0,
    }
    assert abstentions(answers, rows, nothing, ScorerOptions()) == {}


@pytest.mark.parametrize(
    ("row", "options", "says"),
    [
        (item("other"), RULES, "`kind` is 'other'; it must be one of answerable"),
        (item(["answerable"]), RULES, "`kind` is"),  # type: ignore[arg-type]
        (Row("r", "pair", prompt="q", answer="a"), RULES, "`kind` is None"),
        (item("unanswerable", "cannot tell"), ScorerOptions(), "suite's key `abstains`"),
        (item("false_premise", "in fact"), ScorerOptions(), "suite's key `rejects`"),
        (item("answerable", passage=None), RULES, "has no `passage`"),
        (item("answerable", passage=""), RULES, "`passage` must be text"),
        (item("unanswerable", "Bern"), RULES, "does not score 1 as unanswerable: `abstains`"),
        (item("answerable", "Basel"), RULES, "'Basel' does not score 1 as answerable"),
    ],
)
def test_an_item_that_cannot_be_scored_is_told(row, options, says):
    fault = grounded_fault(row, options)
    assert fault is not None and says in fault


def test_a_passage_must_be_shown_in_the_prompt():
    hidden = Row("r", "pair", prompt="Q?", answer="Bern", facts=item("answerable").facts)
    assert "does not show the text of `passage`" in str(grounded_fault(hidden, RULES))
    assert grounded_fault(item("answerable"), RULES) is None
    assert grounded_fault(item("ambiguous", "Which?", passage=None), RULES) is None


@pytest.mark.parametrize(
    ("row", "options", "says"),
    [
        (item("", "[1]", allowed=["[1]"]), ScorerOptions(), "needs the suite's key `entities`"),
        (item("", "[1]", allowed="[1]"), ScorerOptions(entities="x"), "list of texts"),
        (item("", "[1]", passage=None), ScorerOptions(entities="x"), "has no `passage`"),
        (item("", "[9]", allowed=["[1]"]), ScorerOptions(entities=r"\[\d\]"), "neither in"),
    ],
)
def test_an_item_whose_citations_cannot_be_scored_is_told(row, options, says):
    assert says in str(cited_fault(row, options))


@given(st.text(max_size=40), st.sampled_from([None, r"\w+", r"\d"]))
def test_scores_are_shares_and_the_passage_supports_itself(answer, entities):
    options = ScorerOptions(entities=entities)
    assert 0 <= grounded(answer, item("answerable"), options) <= 1
    words = [w for w in answer.split() if w.isalnum()]
    if words and entities is None:
        text = " ".join(words)
        assert grounded(words[0], item("answerable", "x", passage=text), options) == 1
