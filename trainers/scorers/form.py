"""The form of an answer: whether it is the one asked for, how much it repeats, how long it is."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from keepgain.core.items import Floats
from keepgain.core.jsonl import parse_json
from keepgain.core.rows import Row
from keepgain.core.safe_patterns import compiled, pattern_fault
from keepgain.core.scorer_options import ScorerOptions

PATTERN_CHARACTERS = 4_000
"""A longer answer has no form that is given by a pattern: what `re` takes is bounded by it."""
GRAM = 4
"""Words of a repeated piece."""


class Rule(NamedTuple):
    """One way to say what form an answer has, or what it must keep to."""

    fits: Callable[[Any], bool]
    """Of the rule's value: it can be used."""
    wants: str
    """What such a value is, for the message."""
    holds: Callable[[str, Any], bool]
    """Of (stripped answer, value)."""


def is_count(value: Any) -> bool:
    """A whole number from 1."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def is_texts(value: Any) -> bool:
    """A list of at least one text, none of them empty."""
    if not isinstance(value, list) or not value:
        return False
    return all(isinstance(text, str) and bool(text.strip()) for text in value)


def is_json(text: str) -> bool:
    """An object or a list in JSON and nothing around it; a fence of ``` is around it."""
    return isinstance(_parsed(text), dict | list)


def word_count(text: str) -> int:
    """Words between white space."""
    return len(text.split())


def _parsed(text: str) -> Any:
    """JSON, or None for what is none: duplicate keys, NaN and deep nesting are refused."""
    try:
        return parse_json(text)
    except (ValueError, RecursionError):
        return None


def _has_keys(text: str, keys: list[str]) -> bool:
    found = _parsed(text)
    return isinstance(found, dict) and set(keys) <= found.keys()


def _matches(text: str, pattern: str) -> bool:
    if len(text) > PATTERN_CHARACTERS:
        return False
    return compiled(pattern, ignore_case=False).fullmatch(text) is not None


FORMS: dict[str, Rule] = {
    "json": Rule(lambda value: value is True, "true", lambda text, _: is_json(text)),
    "json_keys": Rule(is_texts, "a list of texts", _has_keys),
    "pattern": Rule(lambda value: isinstance(value, str) and value != "", "a text", _matches),
    "one_of": Rule(is_texts, "a list of texts", lambda t, v: t in [one.strip() for one in v]),
    "max_words": Rule(is_count, "a number from 1", lambda t, v: 0 < word_count(t) <= v),
    "max_characters": Rule(is_count, "a number from 1", lambda t, v: 0 < len(t) <= v),
    "lines": Rule(is_count, "a number from 1", lambda t, v: t != "" and len(t.splitlines()) == v),
}
"""Key of the fact `format` → what it means; of several keys all must hold."""


def valid_form(answer: str, row: Row, _: ScorerOptions) -> float:
    """1 if the stripped answer has the form that the item names."""
    return float(_has_form(answer.strip(), _forms(row)))


def form_fault(row: Row, _: ScorerOptions | None) -> str | None:
    """What keeps an item from being scored: no form, or one that its own reference lacks."""
    given = row.fact("format")
    if given is None:
        return "the item has no 'format'."
    forms = _forms(row)
    if not isinstance(forms, dict) or not forms:
        return (
            f"'format' is {given!r:.40}; it must be 'json' or an object such as {{'max_words': 9}}."
        )
    for name, value in forms.items():
        rule = FORMS.get(name)
        if rule is None:
            return f"'format' has the unknown key {name!r:.40}; known: {', '.join(FORMS)}."
        if not rule.fits(value):
            return f"'{name}' of 'format' is {value!r:.40}; it must be {rule.wants}."
    fault = (
        pattern_fault(forms["pattern"], PATTERN_CHARACTERS, False) if "pattern" in forms else None
    )
    if fault is not None:
        return f"'pattern' of 'format': {fault}."
    if not _has_form(row.answer.strip(), forms):
        return "the item's own answer does not have the form of its 'format'."
    return None


def repetition(answer: str, _: Row, __: ScorerOptions) -> float:
    """seq-rep-4 of one answer: 1 - different 4-grams / all 4-grams, of words between white space.

    Welleck et al. 2020, arXiv 1908.04319, who count tokens. 0 with less than two 4-grams:
    an answer of four words or fewer, the empty one included.
    """
    words = answer.split()
    grams = [tuple(words[at : at + GRAM]) for at in range(len(words) - GRAM + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def repetition_figures(
    answers: Sequence[str], _: Sequence[Row], scores: Floats, __: ScorerOptions
) -> dict[str, float]:
    """`mostly_repeated_share`: answers more than half of whose 4-grams stood in them before;
    `too_short_share`: answers of four words or fewer, which cannot repeat any."""
    short = sum(word_count(answer) <= GRAM for answer in answers) / len(answers)
    return {"mostly_repeated_share": float(np.mean(scores > 0.5)), "too_short_share": short}


def answer_length_ratio(answer: str, row: Row, _: ScorerOptions) -> float:
    """UTF-8 bytes of the stripped answer over those of the stripped reference.

    An item weighs its reference's bytes, so the suite's mean is total over total, and the ratio of
    two models' means is the ratio of their total lengths.
    """
    return len(answer.strip().encode()) / len(row.answer.strip().encode())


def _forms(row: Row) -> Any:
    given = row.fact("format")
    return {"json": True} if given == "json" else given


def _has_form(text: str, forms: dict[str, Any]) -> bool:
    return all(FORMS[name].holds(text, value) for name, value in forms.items())
