"""Whether a model is as often right as it is sure, and what it gains by leaving out what it is not
sure of. From `signed_confidence`: one number an item, the probability of the likeliest choice, with
a minus sign where that choice is wrong.

Expected calibration error: items in order of confidence, in 15 bins of equally many items (Nguyen &
O'Connor 2015, arXiv 1508.05154, for bins of equal mass), the mean over bins of |share right - mean
confidence|, bins weighed by their items. It is never 0 by chance, of a perfectly calibrated model
neither: the differences within bins are taken without their sign, so that it is biased upwards by
about sqrt(bins / n). Beside it therefore stands what it would be on average if every item were
right with just the probability that the model gave it (resampled outcomes; Bröcker & Smith 2007,
Weather and Forecasting 22).

A bootstrap adds the same bias once more: of small errors, its percentiles lie above the true one in
nearly every sample. So the interval has two bounds of their own. Below, the 97.5 % point over draws
of the summed deviations of the bins: by the triangle inequality a draw is never further from the
sample than that, whatever the signs. Above, how far draws fall below their own mean: since the bias
is upwards, the true error is not above that of the average sample. The change takes the bounds of
both sides, draw by draw. Simulated (60 samples each of 200 and of 1,000 items, 11 cases), such
intervals held the truth in 95 to 100 % of samples: they are wide on purpose.

Selective prediction (Geifman & El-Yaniv 2017, arXiv 1705.08500): the share right among the most
confident 80 and 90 % of the items, and AURC, the area under the curve of risk against coverage,
``1/n sum_k (wrong among the k most confident) / k``.

Items of equal confidence count as the mean of them, whatever their order.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from keepgain.analysis.behaviour.figure import Figure
from keepgain.analysis.behaviour.resample import DRAWS, Drawn, item_counts, seed_weights
from keepgain.analysis.draws import SEED
from keepgain.analysis.stats import CONFIDENCE, Estimate
from keepgain.analysis.table import SuiteItems
from keepgain.core.items import Floats
from keepgain.core.metrics import Direction

BINS = 15
COVERAGES = (0.8, 0.9)
BOUNDED = "bootstrap_bounds_on_bias"
"""See above."""
EXPECTED = "mean_and_range_of_resampled_outcomes"
"""No interval of an estimate: 95 % of what calibrated models of these confidences would show."""

Statistic = Callable[[Floats, Floats], float]
"""Of (confidence, share right), both of shape [n], in ascending order of confidence."""


def calibration_figures(suite: SuiteItems, tuned: Floats, base: Floats | None) -> list[Figure]:
    """ECE, what it would be of a calibrated model, selective accuracy and AURC; a
    `FamilyFunction`. Of several seeds each figure is the mean of the seeds' own."""
    n = len(suite.weights)
    asked: list[tuple[str, str, Direction, Statistic]] = [
        *(
            (f"accuracy at coverage {c:g}", "share of items kept", "maximize", _at(c))
            for c in COVERAGES
        ),
        ("AURC", "mean risk", "minimize", area_under_risk),
    ]
    sides = [tuned] if base is None else [tuned, base]
    errors = [_error(suite, side) for side in sides]
    expected = [ece_if_calibrated(side) for side in sides]
    found = [
        Figure(
            "calibration error (ECE)",
            "share of items",
            "minimize",
            errors[0].estimate(),
            errors[1].estimate() if len(errors) > 1 else None,
            errors[0].minus(errors[1]) if len(errors) > 1 else None,
            f"{BINS} bins of equal mass, n = {n}; {_judged(errors[0].value, expected[0])}; biased "
            f"upwards: a resampled one is {abs(errors[0].rise):.3f} higher on average",
        ),
        Figure(
            "ECE if calibrated",
            "share of items",
            "minimize",
            expected[0],
            expected[1] if len(expected) > 1 else None,
            None,
            "mean, and 95 % of what a perfectly calibrated model with these confidences shows",
        ),
    ]
    drawn = [_drawn(suite, side, [s for *_, s in asked]) for side in sides]
    for k, (name, unit, direction, _) in enumerate(asked):
        before = drawn[1][k].estimate() if len(drawn) > 1 else None
        change = drawn[0][k].minus(drawn[1][k]).estimate() if len(drawn) > 1 else None
        found.append(Figure(name, unit, direction, drawn[0][k].estimate(), before, change))
    return found


# -- calibration error --------------------------------------------------------------------------


@dataclass(frozen=True)
class _Error:
    """ECE of one side, mean over its seeds."""

    value: float
    draws: Floats
    """Shape [draws] of items, the bins as they are in the sample."""
    of_seeds: Floats
    """Shape [draws]: what seeds add."""
    apart: Floats
    """Shape [draws]: an upper bound of how far the draw is from the sample."""
    n_items: int
    n_seeds: int

    @property
    def rise(self) -> float:
        return float(np.mean(self.draws)) - self.value

    @property
    def below(self) -> Floats:
        """Shape [draws]: how far each draw is below the mean of all."""
        return np.asarray(self.draws.mean() - self.draws + self.of_seeds)

    def estimate(self) -> Estimate:
        return self._within(self.value, self.apart, self.below, floor=0.0)

    def minus(self, base: "_Error") -> Estimate:
        """The change; both sides are of the same draws of items."""
        down, up = self.apart + base.below, self.below + base.apart
        return self._within(self.value - base.value, down, up, floor=-1.0)

    def _within(self, value: float, down: Floats, up: Floats, floor: float) -> Estimate:
        share = (1 + CONFIDENCE) / 2
        low = max(floor, value - float(np.quantile(down, share)))
        high = min(1.0, value + float(np.quantile(up, share)))
        return Estimate(value, low, high, self.n_items, self.n_seeds, BOUNDED)


