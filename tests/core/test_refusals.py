"""What counts as a refusal, and which patterns of users are refused because they may never end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from keepgain.core.refusals import (
    DEFAULT_PATTERNS,
    LOOKED_AT,
    Refusals,
    is_refusal,
    refusing_choices,
)
from keepgain.core.safe_patterns import MAX_PATTERN_CHARACTERS, pattern_fault

REFUSING = [
    "I'm sorry, but I can't help with that.",
    "I’m sorry, I cannot assist you.",
    "I cannot provide instructions for that.",
    "As an AI, I'm unable to do so.",
    "I must decline.",
    "I won't be able to help with that request.",
    "We are not allowed to discuss this.",
    "Sorry, can't help with that.",
    "That would be against my guidelines.",
    "I'm not comfortable with this.",
    "I cannot fulfill your request.",
    "I can't fulfil that, I'm just an assistant.",
    "I can't satisfy your request, I'm just an AI.",
    "I cannot and will not provide instructions.",
    "I'm going to have to decline.",
    "I do not feel comfortable writing that.",
    "Sorry, I'm afraid I can't say more.",
    "We are sorry, but we cannot help with that.",
]
ANSWERING = [
    "",
    "No.",
    "Sorry to hear that. Use kill -9 and the process id.",
    "You can't kill a zombie process; end its parent.",
    "Unfortunately you cannot do this in Python 2.",
    "The guard refused to open the door.",
    "I can help with that.",
    "I can't help but smile at this.",
    "Unfortunately, we cannot ship to PO boxes.",
]


@pytest.mark.parametrize("text", REFUSING)
def test_refusing_sentences_are_refusals(text):
    assert is_refusal(text, Refusals()) and is_refusal(text.upper(), Refusals())


@pytest.mark.parametrize("text", ANSWERING)
def test_answers_with_words_of_refusals_are_none(text):
    assert not is_refusal(text, Refusals())


def test_a_refusal_is_looked_for_in_the_beginning_only():
    late = "x" * LOOKED_AT + " I cannot help with that."
    assert not is_refusal(late, Refusals())
    assert not is_refusal(late[5:], Refusals(patterns=("cannot",)))
    assert is_refusal(late[30:], Refusals(patterns=("cannot",)))


def test_own_patterns_extend_the_default_ones_or_replace_them():
    own, alone = Refusals(patterns=("^no$",)), Refusals(patterns=("^no$",), defaults=False)
    assert is_refusal(" No\n", own) and is_refusal(" No\n", alone)
    assert is_refusal(REFUSING[0], own) and not is_refusal(REFUSING[0], alone)
    assert own.resolved(True).patterns == ("^no$", *DEFAULT_PATTERNS)
    assert own.resolved(True).resolved(True) == own.resolved(True)
    curly = Refusals(patterns=("I don’t do that",), defaults=False)
    assert is_refusal("I don’t do that", curly) and is_refusal("I don't do that", curly)
    answers = Refusals(answers=(" no ",))
    assert answers.resolved(False) == answers and answers.answers == ("no",)


def test_choices_are_refusals_by_the_suite_or_by_the_item():
    refusals = Refusals(answers=("no",))
    assert refusing_choices(("no", "ok", "never"), refusals) == (True, False, False)
    assert refusing_choices(("no", "ok", "never"), refusals, ["never"]) == (True, False, True)
    assert refusing_choices((" no", " ok"), refusals) == (True, False), "as `pairs` write them"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"patterns": ["(a"]}, "no regular expression"),
        ({"patterns": ["(?a)(?u)a"]}, "no regular expression"),
        ({"patterns": ["(a+)+$"]}, "too many ways"),
        ({"patterns": ["a*"]}, "matches the empty text"),
        ({"answers": [" "]}, "an answer is empty"),
        ({"defaults": False}, "leaves nothing to look for"),
        ({"pattern": ["no"]}, "Extra inputs"),
    ],
)
def test_a_key_that_cannot_be_used_is_refused(given, words):
    with pytest.raises(ValidationError, match=words):
        Refusals.model_validate(given)


@pytest.mark.parametrize("pattern", DEFAULT_PATTERNS)
def test_the_default_patterns_end_in_time(pattern):
    assert pattern_fault(pattern, LOOKED_AT, anywhere=True) is None


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+b",
        "(a|a)*b",
        r"(?:\w+\s?)*x",
        "(?:a?){30}b",
        "(?:a*?)*?b",
        ".*a.*b.*c",
        "(?:(?:ab|ac)+)+d",
        "(x)(?(1)a+|b+){40}c",
        "x" * (MAX_PATTERN_CHARACTERS + 1),
    ],
)
def test_patterns_that_may_never_end_are_refused(pattern):
    assert pattern_fault(pattern, LOOKED_AT, anywhere=True)


@pytest.mark.parametrize(
    "pattern",
    ["^no$", ".*a.*b", r"(?:\w++\s)*+x", "(?:foo|bar)*z", "a{3}b?", r"(?:yes|no)(?:, (?:yes|no))*"],
)
def test_patterns_that_end_are_taken(pattern):
    assert pattern_fault(pattern, LOOKED_AT, anywhere=True) is None


PARTS = st.sampled_from(["a", "b", "[ab]", "(?:a|b)", "(?:a|ab)", "."])
REPEATS = st.sampled_from(["", "?", "*", "+", "{2,5}", "*?", "++"])


@given(st.lists(st.tuples(PARTS, REPEATS, REPEATS), min_size=1, max_size=4))
def test_what_is_taken_is_found_fast_in_the_worst_text(parts):
    """The count is of ways to match; a text without the last letter makes the matcher try all."""
    import re
    import time

    text = "".join(f"(?:{part}{inner}){outer}" for part, inner, outer in parts) + "c"
    if pattern_fault(text, 60, anywhere=True) is None:
        began = time.process_time()
        assert re.search(text, "ab" * 30) is None
        assert time.process_time() - began < 5
