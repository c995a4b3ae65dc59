"""Picking one point of a front: what a user would say is the best of them.

* By limits (the default): the best first objective among the rows whose other objectives keep their
  limits not only as point estimates but by a one-sided 95 % bound of the joint draws. The epsilon-
  constraint method (Haimes et al. 1971).
* By weights: the largest weighted sum, in the objectives' own units; with the range over which each
  weight may move, the others held, before another point wins.
* By the knee: farthest beyond the plane through the front's extremes, each objective scaled to the
  front (Das, Structural Optimization 18, 1999). It moves with the scaling, that is, with whichever
  extremes happened to be found, and asks nobody what a point is worth: second opinion only.
* By price: what the cheaper of two neighbours saves, and what it loses.

All take one front and are exact; ties go to the first row.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from keepgain.analysis.fronts import Front, front_of
from keepgain.analysis.measures import Measures
from keepgain.analysis.points import Points, of_measures
from keepgain.analysis.stats import CONFIDENCE
from keepgain.core.config import Split
from keepgain.core.items import Floats
from keepgain.core.record import Question

MAX_ROWS = 1000
"""A larger field is a search before its confirmation: its bounds are no ground to choose on."""
_FLAT = 1e-9


@dataclass(frozen=True)
class WeightRange:
    """Values of one weight for which the same point is chosen, the others held."""

    objective: str
    weight: float
    low: float
    """At least 0."""
    high: float | None
    """None: without limit."""


@dataclass(frozen=True)
class ByWeights:
    """The choice by the user's weights."""

    row: str
    ranges: tuple[WeightRange, ...]


@dataclass(frozen=True)
class Trade:
    """Two neighbours among the points that are best at some price."""

    cheaper: str
    dearer: str
    price: float
    """Cost per unit of the score at which both are equally good: who would pay less takes the
    cheaper one."""


@dataclass(frozen=True)
class Choices:
    """What each way of choosing takes from one base model's field."""

    field: str
    by_limits: str | None
    """None: no limit is set, nothing is shown to keep it, or the uncertainty is unknown."""
    by_weights: ByWeights | None
    """None: the question has no weights, or weights of other objectives alone."""
    knee: str | None


def choices(
    measures: Measures, split: Split, model: str, front: Front, question: Question
) -> Choices:
    """All ways on the field of one base model.

    By limits: the most gain with every suite's drop within `max_forgetting` jointly, as the largest
    drop of a draw bounds all of them.
    """
    field = [c for c in measures.table.configurations if c.model == model and c.has(split)]
    limited = None
    if question.max_forgetting is not None and len(field) <= MAX_ROWS:
        points = of_measures(measures, split, field, ["gain", "max_forgetting"])
        standing = front_of(points, broken=front.excluded, draws=0)
        limited = by_limits(standing, {"max_forgetting": question.max_forgetting})
    weighed = None
    if set(question.weights) & set(front.points.names):
        weighed = by_weights(front, question.weights)
    return Choices(f"{model} / {split}", limited, weighed, knee(front))


def by_limits(
    front: Front, limits: Mapping[str, float], confidence: float = CONFIDENCE
) -> str | None:
    """Id of the choice; None where no row keeps all limits, or the uncertainty is unknown.

    Args:
        limits: Objective → the worst value allowed, in its unit: a largest value of what is to be
            low, a smallest of what is to be high.
        confidence: One-sided, of each bound.
    """
    standing = [n for n, i in enumerate(front.points.ids) if i not in front.excluded]
    points = front.points.keep(np.array(standing, dtype=np.int64))
    bounds = cautious(points, confidence)
    if bounds is None or not standing:
        return None
    allowed = np.ones(len(standing), dtype=bool)
    for k, (name, up) in enumerate(zip(points.names, points.maximise, strict=True)):
        if name in limits:
            kept = bounds[:, k] >= limits[name] if up else bounds[:, k] <= limits[name]
            allowed &= kept
    if not allowed.any():
        return None
    first = points.values[:, 0] * (1.0 if points.maximise[0] else -1.0)
    return points.ids[int(np.argmax(np.where(allowed, first, -np.inf)))]


