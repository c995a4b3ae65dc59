"""Questions that are answered in more than one way, in a set or in two."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

from keepgain.sweeps.gates.columns import Column
from keepgain.sweeps.gates.findings import MAX_EXAMPLES, Finding
from keepgain.sweeps.gates.labels import NOTHING, Facts, Hashes
from keepgain.sweeps.gates.material import RowSet
from keepgain.sweeps.gates.row_list import Ints, RowList, found_in
from keepgain.sweeps.gates.shingles import Mask
from keepgain.sweeps.gates.sketches import sample

SHORT_ANSWER = 40
"""Characters up to which two answers to a question contradict each other, whatever the task is."""


def conflicts(rows: RowSet, facts: Facts) -> npt.NDArray[np.bool_]:
    """True for rows whose question another row of the set answers otherwise; shape [rows]."""
    known = facts[rows.label]
    found = known.answer != NOTHING
    _, low, high, of_row = _answers(known.question[found], known.answer[found])
    found[found] = (low != high)[of_row]
    return found


def check_conflicts(
    sets: Sequence[RowSet], facts: Facts, labels: Mapping[str, Column]
) -> list[Finding]:
    """Questions that are answered in two ways, in one set or in two of them."""
    answered = [s for s in sets if len(s.rows) and (facts[s.label].answer != NOTHING).any()]
    short = {s.label: s.label in labels or _short_answers(s) for s in answered}
    findings = [f for s in answered if (f := _within(s, facts, short[s.label])) is not None]
    for a, b in combinations(answered, 2):
        if (found := _between(a, b, facts, short[a.label] and short[b.label])) is not None:
            findings.append(found)
    return findings


def _answers(
    question: Hashes, answer: Hashes
) -> tuple[Hashes, Hashes, Hashes, npt.NDArray[np.int64]]:
    """Each question once, the least and the greatest hash of its answers, and which question each
    row asks."""
    keys, of_row = np.unique(question, return_inverse=True)
    low = np.full(len(keys), np.iinfo(np.uint64).max, dtype=np.uint64)
    high = np.zeros(len(keys), dtype=np.uint64)
    np.minimum.at(low, of_row, answer)
    np.maximum.at(high, of_row, answer)
    return keys, low, high, of_row


def _short_answers(rows: RowSet) -> bool:
    some = [len(rows.rows[int(i)].answer) for i in sample(len(rows.rows), 1_000)]
    return float(np.median(some)) <= SHORT_ANSWER


def _within(rows: RowSet, facts: Facts, contradict: bool) -> Finding | None:
    found = conflicts(rows, facts)
    if not found.any():
        return None
    question, answer = facts[rows.label].question, facts[rows.label].answer
    first, second = _contradicting(rows, rows, found, found, facts)
    told = np.flatnonzero(found)
    pair = np.searchsorted(question[first], question[told])
    others = np.where(answer[told] == answer[first[pair]], second[pair], first[pair])
    several = len(first)
    return Finding(
        code="label_conflicts",
        severity="warning" if contradict else "note",
        where=rows.label,
        message=f"{several} questions are answered in more than one way, in {int(found.sum())} of "
        f"{len(found)} rows.",
        rows=_shown(rows, rows, first, second),
        all_rows=_answers_beside(rows, rows, told, others),
        hint="Decide on one answer each; `sweep clean` sets such rows aside."
        if contradict
        else "Free answers may differ; see whether they contradict one another.",
        count=int(found.sum()),
        of=len(found),
        figures={"questions": several, "share": float(found.mean())},
    )


def _between(a: RowSet, b: RowSet, facts: Facts, contradict: bool) -> Finding | None:
    keys_a, low_a, high_a, of_a = _answers(facts[a.label].question, facts[a.label].answer)
    keys_b, low_b, high_b, of_b = _answers(facts[b.label].question, facts[b.label].answer)
    common, in_a, in_b = np.intersect1d(keys_a, keys_b, assume_unique=True, return_indices=True)
    answered = (low_a[in_a] != NOTHING) & (low_b[in_b] != NOTHING)
    other = answered & ((low_a[in_a] != low_b[in_b]) | (high_a[in_a] != high_b[in_b]))
    if not other.any():
        return None
    rows_a, rows_b = np.isin(of_a, in_a[other]), np.isin(of_b, in_b[other])
    first, second = _contradicting(a, b, rows_a, rows_b, facts)
    order = np.argsort(first)
    return Finding(
        code="label_conflicts_across",
        severity="warning" if contradict else "note",
        where=f"{a.label} and {b.label}",
        message=f"{int(other.sum())} of {len(common)} questions that both have are answered "
        "otherwise in the one than in the other.",
        rows=_shown(a, b, first, second),
        all_rows=_answers_beside(a, b, first[order], second[order]),
        hint="Find out which one is right." if contradict else "Free answers may differ.",
        count=int(other.sum()),
        of=len(common),
        figures={"questions": float(other.sum()), "share": float(other.sum() / len(common))},
    )


def _contradicting(a: RowSet, b: RowSet, in_a: Mask, in_b: Mask, facts: Facts) -> tuple[Ints, Ints]:
    """Of each question, by its hash: the first row of `a` to which a row of `b` says otherwise, and
    the first that does.

    Args:
        in_a: Rows of the questions that are answered in different ways; so `in_b`.
    """
    rows_a, rows_b = np.flatnonzero(in_a), np.flatnonzero(in_b)
    answer_a, answer_b = facts[a.label].answer[rows_a], facts[b.label].answer[rows_b]
    keys, first, of_a = np.unique(
        facts[a.label].question[rows_a], return_index=True, return_inverse=True
    )
    of_b = np.searchsorted(keys, facts[b.label].question[rows_b])
    against = _first(of_b, answer_b != answer_a[first][of_b], len(keys))
    # Where all of `b` agree with the first row of `a`, another row of `a` does not.
    agree = against < 0
    mine = np.where(agree, _first(of_a, answer_a != answer_a[first][of_a], len(keys)), first)
    theirs = np.where(agree, _first(of_b, np.ones(len(of_b), np.bool_), len(keys)), against)
    return rows_a[mine], rows_b[theirs]


def _first(question: Ints, chosen: Mask, questions: int) -> Ints:
    """First chosen row of each question, -1: none."""
    first = np.full(questions, -1, dtype=np.int64)
    places = np.flatnonzero(chosen)[::-1]
    first[question[places]] = places
    return first


def _shown(a: RowSet, b: RowSet, first: Ints, second: Ints) -> tuple[str, ...]:
    """`place 'answer', place 'answer'` of the first questions."""
    order = np.argsort(first)[:MAX_EXAMPLES]
    return tuple(
        f"{_said(a, i)}, {_said(b, j)}"
        for i, j in zip(first[order].tolist(), second[order].tolist(), strict=True)
    )


def _answers_beside(a: RowSet, b: RowSet, mine: Ints, theirs: Ints) -> tuple[RowList, ...]:
    def says(k: int) -> str:
        one, other = a.rows[int(mine[k])].answer, b.rows[int(theirs[k])].answer
        return f"{one!r:.40}, the other {other!r:.40}"

    return found_in(a, mine, beside=(b, theirs), says=says)


def _said(rows: RowSet, index: int) -> str:
    return f"{rows.places[index]} {rows.rows[index].answer!r:.40}"
