"""Items of suites that stand in what is trained on: their scores show memory, not skill.

Two measures, the larger one counts. The share of a text's n-grams (13 words, 8 of texts of fewer
than 50) that are anywhere in a set of rows: Brown et al. 2020 (appendix C), and by tokens Touvron
et al. 2023 ("Llama 2", appendix A.6). And near copies, as `sketches.are_near` has them, of the text
or of as long a part of one row: a few changed words break most n-grams.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from keepgain.sweeps.gates.findings import Finding
from keepgain.sweeps.gates.leak_index import LeakIndex, leak_index
from keepgain.sweeps.gates.material import RowSet
from keepgain.sweeps.gates.near_duplicates import sketch_probe
from keepgain.sweeps.gates.row_list import found_in
from keepgain.sweeps.gates.scan import Arrays, scan_sets
from keepgain.sweeps.gates.shingles import (
    HashSet,
    Ints,
    Words,
    hash_words,
    normal,
    row_text,
    shingles,
)
from keepgain.sweeps.gates.sketches import SHINGLE, are_near, content

PARTLY = 0.5
"""Share of an item's n-grams from which it is flagged."""
WHOLLY = 0.8
"""Share from which it counts as known; Touvron et al. 2023 call an item dirty from there on."""
LEAST_SEEN = 0.3
"""Share of an item that a near copy shows; a shorter one is a sentence, not the item."""
_LOOKED_AT = 3
"""Rows with most shingles in common that each text is compared with."""
_PAIRS = 4_000_000
"""Of a text and a shingle of a row that are held in memory at once: some 200 MB."""


@dataclass(frozen=True)
class Leak:
    """Items of one suite's split that a set of rows gives away."""

    rows: RowSet
    suite: RowSet
    items: Ints
    """Their positions, ascending."""
    row: Ints
    """A row that each one is in."""
    share: npt.NDArray[np.float64]
    """How much of each item is there."""
    asked: npt.NDArray[np.bool_]
    """The row asks the very question, up to the form of characters, case and white space."""
    looked_at: int
    """Items that were looked for."""


def find_leaks(
    sets: Sequence[RowSet],
    ignored: HashSet | None = None,
    processes: int = 1,
    tick: Callable[[int], None] | None = None,
) -> list[Leak]:
    """Items of validation and test in training rows, and of test in validation; those pairs of sets
    that have any.

    Reads all rows of sources and validation once more.

    Args:
        sets: All of them.
        ignored: Phrases, as `SketchProbe.ignored`; None: learnt here.
        processes: See `scan`.
        tick: See `scan`.
    """
    if ignored is None:
        ignored = sketch_probe(sets).ignored
    index = leak_index(sets, ignored)
    shown = [s for s in sets if s.part != "test" and any(_hides(s, i) for i in index.suites)]
    measured = scan_sets(shown, [index.probe], processes, tick)
    leaks = []
    for one in shown:
        leaks += _leaks(one, measured[one.label][index.probe.name], index)
    return leaks


def leaked_items(leaks: Sequence[Leak]) -> Mapping[str, Ints]:
    """Label of a suite's split → positions of its items that anything gives away, ascending."""
    found: dict[str, Ints] = {}
    for leak in leaks:
        before = found.get(leak.suite.label, np.empty(0, dtype=np.int64))
        found[leak.suite.label] = np.union1d(before, leak.items)
    return found


def check_leakage(leaks: Sequence[Leak]) -> list[Finding]:
    """Findings on items beyond those that `check_splits` names, whose question is asked word for
    word: an error on items that are known wholly, a warning on those known in part."""
    findings = []
    for leak in leaks:
        for wholly in (True, False):
            chosen = (leak.share >= WHOLLY) == wholly
            chosen &= ~leak.asked
            if chosen.any():
                findings.append(_finding(leak, np.flatnonzero(chosen), wholly))
    return findings


def _hides(rows: RowSet, suite: RowSet) -> bool:
    """True if the rows must not show the suite's items."""
    return rows.part == "train" or (rows.part == "validation" and suite.part == "test")


def _leaks(rows: RowSet, measured: Arrays, index: LeakIndex) -> list[Leak]:
    hidden = np.array([_hides(rows, s) for s in index.suites], dtype=np.bool_)
    share, row = _near_copies(rows, measured, index, hidden)
    share = np.maximum(share, _gram_share(measured["grams"], index))
    first = _first_rows(measured["question"], len(index.probe.questions))
    leaks = []
    for k, suite in enumerate(index.suites):
        if not hidden[k]:
            continue
        items = index.looked_at[k]
        asked_by = first[index.question[k]]
        asked = asked_by >= 0
        most, where = np.where(asked, 1.0, 0.0), asked_by
        for text in np.flatnonzero((index.texts.suite == k) & (share >= LEAST_SEEN)).tolist():
            place = int(np.searchsorted(items, index.texts.item[text]))
            if share[text] > most[place]:
                most[place], where[place] = share[text], row[text]
        flagged = most > 0
        if flagged.any():
            leaks.append(
                Leak(
                    rows,
                    suite,
                    items[flagged],
                    where[flagged],
                    most[flagged],
                    asked[flagged],
                    len(items),
                )
            )
    return leaks


def _first_rows(question: Ints, questions: int) -> Ints:
    """First row that asks each question, -1: none."""
    first = np.full(questions, -1, dtype=np.int64)
    asking = np.flatnonzero(question >= 0)[::-1]
    first[question[asking]] = asking
    return first


