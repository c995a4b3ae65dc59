"""The same weights on old and on new test items: how their score has changed.

On the same items base and tuned are paired. Old and new items are independent draws, so that their
variances add (Welch; Student's t with Satterthwaite's degrees of freedom); what items that are both
have in common is taken off. One training's weights
are scored twice, so that no seed variance comes in. Differences are turned so that more is better.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import special

from keepgain.analysis.stats import (
    CONFIDENCE,
    UNKNOWN,
    Block,
    Uncertain,
    combine,
    mean_variance,
    t_quantile,
)
from keepgain.core.items import Floats, ItemScores, Strings
from keepgain.core.scorers import in_points, metric_of

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
    """Score on new items minus that on old ones, of the same weights.

    Items that all score alike show no variance, and chance has a part in that: see `unseen`. Where
    nothing bounds it, the interval is unknown.
    """
    sign = metric_of(new.metric).sign
    found = combine([block(new, sign), block(old, -sign)], [], 1)
    common = 2 * _covariance(old, new)
    df = float(min(_draws(old), _draws(new)) - 1)
    hidden = [(v, float(_draws(s) - 1)) for s in (old, new) if (v := unseen(s)) is not None]
    hidden = [(v, df) for v, df in hidden if v > 0]
    if any(_alike(s) and unseen(s) is None for s in (old, new)):
        return replace(found, method=UNKNOWN)
    if found.known and common:
        found = replace(
            found,
            terms=(*found.terms, (-common, df)),
            item_variance=max(0.0, found.item_variance - common),
        )
    more = math.fsum(v for v, _ in hidden)
    return replace(found, terms=(*found.terms, *hidden), item_variance=found.item_variance + more)


def unseen(scores: ItemScores) -> float | None:
    """Variance of a mean over items that all score alike.

    Of a share, 0 to 1, of which n draws are all at one end, the exact bound (Clopper & Pearson,
    Biometrika 26, 1934) is ``1 - (alpha/2)^(1/n)`` away: the variance with that as the reach of the
    interval. 0 where items differ; None where all are alike and nothing bounds them.
    """
    if not _alike(scores):
        return 0.0
    n, end = _draws(scores), float(scores.values[0])
    if n < 2 or end not in (0.0, 1.0) or not in_points(scores.metric):
        return None
    alpha = (1 - CONFIDENCE) / 2
    return float((1 - alpha ** (1 / n)) / t_quantile(1 - alpha, n - 1)) ** 2


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
    seen = mean_variance(scores.values, scores.weights, _clusters(scores))
    return seen + (unseen(scores) or 0.0)


def _alike(scores: ItemScores) -> bool:
    return bool(np.ptp(scores.values) == 0)


def _n(scores: ItemScores) -> int:
    return len(scores.item_ids)


def _draws(scores: ItemScores) -> int:
    clusters = _clusters(scores)
    return _n(scores) if clusters is None else int(clusters.max()) + 1


def _covariance(old: ItemScores, new: ItemScores) -> float:
    """Of the two means, from the items that are in both; a cluster with such an item is one draw of
    both sets."""
    both = np.intersect1d(old.item_ids, new.item_ids)
    if not len(both):
        return 0.0
    drawn = [_draw_names(s) for s in (old, new)]
    common = set(drawn[0][np.isin(old.item_ids, both)]) & set(drawn[1][np.isin(new.item_ids, both)])
    sums = []
    for scores, names in zip((old, new), drawn, strict=True):
        total = scores.weights.sum()
        parts = scores.weights * (scores.values - scores.weights @ scores.values / total) / total
        each, of = np.unique(names, return_inverse=True)
        kept = np.isin(each, list(common))
        scale = len(each) / (len(each) - 1) if len(each) > 1 else 0.0
        sums.append(math.sqrt(scale) * np.bincount(of, weights=parts)[kept])
    return float(sums[0] @ sums[1])


def _clusters(scores: ItemScores) -> npt.NDArray[np.int64] | None:
    """Index of each item's cluster; an item without one is a cluster of its own."""
    if not any(c is not None for c in scores.clusters):
        return None
    return np.unique(_draw_names(scores), return_inverse=True)[1].astype(np.int64)


def _draw_names(scores: ItemScores) -> Strings:
    """Of the cluster that each item is drawn with."""
    ids = scores.item_ids.tolist()
    clusters = scores.clusters or (None,) * len(ids)
    names = [f"i:{i}" if c is None else f"c:{c}" for i, c in zip(ids, clusters, strict=True)]
    return np.array(names, dtype=np.str_)
