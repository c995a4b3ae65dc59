"""Words that training has never shown: how many newer rows have one, against how many items."""

import re
from collections import Counter
from collections.abc import Sequence

from keepgain.core.schema import StrictModel
from keepgain.sweeps.gates.counts import difference_interval, wilson
from keepgain.sweeps.gates.coverage import MIN_DIFFERENCE
from keepgain.sweeps.gates.findings import Finding
from keepgain.sweeps.gates.material import RowSet
from keepgain.sweeps.gates.sketches import sample

MAX_TRAINING = 200_000
"""Rows of each training set whose words count as shown."""
MAX_LOOKED_AT = 5_000
"""New rows, and items of each set, that are looked at."""
MIN_ROWS = 30
MOST_NAMED = 10
_WORD = re.compile(r"[^\W\d_]+")


class Unseen(StrictModel):
    """Rows with a word that no training row has."""

    rows: int
    """New ones that were looked at."""
    share: float
    """Of them, with such a word."""
    low: float
    """95 % interval (Wilson), as `high`."""
    high: float
    items: int
    """Of the evaluation, for comparison."""
    item_share: float | None
    difference_low: float | None
    """95 % interval (Newcombe) of the new share minus that of the items, as `difference_high`."""
    difference_high: float | None
    vocabulary: int
    """Different words of training."""
    training_rows: int
    """That they were taken from."""
    words: tuple[tuple[str, int], ...]
    """The most frequent ones that the items lack as well, with new rows that have them."""


def words_of(text: str) -> set[str]:
    """Runs of letters, whatever their case."""
    return set(_WORD.findall(text.casefold()))


def unseen_words(
    new: RowSet, training: Sequence[RowSet], evaluation: Sequence[RowSet]
) -> Unseen | None:
    """Of questions; None where there is no training row."""
    shown: set[str] = set()
    read = 0
    for rows in training:
        for row in sample(len(rows.rows), min(len(rows.rows), MAX_TRAINING)):
            shown |= words_of(rows.rows[int(row)].question())
            read += 1
    if not read:
        return None
    asked = [unseen for rows in evaluation for unseen in _unseen(rows, shown)]
    found = _unseen(new, shown)
    n, hits = len(found), sum(map(bool, found))
    low, high = wilson(hits, n)
    known = set().union(*asked) if asked else set()
    times = Counter(word for words in found for word in words - known)
    of_items = sum(map(bool, asked))
    compared = difference_interval(hits, n, of_items, len(asked)) if asked else (None, None)
    return Unseen(
        rows=n,
        share=hits / n,
        low=low,
        high=high,
        items=len(asked),
        item_share=of_items / len(asked) if asked else None,
        difference_low=compared[0],
        difference_high=compared[1],
        vocabulary=len(shown),
        training_rows=read,
        words=tuple(sorted(times.items(), key=lambda one: (-one[1], one[0]))[:MOST_NAMED]),
    )


def _unseen(rows: RowSet, shown: set[str]) -> list[set[str]]:
    chosen = sample(len(rows.rows), min(len(rows.rows), MAX_LOOKED_AT))
    return [words_of(rows.rows[int(i)].question()) - shown for i in chosen]


def check_words(new: RowSet, found: Unseen | None) -> list[Finding]:
    """A warning where clearly more new rows than items have an unseen word."""
    if found is None or found.item_share is None or found.difference_low is None:
        return []
    if found.rows < MIN_ROWS or found.difference_low < MIN_DIFFERENCE:
        return []
    named = ", ".join(f"{word!r} ({n:,})" for word, n in found.words[:MOST_NAMED])
    return [
        Finding(
            code="drift_words",
            severity="warning",
            where=new.label,
            message=f"{found.share:.0%} of {found.rows:,} rows have a word that none of "
            f"{found.training_rows:,} training rows has, against {found.item_share:.0%} of "
            f"{found.items:,} items ({100 * found.difference_low:.0f} to "
            f"{100 * (found.difference_high or 0):.0f} points more); most rows: {named}.",
            hint="See whether these are new subjects, names or slips of the pen.",
            count=round(found.share * found.rows),
            of=found.rows,
            figures={"share": found.share, "item_share": found.item_share},
        )
    ]
