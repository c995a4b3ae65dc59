"""How much would more data help, or more training? Curves in `rows` and in `duration`.

A curve needs trials that differ in it: `space: rows: {ordered: [250, 500, 1000]}` draws nested
subsets of the task's rows. On each suite, and each slice of the suites that measure gain, the score
of a trial is

    y = a - b n^(-c) + s z    (power law: Hestness et al. 2017, arXiv 1712.00409)
    y = a + b ln n + s z      (with fewer than four sizes, or where its AICc is smaller)

with n the rows (or training tokens), and z the other settings that differ, centred. What is told is
the change of the score from the largest n to twice of it, and the score there: an extrapolation.

Interval: delta method. A change is a weighted sum of the trials' scores, ``w y``; with s^2 the
residual variance on T - p degrees of freedom and Y the item scores [items, T], its variance is
``s^2 |w|^2 + max(0, var(Y w) / items - I |w|^2)``: trainings (with the items' noise in each), and
the items that all trials share; I is the items' residual share of s^2, counted once (as in
`stats`). t quantiles. The prediction interval of one more training adds s^2.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from keepgain.analysis import stats
from keepgain.analysis.measures import Measures
from keepgain.analysis.slices import slices_of
from keepgain.analysis.table import SuiteItems
from keepgain.analysis.why.observations import Observation, design, settings
from keepgain.core.items import MIN_SLICE_ITEMS, Floats

ROWS, DURATION = "rows", "duration"
MIN_DF = 4
"""Trials beyond the coefficients: with fewer, a t quantile is as wide as the question."""
POWER_LEVELS = 4
_EXPONENTS = np.linspace(0.05, 2.0, 79)


@dataclass(frozen=True)
class Change:
    """What twice as much is expected to do."""

    model: str
    suite: str
    part: str | None
    """`FIELD=VALUE` of a slice; None: the whole suite."""
    measures: str
    scorer: str
    items: int
    of: str
    """`rows` or `duration`."""
    trials: int
    levels: tuple[float, ...]
    """Rows, or training tokens (medians of what was trained at each `duration`)."""
    form: str | None = None
    """`power law` or `logarithm`; None: not assessed."""
    change: stats.Estimate = field(default_factory=stats.Estimate)
    """From the largest level to twice of it, in the suite's unit; up is good on every suite."""
    predicted: stats.Estimate = field(default_factory=stats.Estimate)
    """Score there, in the suite's unit and direction, at the mean of the other settings, with the
    prediction interval of one training."""
    at: tuple[float, ...] = ()
    """Fitted score at each level, likewise."""
    reason: str | None = None


@dataclass(frozen=True)
class Fit:
    """A fitted curve; `change` and `predicted` as (value, standard error, df)."""

    form: str
    at: tuple[float, ...]
    change: tuple[float, float, float]
    predicted: tuple[float, float, float]


def changes(found: Sequence[Observation], measures: Measures) -> tuple[Change, ...]:
    """For every base model with trials that differ in `rows` or `duration`; empty without any."""
    results: list[Change] = []
    for model in dict.fromkeys(o.who.model for o in found):
        own = [o for o in found if o.who.model == model]
        for of in (ROWS, DURATION):
            used = [o for o in own if isinstance(o.params.get(of), int | float)]
            if len({o.params[of] for o in used}) > 1:
                results += _of_model(model, of, used, measures)
    return tuple(results)


def _of_model(model: str, of: str, used: Sequence[Observation], measures: Measures) -> list[Change]:
    asked = np.array([float(str(o.params[of])) for o in used])
    steps = sorted(set(asked.tolist()))
    amounts = {s: s for s in steps}
    if of == DURATION:
        tokens = np.array([float(o.who.tokens) for o in used])
        amounts = {s: float(np.median(tokens[asked == s])) for s in steps}
    n = np.array([amounts[s] for s in asked.tolist()])
    # The budget follows from the duration.
    apart = (of, "budget") if of == DURATION else (of,)
    z = design(used, [s for s in settings(used) if s.name not in apart])[1]
    results = []
    for suite in measures.table.suites["validation"].values():
        name = suite.info.name
        if any(name not in o.who.scores["validation"] for o in used):
            continue
        scores = np.column_stack([o.who.scores["validation"][name].mean(axis=1) for o in used])
        for part, inside in _parts(suite):
            start = Change(
                model,
                name,
                part,
                suite.info.measures,
                suite.info.scorer,
                int(inside.sum()),
                of,
                len(used),
                tuple(sorted(set(n.tolist()))),
            )
            results.append(_told(start, suite, inside, n, z, scores[inside]))
    return results


def _parts(suite: SuiteItems) -> list[tuple[str | None, npt.NDArray[np.bool_]]]:
    parts: list[tuple[str | None, npt.NDArray[np.bool_]]] = [
        (None, np.ones(len(suite.item_ids), dtype=bool))
    ]
    if suite.info.measures == "gain":
        for s in slices_of(suite):
            inside = np.asarray(suite.slices[s.field] == s.value)
            if inside.sum() >= MIN_SLICE_ITEMS:
                parts.append((f"{s.field}={s.value}", inside))
    return parts


