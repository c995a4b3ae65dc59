"""Bounds for means that hardly vary: items that all score alike are no proof of certainty.

A t interval of n items that all moved alike has no width, and of items of which one moved next to
none. Of n draws from [0, 1] that are all at one end, the exact bound (Clopper & Pearson, Biometrika
26, 1934) is ``1 - (alpha/2)^(1/n)`` away. An interval here is never narrower than that: the items'
variance is at least the one whose t interval has this reach.
"""

from dataclasses import replace

import numpy as np

from keepgain.analysis.slices import Slice
from keepgain.analysis.stats import CONFIDENCE, UNKNOWN, Uncertain, t_quantile
from keepgain.analysis.table import SuiteItems
from keepgain.core.scorers import in_points


def least_variance(draws: int) -> float:
    """Variance of a mean of so many draws, at least 2, whose values do not vary at all."""
    alpha = (1 - CONFIDENCE) / 2
    return float((1 - alpha ** (1 / draws)) / t_quantile(1 - alpha, draws - 1)) ** 2


def floored(found: Uncertain, draws: int, scorer: str) -> Uncertain:
    """The same figure of one suite, with at least that variance.

    Args:
        found: A level, or a change from the base.
        draws: Independent draws behind it: items, or clusters of items.
        scorer: Of the suite. Where scores have no known range, nothing bounds items that are all
            alike, and the interval is unknown.
    """
    if in_points(scorer):
        return floored_within(found, draws, 1.0)
    vary = draws >= 2 and found.item_variance > 0
    return found if vary else replace(found, method=UNKNOWN)


def floored_within(found: Uncertain, draws: int, span: float) -> Uncertain:
    """The same, of scores that differ by at most `span`."""
    if not found.known or draws < 2:
        return replace(found, method=UNKNOWN)
    least = least_variance(draws) * span**2
    if found.item_variance >= least:
        return found
    # The items' term comes first: see `stats.combine`.
    return replace(found, terms=((least, draws - 1.0), *found.terms[1:]), item_variance=least)


def draws_of(suite: SuiteItems, part: Slice | None) -> int:
    """Independent draws behind a figure of a suite, or of a slice of it."""
    if part is None:
        return suite.draws
    inside = suite.slices[part.field] == part.value
    return int(inside.sum()) if suite.clusters is None else len(np.unique(suite.clusters[inside]))


def turned(found: Uncertain, sign: float) -> Uncertain:
    """The figure with its sign changed, where `sign` is -1."""
    return replace(found, value=sign * found.value)
