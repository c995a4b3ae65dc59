"""How far a source is from what it is scored on: can a classifier tell their questions apart?

The classifier two-sample test (Lopez-Paz & Oquab, ICLR 2017) with a cheap model: AUC .5 means that
words and spelling do not tell them apart, 1 that they always do. Meaning is not seen.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from keepgain.sweeps.gates.counts import Z_95
from keepgain.sweeps.gates.findings import Finding
from keepgain.sweeps.gates.labels import Facts
from keepgain.sweeps.gates.material import RowSet
from keepgain.sweeps.gates.sketches import sample
from keepgain.sweeps.gates.text_model import features, fitted, folds, out_of_fold, questions

MAX_ROWS = 5_000
"""Looked at on either side."""
MIN_ROWS = 150
"""On either side: below, the interval is wider than .13."""
FAR = 0.8
"""AUC of a task source, at its lower limit, that is warned of: of two questions, one of each side,
the right one is picked four times in five."""
_NAMED = 5


@dataclass(frozen=True)
class Distance:
    """Of two sets of questions."""

    auc: float
    low: float
    high: float
    """95 % interval (Hanley & McNeil, Radiology 143, 1982)."""
    rows: int
    """On each side."""
    telling: tuple[str, ...]
    """Words and runs of characters that the source has and the items have not, the most telling
    first."""


def check_distance(sets: Sequence[RowSet], facts: Facts) -> list[Finding]:
    """Each source against the items that it is scored on: of the gain, for replay of the
    forgetting. Both splits of the suites are taken together, equally from each suite.
    """
    findings = []
    for source in (s for s in sets if s.role is not None):
        measures = "forgetting" if source.role == "replay" else "gain"
        items = [s for s in sets if s.measures == measures]
        if (found := distance(source, items, facts)) is not None:
            findings.append(_finding(source, measures, found))
    return findings


def distance(source: RowSet, items: Sequence[RowSet], facts: Facts) -> Distance | None:
    """None where either side has fewer than `MIN_ROWS`, or texts that have nothing in common."""
    size = min(len(source.rows), MAX_ROWS, sum(len(s.rows) for s in items))
    if size < MIN_ROWS:
        return None
    mine, theirs = sample(len(source.rows), size), _spread([len(s.rows) for s in items], size)
    texts = questions(source.rows, mine)
    hashes = [facts[source.label].question[mine]]
    for rows, chosen in zip(items, theirs, strict=True):
        texts += questions(rows.rows, chosen)
        hashes.append(facts[rows.label].question[chosen])
    side = np.repeat([1, 0], [size, size])
    if (known := features(texts)) is None:
        return None
    chances = out_of_fold(known.matrix, side, folds(np.concatenate(hashes)), 2)[:, 1]
    auc = _auc(chances[side == 1], chances[side == 0])
    half = Z_95 * _auc_error(auc, size, size)
    weights = fitted(known.matrix, side).coef_[0]
    mean = np.asarray(known.matrix[side == 1].mean(axis=0))[0]
    names = [term.strip() for term in known.terms]
    telling: dict[str, None] = {}
    for k in np.argsort(-weights * mean):
        if weights[k] * mean[k] > 0 and names[k]:
            telling.setdefault(names[k])
        if len(telling) == _NAMED:
            break
    return Distance(auc, max(0.0, auc - half), min(1.0, auc + half), size, tuple(telling))


def _spread(sizes: Sequence[int], total: int) -> list[npt.NDArray[np.int64]]:
    """Positions in each set, `total` in all, as equal in number as the sets allow."""
    left, chosen = total, dict[int, int]()
    for done, k in enumerate(sorted(range(len(sizes)), key=lambda k: sizes[k])):
        chosen[k] = min(sizes[k], math.ceil(left / (len(sizes) - done)))
        left -= chosen[k]
    return [sample(n, chosen[k]) for k, n in enumerate(sizes)]


def _auc(positive: npt.NDArray[np.float64], negative: npt.NDArray[np.float64]) -> float:
    """Share of pairs in which the positive one scores higher; ties count one half."""
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, "left")
    up_to = np.searchsorted(ordered, positive, "right")
    return float((below + up_to).sum() / 2 / (len(positive) * len(negative)))


def _auc_error(auc: float, m: int, n: int) -> float:
    """Standard error: ``sqrt((A(1-A) + (m-1)(Q1-A²) + (n-1)(Q2-A²)) / mn)`` with
    ``Q1 = A/(2-A)``, ``Q2 = 2A²/(1+A)``."""
    q1, q2 = auc / (2 - auc), 2 * auc * auc / (1 + auc)
    variance = auc * (1 - auc) + (m - 1) * (q1 - auc * auc) + (n - 1) * (q2 - auc * auc)
    return math.sqrt(max(0.0, variance) / (m * n))


def _finding(source: RowSet, measures: str, found: Distance) -> Finding:
    far = source.role == "task" and found.low >= FAR
    telling = ", ".join(repr(name) for name in found.telling)
    named = f" Most telling of the source: {telling}." if found.low > 0.5 and telling else ""
    return Finding(
        code="far_from_items" if far else "distance_from_items",
        severity="warning" if far else "note",
        where=source.label,
        message=f"a classifier tells its questions from those of the {measures} suites with AUC "
        f"{found.auc:.2f} ({found.low:.2f} to {found.high:.2f}; .5: not at all; {found.rows} of "
        f"each looked at; it sees words and characters, no meaning).{named}",
        hint="Train on rows like those that are scored, or score rows like those in use."
        if far
        else None,
        of=found.rows,
        figures={"auc": found.auc, "low": found.low, "high": found.high},
    )
