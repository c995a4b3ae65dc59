"""The same weights on old and on new test items: how their score has changed.

On the same items base and tuned are paired. Old and new items are independent draws, so that their
variances add (Welch; Student's t with Satterthwaite's degrees of freedom). One training's weights
are scored twice, so that no seed variance comes in. Differences are turned so that more is better.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import special

from keepgain.analysis.stats import CONFIDENCE, Block, Uncertain, combine, mean_variance
from keepgain.core.items import Floats, ItemScores
from keepgain.core.scorers import metric_of

POWER = 0.8
Answer = Literal["yes", "no", "not_resolved"]


@dataclass(frozen=True)
class Pair:
    """A base and what was tuned from it, on the same items of one suite."""

    base: ItemScores
    tuned: ItemScores

    def __post_init__(self) -> None:
        same = np.array_equal(self.base.item_ids, self.tuned.item_ids)
        assert same and self.base.metric == self.tuned.metric, "scored on other items"

    @property
    def items(self) -> int:
        """How many."""
        return len(self.tuned.item_ids)

    @property
    def scorer(self) -> str:
        """Name of the metric."""
        return self.tuned.metric


@dataclass(frozen=True)
class Verdict:
    """Whether the tuned score has dropped by more than a threshold."""

    drop: Uncertain
    """Of the tuned score, old minus new items; positive is worse."""
    threshold: float
    answer: Answer
    """yes: the whole interval is above the threshold; no: all of it is below."""
    more_items: int | None
    """New items beside those at hand that would resolve it, if the drop stays as it is seen; None:
    it is resolved, or no number of new ones would do."""


def block(scores: ItemScores, sign: float = 1.0) -> Block:
    """Item terms, shape [n, 1].

    Args:
        scores: Of one run.
        sign: That values are multiplied with.
    """
    return Block(sign * scores.values[:, None], scores.weights, _clusters(scores))


def level(scores: ItemScores) -> Uncertain:
    """The mean, in the metric's own direction."""
    return combine([block(scores)], [], 1)


def gain(pair: Pair) -> Uncertain:
    """Tuned minus base, paired by item."""
    return combine([_gain(pair)], [], 1)


def gain_change(old: Pair, new: Pair) -> Uncertain:
    """Gain on new items minus that on old ones."""
    return combine([_gain(new), _gain(old, -1.0)], [], 1)


def change(old: ItemScores, new: ItemScores) -> Uncertain:
    """Score on new items minus that on old ones, of the same weights."""
    sign = metric_of(new.metric).sign
    return combine([block(new, sign), block(old, -sign)], [], 1)


def judge(old: ItemScores, new: ItemScores, threshold: float) -> Verdict:
    """Whether the tuned score has dropped by more than `threshold`, by the two-sided interval.

    Args:
        old: Tuned scores on the old items.
        new: On the new ones.
        threshold: In the metric's unit.
    """
    drop = change(new, old)
    e = drop.estimate()
    answer: Answer = "not_resolved"
    if e.low is not None and e.high is not None:
        answer = "yes" if e.low > threshold else "no" if e.high < threshold else "not_resolved"
    needed = None
    if answer == "not_resolved" and drop.known:
        needed = more_items(_variance(old), _variance(new), _n(new), drop.value - threshold)
    return Verdict(drop, threshold, answer, needed)


def more_items(old: float, new: float, n: int, distance: float) -> int | None:
    """New items beside n at hand with which the interval would clear a threshold.

    ``N = n v_new / (d² / (z_(1+conf)/2 + z_power)² - v_old)``, less n: the old items are what they
    are, and the variance of the new ones falls as 1 / N.

    Args:
        old: Variance v_old of the mean over the old items.
        new: v_new, over n new ones.
        n: New items at hand.
        distance: d, from the drop as seen to the threshold.

    Returns:
        None if no number is enough.
    """
    z = float(special.ndtri((1 + CONFIDENCE) / 2) + special.ndtri(POWER))
    room = (distance / z) ** 2 - old
    if room <= 0 or not math.isfinite(new):
        return None
    return max(1, math.ceil(n * new / room) - n)


def without(scores: ItemScores, ids: Sequence[str]) -> ItemScores:
    """The scores without those of some items."""
    kept = ~np.isin(scores.item_ids, np.array(list(ids), dtype=np.str_))
    clusters = (
        tuple(c for c, k in zip(scores.clusters, kept, strict=True) if k)
        if (scores.clusters)
        else ()
    )
    return ItemScores(
        suite=scores.suite,
        split=scores.split,
        metric=scores.metric,
        item_ids=scores.item_ids[kept],
        values=scores.values[kept],
        weights=scores.weights[kept],
        tokens=scores.tokens,
        clusters=clusters,
    )


def _gain(pair: Pair, sign: float = 1.0) -> Block:
    better = sign * metric_of(pair.scorer).sign
    values: Floats = better * (pair.tuned.values - pair.base.values)[:, None]
    return Block(values, pair.tuned.weights, _clusters(pair.tuned))


def _variance(scores: ItemScores) -> float:
    return mean_variance(scores.values, scores.weights, _clusters(scores))


def _n(scores: ItemScores) -> int:
    return len(scores.item_ids)


def _clusters(scores: ItemScores) -> npt.NDArray[np.int64] | None:
    """Index of each item's cluster; an item without one is a cluster of its own."""
    if not any(c is not None for c in scores.clusters):
        return None
    names = [
        f"i:{i}" if c is None else f"c:{c}"
        for i, c in zip(scores.item_ids.tolist(), scores.clusters, strict=True)
    ]
    return np.unique(names, return_inverse=True)[1].astype(np.int64)