def cautious(points: Points, confidence: float = CONFIDENCE) -> Floats | None:
    """The bad end of each figure's one-sided bound, from the draws; shape [n, k].

    None where the uncertainty is unknown.
    """
    chunks = points.draws()
    if chunks is None:
        return None
    drawn = np.concatenate(list(chunks))
    low, high = np.quantile(drawn, (1 - confidence, confidence), axis=0)
    return np.where(points.maximise, low, high)


def by_weights(front: Front, weights: Mapping[str, float]) -> ByWeights | None:
    """The choice of a user who says what a unit of each objective is worth.

    Args:
        weights: Objective → worth of one unit, at least 0; what is not named is worth nothing.

    Returns:
        None without any row.
    """
    rows = [n for n, i in enumerate(front.points.ids) if i not in front.excluded]
    if not rows:
        return None
    points = front.points
    sign = np.where(points.maximise, 1.0, -1.0)
    goods = sign * points.values[rows]
    worth = np.array([weights.get(n, 0.0) for n in points.names])
    best = int(np.argmax(goods @ worth))
    ranges = []
    for k, name in enumerate(points.names):
        if name not in weights:
            continue
        rest = goods @ np.where(np.arange(len(worth)) == k, 0.0, worth)
        low, high = _range(rest[best] - rest, goods[best, k] - goods[:, k])
        ranges.append(WeightRange(name, float(worth[k]), low, high))
    return ByWeights(points.ids[rows[best]], tuple(ranges))


def _range(ahead: Floats, slope: Floats) -> tuple[float, float | None]:
    """Weights w >= 0 with ``ahead + w * slope >= 0`` for every rival."""
    rising, falling = slope > _FLAT, slope < -_FLAT
    low = float(np.max(-ahead[rising] / slope[rising], initial=0.0))
    ends = ahead[falling] / -slope[falling]
    return low, float(ends.min()) if len(ends) else None


def knee(front: Front) -> str | None:
    """Id of the point that bulges most; None where fewer extremes than objectives, or no bulge."""
    rows = np.flatnonzero(front.on)
    k = len(front.points.names)
    if len(rows) < k:
        return None
    goods = front.points.values[rows] * np.where(front.points.maximise, 1.0, -1.0)
    width = np.ptp(goods, axis=0)
    if (width <= 0).any():
        return None
    scaled = (goods - goods.min(axis=0)) / width
    extremes = scaled[np.argmax(scaled, axis=0)]
    if abs(np.linalg.det(extremes)) < _FLAT:
        return None
    normal = np.linalg.solve(extremes, np.ones(k))
    beyond = (scaled @ normal - 1) / np.linalg.norm(normal)
    best = int(np.argmax(beyond))
    return front.points.ids[rows[best]] if beyond[best] > _FLAT else None


def trades(points: Points, score: str, cost: str) -> tuple[Trade, ...]:
    """The prices of a unit of the score at which the best choice changes, cheapest pair first.

    The rows that are best at some price are the upper hull of score against cost.
    """
    at = np.flatnonzero(points.complete)
    up = 1.0 if points.maximise[points.names.index(score)] else -1.0
    goods, costs = up * points.column(score)[at], points.column(cost)[at]
    order = np.lexsort((-goods, costs))
    hull: list[int] = []
    for i in order:
        if hull and goods[i] <= goods[hull[-1]] + _FLAT:
            continue
        while len(hull) > 1 and _price(goods, costs, hull[-1], i) <= _price(
            goods, costs, hull[-2], hull[-1]
        ):
            hull.pop()
        hull.append(int(i))
    return tuple(
        Trade(points.ids[at[a]], points.ids[at[b]], _price(goods, costs, a, b))
        for a, b in pairwise(hull)
    )


def _price(goods: Floats, costs: Floats, a: int, b: int) -> float:
    return float((costs[b] - costs[a]) / (goods[b] - goods[a]))
