"""Instructions whose keeping a program can check, after IFEval (Zhou et al. 2023, 2311.07911).

The item's score is the share of its instructions that the answer follows. `strict_share`, the share
of answers that follow all of theirs, is what IFEval calls prompt-level strict accuracy, and
`instruction_share` its instruction-level one. The checks are our own and fewer than IFEval's 25.
Words are what stands between white space, so scripts without blanks have `max_characters` and
`min_characters` instead.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

from keepgain.core.items import Floats
from keepgain.core.rows import Row
from keepgain.core.scorer_options import ScorerOptions
from keepgain.trainers.scorers.form import Rule, is_count, is_json, is_texts, word_count

_SENTENCE_END = re.compile(r"[.!?…]+(?=\s|$)|[。！？]+")
_BULLET = re.compile(r"\s*[-*•]\s+\S")
_COMMAS = set(",،，、")
_NO_BLANKS = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR")


def sentence_count(text: str) -> int:
    """Pieces with a letter or digit, between full stops, question and exclamation marks."""
    return sum(any(c.isalnum() for c in part) for part in _SENTENCE_END.split(text))


def _paragraphs(text: str) -> int:
    return sum(bool(part.strip()) for part in re.split(r"\n\s*\n", text))


def has_phrase(text: str, phrase: str) -> bool:
    """As whole words, whatever the case; in scripts without blanks, as it stands."""
    wanted = phrase.strip().casefold()
    before = r"(?<!\w)" if _in_words(wanted[0]) else ""
    after = r"(?!\w)" if _in_words(wanted[-1]) else ""
    return re.search(before + re.escape(wanted) + after, text.casefold()) is not None


def _in_words(character: str) -> bool:
    name = unicodedata.name(character, "")
    return character.isalnum() and not name.startswith(_NO_BLANKS)


def _bullets(text: str) -> int:
    return sum(_BULLET.match(line) is not None for line in text.splitlines())


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.strip() != ""


def _starts(text: str, wanted: str) -> bool:
    return text.casefold().startswith(wanted.strip().casefold())


def _ends(text: str, wanted: str) -> bool:
    return text.casefold().endswith(wanted.strip().casefold())


def _cased(text: str) -> bool:
    return text.lower() != text.upper()


def _is_none(value: Any) -> bool:
    return value is None


_NUMBER = "a number from 1"
_TEXTS = "a list of texts"
TYPES: dict[str, Rule] = {
    "min_words": Rule(is_count, _NUMBER, lambda t, v: word_count(t) >= v),
    "max_words": Rule(is_count, _NUMBER, lambda t, v: word_count(t) <= v),
    "min_characters": Rule(is_count, _NUMBER, lambda t, v: len(t) >= v),
    "max_characters": Rule(is_count, _NUMBER, lambda t, v: len(t) <= v),
    "min_sentences": Rule(is_count, _NUMBER, lambda t, v: sentence_count(t) >= v),
    "max_sentences": Rule(is_count, _NUMBER, lambda t, v: sentence_count(t) <= v),
    "paragraphs": Rule(is_count, _NUMBER, lambda t, v: _paragraphs(t) == v),
    "bullets": Rule(is_count, _NUMBER, lambda t, v: _bullets(t) == v),
    "include": Rule(is_texts, _TEXTS, lambda t, v: all(has_phrase(t, one) for one in v)),
    "exclude": Rule(is_texts, _TEXTS, lambda t, v: not any(has_phrase(t, one) for one in v)),
    "starts_with": Rule(_is_text, "a text", _starts),
    "ends_with": Rule(_is_text, "a text", _ends),
    "lower_case": Rule(_is_none, "left out", lambda t, _: _cased(t) and t == t.lower()),
    "upper_case": Rule(_is_none, "left out", lambda t, _: _cased(t) and t == t.upper()),
    "json": Rule(_is_none, "left out", lambda t, _: is_json(t)),
    "no_commas": Rule(_is_none, "left out", lambda t, _: not _COMMAS & set(t)),
    "quoted": Rule(
        _is_none, "left out", lambda t, _: len(t) > 2 and t[0] in '"“„«' and t[-1] in '"”“»'
    ),
}
"""`type` of an instruction → its value, and when an answer follows it."""


def instructions_followed(answer: str, row: Row, _: ScorerOptions) -> float:
    """Share of the item's instructions that the stripped answer follows; an empty one follows
    none, as in IFEval."""
    followed = _followed(answer, row.fact("instructions"))
    return sum(followed) / len(followed)


def by_type(
    answers: Sequence[str], rows: Sequence[Row], scores: Floats, _: ScorerOptions
) -> dict[str, float]:
    """`strict_share`, `instruction_share` with `instructions`, their number; of each type that
    occurs `followed/TYPE` and `n/TYPE`."""
    found: dict[str, list[bool]] = {}
    for answer, row in zip(answers, rows, strict=True):
        wanted = row.fact("instructions")
        for one, held in zip(wanted, _followed(answer, wanted), strict=True):
            found.setdefault(one["type"], []).append(held)
    every = [held for of_type in found.values() for held in of_type]
    figures = {
        "strict_share": float((scores == 1).mean()),
        "instruction_share": sum(every) / len(every),
        "instructions": float(len(every)),
    }
    for name, those in sorted(found.items()):
        figures |= {f"followed/{name}": sum(those) / len(those), f"n/{name}": float(len(those))}
    return figures


def instructions_fault(row: Row, _: ScorerOptions | None) -> str | None:
    """What keeps an item from being scored: no instructions, unknown ones, values that do not fit,
    or a reference that does not follow them (it then is no answer, or they contradict)."""
    wanted = row.fact("instructions")
    if not isinstance(wanted, list) or not wanted:
        return "'instructions' must be a list such as [{'type': 'max_words', 'value': 20}]."
    for place, one in enumerate(wanted):
        if fault := _fault_of(one):
            return f"instructions[{place}]: {fault}."
    missed = [
        one["type"]
        for one, held in zip(wanted, _followed(row.answer, wanted), strict=True)
        if not held
    ]
    if missed:
        return f"the item's own answer does not follow its instruction '{missed[0]}'."
    return None


def _fault_of(one: Any) -> str | None:
    if not isinstance(one, dict) or not {"type"} <= one.keys() <= {"type", "value"}:
        return f"{one!r:.60} is no object with 'type' and 'value'"
    rule = TYPES.get(one["type"]) if isinstance(one["type"], str) else None
    if rule is None:
        return f"unknown type {one['type']!r:.40}; known: {', '.join(TYPES)}"
    if not rule.fits(one.get("value")):
        return f"the value of '{one['type']}' is {one.get('value')!r:.40}; it must be {rule.wants}"
    return None


def _followed(answer: str, wanted: list[dict[str, Any]]) -> list[bool]:
    text = answer.strip()
    return [text != "" and TYPES[one["type"]].holds(text, one.get("value")) for one in wanted]
