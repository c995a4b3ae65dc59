"""What these items could show: the smallest difference that would be found, and items needed.

From the spread of the paired differences as observed, not from an assumed one. Of scores of 0 and
1 it is the discordance, the share of items on which two runs differ: resolving 1 point with 80 %
power (two-sided 5 %) takes about (1.96 + .84)^2 * discordance / .01^2 items: 4,700 at 6 %, 7,850 at
10 %, 12,600 at 16 %; the exact McNemar test, which is conservative, takes some 200 more (Connor,
Biometrics 43, 1987).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keepgain.analysis import stats
from keepgain.analysis.measures import Measures
from keepgain.analysis.stats import Uncertain
from keepgain.analysis.table import Configuration
from keepgain.core.config import Split
from keepgain.core.record import Question
from keepgain.core.scorers import in_points

POWER = 0.8
POINT = 0.01
_TWO_SIDED = (1 + stats.CONFIDENCE) / 2


@dataclass(frozen=True)
class Resolution:
    """What a comparison of task scores can resolve, at 80 % power and two-sided 95 %."""

    a: str
    """The decision's trial."""
    b: str
    against: str
    """`base`, or `rival`: the trial nearest in task score."""
    difference: Uncertain
    """a - b, positive if a is better."""
    discordance: float | None
    """Share of items on which a run of a and a run of b differ; None unless scores are 0 or 1."""
    detectable: float | None
    """The smallest true difference that would be found; None where a variance is unknown."""
    target: float
    """What `items_needed` is for: 1 point of shares, else the question's delta."""
    items_needed: int | None
    """Items to resolve `target`; None: unknown, or the seeds alone vary too much."""


def resolution(
    measures: Measures,
    split: Split,
    a: Configuration,
    b: Configuration,
    question: Question,
    against: str,
) -> Resolution | None:
    """What the comparison of two configurations can resolve; None if it cannot be made."""
    difference = measures.difference(a, b, split, "task_score")
    if difference is None:
        return None
    target = POINT if in_points(measures.scorer("gain")) else question.delta
    known = difference.known and target > 0
    return Resolution(
        a=a.trial_id,
        b=b.trial_id,
        against=against,
        difference=difference,
        discordance=discordance(measures, split, a, b),
        detectable=stats.detectable(difference, POWER),
        target=target,
        items_needed=stats.items_needed(difference, target, POWER, _TWO_SIDED) if known else None,
    )


def nearest_rival(
    measures: Measures, split: Split, who: Configuration, field: Sequence[Configuration]
) -> Configuration | None:
    """The trial of `field` whose task score is closest to that of `who`; ties by trial id."""
    mine = measures.point(who, split, "task_score")
    others = [
        (abs(value - mine), c.trial_id, c)
        for c in field
        if mine is not None
        and c.trial_id != who.trial_id
        and (value := measures.point(c, split, "task_score")) is not None
    ]
    return min(others, key=lambda o: o[:2])[2] if others else None


def discordance(
    measures: Measures, split: Split, a: Configuration, b: Configuration
) -> float | None:
    """Share of the gain suites' items on which a run of a and one of b differ, mean over pairs.

    None where a score is neither 0 nor 1.
    """
    shares, weights = [], []
    for name, suite in measures.table.suites[split].items():
        if suite.info.measures != "gain":
            continue
        x, y = a.scores[split][name], b.scores[split][name]
        if not all(np.all((v == 0) | (v == 1)) for v in (x, y)):
            return None
        p, q = x.mean(axis=1), y.mean(axis=1)
        shares.append(float(np.mean(p * (1 - q) + (1 - p) * q)))
        weights.append(len(p))
    return float(np.average(shares, weights=weights)) if shares else None
