"""Rows that contain what a suite asks, found by shared runs of words."""

import re
from collections.abc import Iterable, Sequence

from keepgain.core.rows import Row

LONGEST, SHORTEST = 13, 3
"""Words in a row that two texts share: 13 as for GPT-3 (Brown et al. 2020, arXiv 2005.14165,
appendix C); a shorter item must be there whole, and one of fewer than 3 words is not looked for."""
_WORD = re.compile(r"\w+")


def containing(rows: Iterable[Row], items: Iterable[Row]) -> list[str]:
    """Ids of the rows whose text contains the text of an item, as far as `LONGEST` words tell.

    A text is everything of a row, question and answer, as words without case and punctuation.
    """
    runs: dict[int, set[tuple[str, ...]]] = {}
    for item in items:
        words = _words(item)
        length = min(len(words), LONGEST)
        if length >= SHORTEST:
            runs.setdefault(length, set()).update(_runs(words, length))
    return [
        row.id
        for row in rows
        if any(not found.isdisjoint(_runs(_words(row), n)) for n, found in runs.items())
    ]


def _words(row: Row) -> list[str]:
    text = row.text if row.kind == "text" else f"{_asked(row)} {row.answer}"
    return _WORD.findall(text.casefold())


def _asked(row: Row) -> str:
    """Without the names of roles, which stand in every chat."""
    if row.kind == "chat":
        return " ".join(m["content"] for m in row.messages[:-1])
    return row.prompt


def _runs(words: Sequence[str], length: int) -> set[tuple[str, ...]]:
    return {tuple(words[i : i + length]) for i in range(len(words) - length + 1)}