def _told(
    start: Change,
    suite: SuiteItems,
    inside: npt.NDArray[np.bool_],
    n: Floats,
    z: Floats,
    scores: Floats,
) -> Change:
    clusters = None if suite.clusters is None else suite.clusters[inside]
    if clusters is not None:
        clusters = np.unique(clusters, return_inverse=True)[1].astype(np.int64)
    fitted = fit_curve(n, z, scores, suite.weights[inside], clusters)
    if isinstance(fitted, str):
        return Change(**{**vars(start), "reason": fitted})
    change = _estimate(*fitted.change, start, sign=suite.sign)
    predicted = _estimate(*fitted.predicted, start)
    told = {"form": fitted.form, "change": change, "predicted": predicted, "at": fitted.at}
    return Change(**{**vars(start), **told})


def _estimate(
    value: float, error: float, df: float, start: Change, sign: float = 1.0
) -> stats.Estimate:
    reach = stats.t_quantile((1 + stats.CONFIDENCE) / 2, df) * error
    value *= sign
    return stats.Estimate(
        value, value - reach, value + reach, start.items, start.trials, "learning_curve_t"
    )


def fit_curve(
    n: Floats,
    z: Floats,
    scores: Floats,
    weights: Floats,
    clusters: npt.NDArray[np.int64] | None = None,
) -> Fit | str:
    """Fits a curve and extrapolates it to twice the largest n.

    Args:
        n: Rows or tokens of each trial, shape [T].
        z: Other settings, centred, shape [T, d].
        scores: Item scores, shape [items, T].
        weights: Of the items, shape [items].
        clusters: Of the items, shape [items], or None.

    Returns:
        The fit, or why there is none.
    """
    y = weights @ scores / weights.sum()
    x = n / n.max()
    curve = _logarithm(x, y, z)
    tangent = np.column_stack([curve.tangent(x), z])
    least = tangent.shape[1] + MIN_DF
    if len(n) < least:
        return f"{len(n)} trials, {least} are needed"
    if np.linalg.matrix_rank(tangent) < tangent.shape[1]:
        return "it varies together with another setting"
    if np.ptp(y) == 0:
        return "all trials score the same"
    if len(weights) < 2 or (clusters is not None and clusters.max() == 0):
        return "its items are a single cluster"
    if len(np.unique(x)) >= POWER_LEVELS and len(n) > least:
        power = _power_law(x, y, z)
        bent = np.column_stack([power.tangent(x), z])
        known = np.linalg.matrix_rank(bent) == bent.shape[1]
        if known and _aicc(power, len(n), bent.shape[1]) < _aicc(curve, len(n), tangent.shape[1]):
            curve, tangent = power, bent
    df = len(n) - tangent.shape[1]
    inverse = np.linalg.pinv(tangent)
    seeds = curve.squares / df
    # What is left of each item's own scores: the items' share of the residual variance.
    left = scores - scores @ inverse.T @ tangent.T
    items = sum(stats.mean_variance(column, weights, clusters) for column in left.T) / df

    def error(row: Floats, extra: float) -> float:
        w = np.concatenate([row, np.zeros(z.shape[1])]) @ inverse
        shared = stats.mean_variance(scores @ w, weights, clusters) - items * float(w @ w)
        return math.sqrt(seeds * float(w @ w) + max(0.0, shared) + extra)

    ahead = curve.tangent(np.array([1.0, 2.0]))
    now, then = curve.value(np.array([1.0, 2.0])).tolist()
    return Fit(
        curve.form,
        tuple(curve.value(np.unique(x)).tolist()),
        (then - now, error(ahead[1] - ahead[0], 0.0), df),
        (then, error(ahead[1], seeds), df),
    )


@dataclass(frozen=True)
class _Curve:
    form: str
    value: Callable[[Floats], Floats]
    """x [m] → score [m], at the mean of the other settings."""
    tangent: Callable[[Floats], Floats]
    """x [m] → derivatives by its coefficients [m, coefficients]."""
    squares: float
    """Of the residuals."""


def _logarithm(x: Floats, y: Floats, z: Floats) -> _Curve:
    def tangent(u: Floats) -> Floats:
        return np.column_stack([np.ones(len(u)), np.log(u)])

    theta, squares = _solved(np.column_stack([tangent(x), z]), y)
    return _Curve("logarithm", lambda u: tangent(u) @ theta[:2], tangent, squares)


def _power_law(x: Floats, y: Floats, z: Floats) -> _Curve:
    """The best over a grid of exponents: for each, the rest is linear."""

    def columns(u: Floats, c: float) -> Floats:
        return np.column_stack([np.ones(len(u)), -(u**-c)])

    def squares_of(c: float) -> float:
        return _solved(np.column_stack([columns(x, c), z]), y)[1]

    c = min(_EXPONENTS.tolist(), key=squares_of)
    theta, squares = _solved(np.column_stack([columns(x, c), z]), y)

    def tangent(u: Floats) -> Floats:
        return np.column_stack([columns(u, c), theta[1] * u**-c * np.log(u)])

    return _Curve("power law", lambda u: columns(u, c) @ theta[:2], tangent, squares)


def _solved(columns: Floats, y: Floats) -> tuple[Floats, float]:
    theta = np.asarray(np.linalg.lstsq(columns, y, rcond=None)[0], dtype=np.float64)
    return theta, float(np.sum((y - columns @ theta) ** 2))


def _aicc(curve: _Curve, n: int, coefficients: int) -> float:
    """Hurvich & Tsai, Biometrika 76, 1989; the variance counts as a coefficient."""
    k = coefficients + 1
    return n * math.log(max(curve.squares, 1e-300) / n) + 2 * k + 2 * k * (k + 1) / (n - k - 1)
