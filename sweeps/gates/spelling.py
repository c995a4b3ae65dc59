"""Spelling of prose: told, never corrected. What the dictionary lacks may be right all the same."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from keepgain.core.rows import Row
from keepgain.sweeps.gates.findings import Finding
from keepgain.sweeps.gates.language import parts, probabilities, sampled
from keepgain.sweeps.gates.material import RowSet

SAMPLE = 2_000
LANGUAGES = ("en", "de", "es", "fr", "it", "nl", "pt", "ru", "lv", "eu", "ar", "fa")
"""Dictionaries that pyspellchecker brings."""
TERM_ROWS = 3
"""A word in so many rows is a term of the field, unless it is a slip of a far commoner one."""
SLIP_FACTOR = 20
MIN_WORDS = 300
"""Looked at; a rate of fewer says little."""
_NAMED = 5

_TOKEN = re.compile(r"\S+")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_AROUND = "\"'“”‘’«»()[]{}<>*.,;:!?…–—-"
_PROSE_SHARE = 0.6
"""Of the tokens of a text that are plain words without capitals; code and lists have fewer."""


@dataclass
class _Words:
    """Of one language in one set."""

    rows: Counter[str] = field(default_factory=Counter)
    """Word → rows that have it."""
    times: Counter[str] = field(default_factory=Counter)


@cache
def _dictionary(language: str) -> Any:
    from spellchecker import SpellChecker

    return SpellChecker(language=language)


def check_spelling(
    sets: Sequence[RowSet], languages: Sequence[str] = (), sample: int = SAMPLE
) -> list[Finding]:
    """One note a set and language with words that are not in the dictionary.

    Words with capitals or digits, code, terms that several rows have, and texts that are no prose
    or too short for their language to be known are not looked at.

    Args:
        sets: The rows.
        languages: Of the spec; none: that which each text is in.
        sample: Rows of each set that are looked at.
    """
    wanted = {name.replace("_", "-").partition("-")[0].lower() for name in languages}
    findings = []
    for rows in sets:
        for language, words in _collect(rows, wanted or set(LANGUAGES), sample).items():
            findings += _finding(rows, language, words, sample)
    return findings


def _collect(rows: RowSet, wanted: set[str], sample: int) -> dict[str, _Words]:
    found: dict[str, _Words] = {}
    for i in sampled(len(rows.rows), sample).tolist():
        of_row: dict[str, Counter[str]] = {}
        for language, word in _words_of(rows.rows[i]):
            if language in wanted and language in LANGUAGES:
                of_row.setdefault(language, Counter())[word] += 1
        for language, counts in of_row.items():
            words = found.setdefault(language, _Words())
            words.rows.update(counts.keys())
            words.times.update(counts)
    return found


def _words_of(row: Row) -> list[tuple[str, str]]:
    """(language, word) of the prose of a row."""
    words: list[tuple[str, str]] = []
    for _, text in parts(row):
        tokens = [t.strip(_AROUND) for t in _TOKEN.findall(text)]
        plain = [t for t in tokens if t == t.lower() and _WORD.fullmatch(t)]
        if len(plain) < _PROSE_SHARE * len(tokens):
            continue
        if (found := probabilities(text)) is not None:
            language = next(iter(found))
            words += [(language, t.replace("’", "'")) for t in plain]
    return words


def _finding(rows: RowSet, language: str, words: _Words, sample: int) -> list[Finding]:
    total = words.times.total()
    if total < MIN_WORDS:
        return []
    dictionary = _dictionary(language)
    unknown = [w for w in words.times if len(w) > 2 and not _known(dictionary, w)]
    wrong = Counter(
        {
            word: words.times[word]
            for word in unknown
            if words.rows[word] < TERM_ROWS or _is_slip(dictionary, word, words)
        }
    )
    if not wrong:
        return []
    rate = 1000 * wrong.total() / total
    named = ", ".join(f"{w} {n}" for w, n in wrong.most_common(_NAMED))
    drawn = f" of {sample:,} rows drawn" if len(rows.rows) > sample else ""
    return [
        Finding(
            code="spelling",
            severity="note",
            where=rows.label,
            message=f"{rate:.1f} of 1,000 words{drawn} are not in the dictionary of '{language}' "
            f"({wrong.total():,} of {total:,}): {named}.",
            hint="Nothing is corrected: look whether the commonest are errors.",
            count=wrong.total(),
            of=total,
            figures={"per_1000_words": rate},
        )
    ]


def _known(dictionary: Any, word: str) -> bool:
    """Possessives and contractions are, if what is before the apostrophe is."""
    return word in dictionary or all(len(p) < 3 or p in dictionary for p in word.split("'"))


def _is_slip(dictionary: Any, word: str, words: _Words) -> bool:
    """A letter away from a word that the same rows have far more often."""
    least = SLIP_FACTOR * words.times[word]
    return any(words.times[near] >= least for near in dictionary.edit_distance_1(word))