def _error(suite: SuiteItems, scores: Floats) -> _Error:
    n, seeds = scores.shape
    terms = np.concatenate([_bin_terms(column) for column in scores.T], axis=1)
    means = (terms.sum(axis=0) / n).reshape(seeds, -1)
    chunks = [c @ terms / c.sum(axis=1, keepdims=True) for c in item_counts(suite)]
    drawn = np.concatenate(chunks).reshape(DRAWS, seeds, -1)
    own, weights = np.abs(means).sum(axis=1), seed_weights(seeds)
    values = np.abs(drawn).sum(axis=2).mean(axis=1)
    of_items = np.abs(drawn - means).sum(axis=2).mean(axis=1)
    of_seeds = (weights - 1 / seeds) @ own
    return _Error(float(own.mean()), values, of_seeds, of_items + np.abs(of_seeds), n, seeds)


def _bin_terms(signed: Floats) -> Floats:
    """Share right minus confidence of each item, in the column of its bin; shape [n, bins]."""
    n = len(signed)
    levels, of = np.unique(np.abs(signed), return_inverse=True)
    right = np.bincount(of, weights=signed > 0) / np.bincount(of)
    order, edges = np.argsort(of, kind="stable"), _edges(n)
    terms = np.zeros((n, BINS))
    bins = np.searchsorted(edges, np.arange(n), side="right") - 1
    terms[order, bins] = (right - levels)[of[order]]
    return terms


def _edges(n: int) -> npt.NDArray[np.int64]:
    """Where each bin begins, of items in order; bins differ by at most one item."""
    return np.unique(np.arange(BINS) * n // BINS)


def calibration_error(confidence: Floats, right: Floats) -> float:
    """ECE with bins of equal mass: as many items in each, but for one; a `Statistic`."""
    n = len(confidence)
    return float(np.abs(np.add.reduceat(right - confidence, _edges(n))).sum() / n)


# -- selective prediction -----------------------------------------------------------------------


def selective_accuracy(coverage: float, _: Floats, right: Floats) -> float:
    """Share right among the most confident items, so many that they are `coverage` of all."""
    kept = max(1, round(coverage * len(right)))
    return float(right[-kept:].mean())


def area_under_risk(_: Floats, right: Floats) -> float:
    """AURC; a `Statistic`."""
    wrong = np.cumsum(1 - right[::-1])
    return float(np.mean(wrong / np.arange(1, len(right) + 1)))


def _at(coverage: float) -> Statistic:
    return partial(selective_accuracy, coverage)


def ece_if_calibrated(scores: Floats, draws: int = DRAWS, seed: int = SEED) -> Estimate:
    """ECE of a model with the same confidences that is calibrated: each item is right with the
    probability that the model gave its choice.

    Args:
        scores: Signed confidences, shape [n, S]; the mean over seeds.

    Returns:
        The mean over `draws`, with the middle 95 % of them in place of an interval.
    """
    rng = np.random.default_rng(seed)
    found = np.zeros(draws)
    for column in np.abs(scores).T:
        confidence = np.sort(column)
        for d in range(draws):
            right = (rng.random(len(confidence)) < confidence).astype(np.float64)
            found[d] += calibration_error(confidence, right) / scores.shape[1]
    tail = (1 - CONFIDENCE) / 2
    low, high = (float(q) for q in np.quantile(found, (tail, 1 - tail)))
    return Estimate(float(found.mean()), low, high, len(scores), scores.shape[1], EXPECTED)


def _judged(value: float, expected: Estimate) -> str:
    assert expected.high is not None and expected.value is not None
    if value > expected.high:
        return f"above the {expected.value:.3f} of a calibrated model: not calibrated"
    return f"no more than a calibrated model may show ({expected.value:.3f} on average)"


def _drawn(suite: SuiteItems, scores: Floats, statistics: list[Statistic]) -> list[Drawn]:
    """Each statistic as it is and on every draw of items and seeds; the same draws for all."""
    columns = [_Ordered(column) for column in scores.T]
    whole = np.ones(len(scores))
    values = np.mean([c.statistics(whole, statistics) for c in columns], axis=0)
    weights = seed_weights(len(columns))
    draws = np.zeros((DRAWS, len(statistics)))
    d = 0
    for chunk in item_counts(suite):
        for counts in chunk:
            each = np.array([c.statistics(counts, statistics) for c in columns])
            draws[d] = weights[d] @ each
            d += 1
    n, seeds = scores.shape
    return [Drawn(float(values[k]), draws[:, k], n, seeds) for k in range(len(statistics))]


class _Ordered:
    """One seed's items by confidence."""

    def __init__(self, signed: Floats) -> None:
        found = np.unique(np.abs(signed), return_inverse=True)
        self._levels: Floats = found[0]
        self._of: npt.NDArray[np.int64] = found[1]
        self._right = (signed > 0).astype(np.float64)

    def statistics(self, counts: Floats, asked: list[Statistic]) -> list[float]:
        """Of the items as often as `counts`, shape [n], says."""
        size = len(self._levels)
        drawn = np.bincount(self._of, weights=counts, minlength=size)
        right = np.bincount(self._of, weights=counts * self._right, minlength=size)
        held = drawn > 0
        times = drawn[held].astype(np.int64)
        confidence = np.repeat(self._levels[held], times)
        share = np.repeat(right[held] / drawn[held], times)
        return [statistic(confidence, share) for statistic in asked]