def _gram_share(places: Ints, index: LeakIndex) -> npt.NDArray[np.float64]:
    """Share of each text's n-grams that are in some row; 0 below `PARTLY`."""
    texts = len(index.texts.item)
    seen = np.zeros(len(index.grams.hashes), dtype=np.bool_)
    seen[places] = True
    total = np.bincount(index.grams.text, minlength=texts)
    found = np.bincount(index.grams.text[seen[index.grams.place]], minlength=texts)
    share = found / np.maximum(total, 1)
    return np.where(share >= PARTLY, share, 0.0)


def _near_copies(
    rows: RowSet, measured: Arrays, index: LeakIndex, hidden: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.float64], Ints]:
    """Share of each text that its nearest copy shows, 0: there is none; and the row that has most
    shingles in common with it, 0: none has any."""
    texts = len(index.texts.item)
    share, best = np.zeros(texts), np.zeros(texts, dtype=np.int64)
    text, row, shared = _most_shared(measured, index, hidden)
    best[text[::-1]] = row[::-1]
    sizes = np.bincount(index.near.text, minlength=texts)
    likely = (shared >= 2) & (12 * shared >= sizes[text])
    for t, r in zip(text[likely].tolist(), row[likely].tolist(), strict=True):
        if (seen := _seen(rows, r, index.texts.one(t), index.ignored)) > share[t]:
            share[t], best[t] = seen, r
    return share, best


def _most_shared(
    measured: Arrays, index: LeakIndex, hidden: npt.NDArray[np.bool_]
) -> tuple[Ints, Ints, Ints]:
    """(text, row, shingles in common): of each text the `_LOOKED_AT` rows that share most, the most
    first.

    Some rows at a time: rows and items of the same templates are billions of pairs.
    """
    near, sizes = measured["near"], measured["sizes"]
    texts_of = np.bincount(index.near.place, minlength=len(index.near.hashes))
    pairs_until = np.concatenate([[0], np.cumsum(texts_of[near])])
    ends = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    until = pairs_until[ends]  # before each row, and after the last
    text = row = shared = np.empty(0, dtype=np.int64)
    begin = 0
    while begin < len(sizes):
        end = int(np.searchsorted(until, until[begin] + _PAIRS, side="right")) - 1
        end = max(end, begin + 1)
        of_row = np.repeat(np.arange(begin, end), sizes[begin:end])
        which, of_text = index.near.texts_with(near[ends[begin] : ends[end]])
        wanted = hidden[index.texts.suite[of_text]]
        keys = of_text[wanted] << 32 | of_row[which[wanted]]
        pairs, counts = np.unique(keys, return_counts=True)
        text = np.concatenate([text, pairs >> 32])
        row = np.concatenate([row, pairs & (2**32 - 1)])
        shared = np.concatenate([shared, counts])
        order = np.lexsort((row, -shared, text))
        text, row, shared = text[order], row[order], shared[order]
        first = np.arange(len(text)) - np.searchsorted(text, text) < _LOOKED_AT
        text, row, shared = text[first], row[first], shared[first]
        begin = end
    return text, row, shared


def _seen(rows: RowSet, row: int, item: Words, ignored: HashSet) -> float:
    """Share of an item's shingles in a row that has a near copy of it, else 0."""
    words = _part_like(hash_words([normal(row_text(rows.rows[row]))]), item)
    one, other = content(item, ignored), content(words, ignored)
    if not are_near(one, other):
        return 0.0
    seen = len(one.close & other.close) / len(one.close)
    return seen if seen >= LEAST_SEEN else 0.0


def _part_like(row: Words, item: Words) -> Words:
    """The part of a row where most of the item is: up to the item's length on both sides of the
    middle one of the shingles that they share."""
    length = len(item.hashes)
    if len(row.hashes) <= 2 * length:
        return row
    common = np.flatnonzero(np.isin(shingles(row, SHINGLE), shingles(item, SHINGLE)))
    middle = int(np.median(common)) if len(common) else 0
    begin = max(0, min(middle - length, len(row.hashes) - 2 * length))
    part = row.hashes[begin : begin + 2 * length]
    return Words(part, np.array([len(part)]))


def _finding(leak: Leak, chosen: Ints, wholly: bool) -> Finding:
    replayed = leak.rows.role == "replay" and leak.suite.measures == "forgetting"
    code = "leaked_items" if wholly else "partly_leaked_items"
    looked_at = leak.looked_at
    of = f"{looked_at}" + ("" if looked_at == len(leak.suite.rows) else " looked for")
    stand = "stand in" if wholly else "stand in part, or changed, in"
    count = len(chosen)
    return Finding(
        code=f"replay_{code}" if replayed else code,
        severity="error" if wholly else "warning",
        where=f"{leak.rows.label} and {leak.suite.label}",
        message=f"{count} of {of} items of {leak.suite.label} {stand} {leak.rows.label}, beyond "
        "those whose question it asks.",
        all_rows=found_in(leak.suite, leak.items[chosen], beside=(leak.rows, leak.row[chosen])),
        hint="Remove the rows, or the items. Scores are shown without these items as well.",
        count=count,
        of=looked_at,
        figures={
            "share": count / looked_at,
            "mean_seen": float(leak.share[chosen].mean()),
        },
    )
