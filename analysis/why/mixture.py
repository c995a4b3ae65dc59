"""How the mixture of the training tokens moves each score, and the mixture that it predicts to be
best: a prediction with its error, never a result.

For each base model and suite, the error y (100 - score in points, or the bits) on the shares r of
the sources, which sum to 1:

* the log-linear mixing law, ``y = c + exp(sum_j t_j r_j + s z)`` (Ye et al. 2024, arXiv 2403.16952;
  their factor k is one more t, as the shares sum to 1), by non-linear least squares from several
  starts;
* a ridge regression on r and z;
* gradient-boosted trees (scikit-learn) from 64 trials on: with fewer, proxies of the RegMix data
  were too few for them.

z are the other settings that differ between trials (learning rate by its logarithm, method, ...):
without them the shares would have to explain what they do. All are judged by 5-fold
cross-validation against a constant, and against the other settings alone: only what is better than
those by its paired one-sided 95 % bound (t, over the trials' squared errors) speaks of the mixture.
Candidates for the best mixture are the tried ones and points between two of them: nothing is
extrapolated.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from keepgain.analysis import stats, words
from keepgain.analysis.measures import Measures
from keepgain.analysis.why.observations import (
    SHARE,
    Observation,
    design,
    independent,
    settings,
    share,
    shares,
)
from keepgain.core.items import Floats
from keepgain.core.scorers import in_points

FOLDS = 5
MIN_TREES = 64
SEED = 240316
RIDGE = 1.0
"""On columns of sd 1: enough against shares that sum to 1, little beside 12 trials."""
BETWEEN = 2000
"""Points between two tried mixtures."""
SETTINGS = "settings alone"

Predict = Callable[[Floats, Floats], Floats]
"""(shares [n, k], other settings [n, d]) → errors [n]."""
Form = Callable[[Floats, Floats, Floats], Predict]
"""Fits (shares, other settings, errors)."""


@dataclass(frozen=True)
class Surface:
    """The response of one suite of one base model."""

    model: str
    suite: str
    measures: str
    unit: str
    trials: int
    chosen: str | None = None
    """The form with shares that has the smallest cross-validated error; None: not assessed."""
    r2: dict[str, float] = field(default_factory=dict)
    """Form → 1 - (squared error, cross-validated) / (that of a constant)."""
    spearman: dict[str, float | None] = field(default_factory=dict)
    """Form → rank correlation of predicted and measured, cross-validated."""
    rmse: float | None = None
    """Of the chosen form, cross-validated, in `unit`."""
    resolved: bool = False
    """The best form with shares is shown to predict better than a constant and than the settings
    alone."""
    reason: str | None = None
    """Why it was not assessed."""


@dataclass(frozen=True)
class Best:
    """A mixture that the surfaces predict to be best. Not a result: nothing was trained on it."""

    model: str
    aim: str
    """`task`: the smallest error of the task suites; `general`: of those that measure
    forgetting."""
    shares: dict[str, float]
    predicted: float
    """Mean error over the suites of the aim, in `unit`, with the other settings of the tried
    mixture that is best by the same surface."""
    rmse: float
    """Cross-validated error of that prediction, in `unit`."""
    unit: str
    tried: bool
    """It is the mixture of a trial."""
    nearest: float
    """Largest difference of a share from the nearest tried mixture."""


@dataclass(frozen=True)
class Mixture:
    """All surfaces, and the predicted best."""

    sources: tuple[str, ...] = ()
    """Settings that are shares; empty: no mixture was searched."""
    surfaces: tuple[Surface, ...] = ()
    best: tuple[Best, ...] = ()


def mixture(found: Sequence[Observation], measures: Measures, models: Sequence[str]) -> Mixture:
    """Of every base model with trials."""
    sources = shares(found)
    if not sources:
        return Mixture()
    surfaces: list[Surface] = []
    best: list[Best] = []
    for model in models:
        own = [o for o in found if o.who.model == model]
        if own:
            more, found_best = _of_model(model, own, sources, measures)
            surfaces += more
            best += found_best
    return Mixture(sources, tuple(surfaces), tuple(best))


def needed(columns: int) -> int:
    """The least number of trials: two for each coefficient, and one in each fold beyond that."""
    return 2 * (columns + 1) + FOLDS


def _of_model(
    model: str, own: Sequence[Observation], sources: Sequence[str], measures: Measures
) -> tuple[list[Surface], list[Best]]:
    r = np.array([[share(o, s) for s in sources] for o in own])
    if not all(s.startswith(SHARE) for s in sources):
        r = np.column_stack([r, 1 - r.sum(axis=1)])  # by role: the task has the rest
    others = [s for s in settings(own) if s.name not in sources]
    z = independent(design(own, others)[1])
    suites = measures.table.suites["validation"]
    infos = {n: s.info for n, s in suites.items()}
    surfaces: list[Surface] = []
    fitted = {}
    for name, info in infos.items():
        unit = "points" if in_points(info.scorer) else "suite unit"
        score = np.array([o.suites.get(name, np.nan) for o in own])
        y = 100 * (1 - score) if unit == "points" else -suites[name].sign * score
        least = needed(r.shape[1] + z.shape[1])
        reason = None
        if len(own) < least:
            reason = f"{words.count(len(own), 'trial')}, {least} are needed"
        elif not np.all(np.isfinite(y)):
            reason = "not every trial has scores"
        elif np.ptp(y) == 0:
            reason = "all trials score the same"
        if reason is not None:
            surfaces.append(Surface(model, name, info.measures, unit, len(own), reason=reason))
            continue
        surface, residuals = fit(model, name, info.measures, unit, r, z, y)
        surfaces.append(surface)
        if surface.resolved:
            fitted[name] = (FORMS[str(surface.chosen)](r, z, y), residuals, unit)
    best = []
    for aim, kind in (("task", "gain"), ("general", "forgetting")):
        names = [n for n, i in infos.items() if i.measures == kind]
        if names and all(n in fitted for n in names) and len({fitted[n][2] for n in names}) == 1:
            best.append(_best(model, aim, sources, r, z, [fitted[n] for n in names]))
    return surfaces, best


def fit(
    model: str, suite: str, measured: str, unit: str, r: Floats, z: Floats, y: Floats
) -> tuple[Surface, Floats]:
    """Compares the forms on one suite by cross-validation.

    Args:
        r: Shares, shape [n, k], rows sum to 1.
        z: Other settings, shape [n, d].
        y: Errors, shape [n].

    Returns:
        The surface, and the chosen form's cross-validated residuals, shape [n].
    """
    folds = np.random.default_rng(SEED).permutation(len(y)) % FOLDS
    forms = dict(FORMS)
    if len(y) < MIN_TREES:
        del forms["boosted trees"]
    if not z.shape[1]:
        del forms[SETTINGS]
    constant = _held_out(lambda r, z, y: lambda a, b: np.full(len(a), y.mean()), r, z, y, folds)
    null = float(np.sum((y - constant) ** 2))
    predicted = {name: _held_out(form, r, z, y, folds) for name, form in forms.items()}
    r2 = {n: 1 - float(np.sum((y - p) ** 2)) / null for n, p in predicted.items()}
    chosen = max((n for n in r2 if n != SETTINGS), key=lambda n: r2[n])
    without = predicted[SETTINGS] if r2.get(SETTINGS, 0.0) > 0 else constant
    residuals = y - predicted[chosen]
    better = (y - without) ** 2 - residuals**2
    reach = stats.t_quantile(0.95, len(y) - 1) * float(np.std(better, ddof=1)) / len(y) ** 0.5
    surface = Surface(
        model,
        suite,
        measured,
        unit,
        len(y),
        chosen,
        r2,
        {n: _spearman(p, y) for n, p in predicted.items()},
        rmse=float(np.sqrt(np.mean(residuals**2))),
        resolved=float(np.mean(better)) > reach,
    )
    return surface, residuals


def _held_out(form: Form, r: Floats, z: Floats, y: Floats, folds: npt.NDArray[np.int64]) -> Floats:
    predicted = np.empty(len(y))
    for fold in range(FOLDS):
        out = folds == fold
        predicted[out] = form(r[~out], z[~out], y[~out])(r[out], z[out])
    return predicted


def _log_linear(r: Floats, z: Floats, y: Floats) -> Predict:
    """The mixing law; see the module."""
    from scipy.optimize import least_squares

    x = np.column_stack([r, z])
    low, high = float(y.min()), float(y.max())
    spread = (high - low) or 1.0
    # Shrinks t a little: with few trials a source's exponent may run off.
    weight = np.sqrt(RIDGE) * spread / 100

    def off(p: Floats) -> Floats:
        bent = np.exp(np.clip(x @ p[1:], -50, 50))
        return np.concatenate([p[0] + bent - y, weight * p[1:]])

    def slope(p: Floats) -> Floats:
        bent = np.exp(np.clip(x @ p[1:], -50, 50))
        top = np.column_stack([np.ones(len(y)), bent[:, None] * x])
        bottom = np.column_stack([np.zeros(x.shape[1]), weight * np.eye(x.shape[1])])
        return np.vstack([top, bottom])

    best = None
    for below in (0.03, 1.0):  # how far the asymptote starts below the least error
        start = low - below * spread
        t = np.linalg.lstsq(x, np.log(y - start), rcond=None)[0]
        tried = least_squares(off, np.concatenate([[start], t]), slope, max_nfev=50)
        if best is None or tried.cost < best.cost:
            best = tried
    assert best is not None, "there are starts"
    p = best.x
    return lambda a, b: p[0] + np.exp(np.clip(np.column_stack([a, b]) @ p[1:], -50, 50))


def _ridge(r: Floats, z: Floats, y: Floats) -> Predict:
    x = np.column_stack([r, z])
    centre, spread = x.mean(axis=0), np.where(x.std(axis=0) > 0, x.std(axis=0), 1.0)
    u = (x - centre) / spread
    mean = y.mean()
    w = np.linalg.solve(u.T @ u + RIDGE * np.eye(u.shape[1]), u.T @ (y - mean))
    return lambda a, b: mean + (np.column_stack([a, b]) - centre) / spread @ w


def _settings_alone(r: Floats, z: Floats, y: Floats) -> Predict:
    inner = _ridge(np.zeros((len(y), 0)), z, y)
    return lambda a, b: inner(np.zeros((len(b), 0)), b)


def _trees(r: Floats, z: Floats, y: Floats) -> Predict:
    from sklearn.ensemble import GradientBoostingRegressor

    fitted = GradientBoostingRegressor(
        n_estimators=100, max_depth=3, learning_rate=0.1, random_state=SEED
    ).fit(np.column_stack([r, z]), y)
    return lambda a, b: np.asarray(fitted.predict(np.column_stack([a, b])), dtype=np.float64)


FORMS: dict[str, Form] = {
    "log-linear": _log_linear,
    "ridge": _ridge,
    "boosted trees": _trees,
    SETTINGS: _settings_alone,
}


def _best(
    model: str,
    aim: str,
    sources: Sequence[str],
    r: Floats,
    z: Floats,
    fitted: Sequence[tuple[Predict, Floats, str]],
) -> Best:
    def mean_error(a: Floats, b: Floats) -> Floats:
        return np.mean([predict(a, b) for predict, _, _ in fitted], axis=0)

    held = z[int(np.argmin(mean_error(r, z)))]
    rng = np.random.default_rng(SEED)
    pairs = rng.integers(0, len(r), (BETWEEN, 2))
    weight = rng.random((BETWEEN, 1))
    candidates = np.vstack([r, weight * r[pairs[:, 0]] + (1 - weight) * r[pairs[:, 1]]])
    predicted = mean_error(candidates, np.tile(held, (len(candidates), 1)))
    at = int(np.argmin(predicted))
    rmse = float(np.sqrt(np.mean(np.mean([e for _, e, _ in fitted], axis=0) ** 2)))
    return Best(
        model,
        aim,
        {s: float(v) for s, v in zip(sources, candidates[at], strict=False)},
        float(predicted[at]),
        rmse,
        fitted[0][2],
        tried=at < len(r),
        nearest=float(np.min(np.max(np.abs(r - candidates[at]), axis=1))),
    )


def _spearman(a: Floats, b: Floats) -> float | None:
    from scipy.stats import spearmanr

    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(spearmanr(a, b).statistic)
