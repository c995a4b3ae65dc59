"""A score as a curve in the amount of one thing, with intervals that hold for all of it at once.

The score y of a trial t (its weighted mean over items, averaged over its seeds) is

    y_t = a + f(x_t) + b z_t + e_t

with x the amount and z the other settings, centred. f is one coefficient a level where few amounts
were tried, else a natural cubic spline of 3 or 2 degrees of freedom with knots at quantiles of the
amounts (Hastie, Tibshirani & Friedman, *The Elements of Statistical Learning*, 2009, 5.2.1). Which
of them is settled by the number of trials and levels before any score is looked at, and fitted by
ordinary least squares. It is a sum: that an amount might matter more at another value of z is
not in it.

Errors. A value of the curve, or a difference of two, is a weighted sum ``w y`` of trials. Its
variance is the trainings' plus the items' (crossed: all trials have the same items, see `stats`):

    sum_t w_t^2 v_t + max(0, Var_items(Y w) - sum_t w_t^2 i_t)

Y are the item scores [items, T]; v_t the variance of a trial, i_t the part of v_t that comes from
its items, which Var_items(Y w) holds too. v_t is the residual variance; from `ROOM` degrees of
freedom on it is the squared residual over 1 - leverage (HC2, MacKinnon & White 1985: unbiased
where variances are equal, as HC3 is not) where that gives the larger variance (Angrist & Pischke,
*Mostly Harmless Econometrics*, 2009, 8.1). Where the levels leave no residual and nothing else
varies, v_t is the pooled variance between seeds, over the trial's number.

Simultaneous intervals: the quantile of the largest |t| over all amounts, or over all pairs of them,
by simulation from their joint t distribution (Hothorn, Bretz & Westfall, Biometrical Journal 50,
2008). From the intervals of all pairs follow bounds against the best amount, whichever it is (Hsu,
Annals of Statistics 12, 1984): a sentence about "the best" pays for not knowing which one it is.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special  # scipy.stats takes a second to import

from keepgain.analysis import stats
from keepgain.analysis.stats import Block, SeedVariance
from keepgain.core.items import Floats

MIN_DF = 4
"""Trials beyond the coefficients: with fewer, a t quantile is as wide as the question."""
ROOM = 12
"""Trials beyond the coefficients from which on a curve may bend more, and HC2 is looked at."""
MAX_LEVELS = 6
"""Up to so many amounts have a coefficient each."""
MAX_LEVERAGE = 0.95
GRID = 13
"""Amounts at which a spline is told; quarters of its range are among them."""
DRAWS = 8000
SEED = 20081128
LEVELS = "levels"


@dataclass(frozen=True)
class Form:
    """The columns of f, and where it is told."""

    name: str
    """`levels`, or `spline with 3 degrees of freedom`."""
    columns: Floats
    """Of each trial, shape [T, k]."""
    points: tuple[float, ...]
    """Amounts, ascending; of levels their indices."""
    at: Floats
    """Columns at these, shape [G, k]."""


@dataclass(frozen=True)
class Response:
    """A fitted curve, in the unit of the scores; G amounts."""

    form: str
    points: tuple[float, ...]
    values: Floats
    """At the mean of the other settings, shape [G]."""
    errors: Floats
    """Standard errors, shape [G]."""
    df: float
    pointwise: float
    """Quantile of |t| for one amount."""
    together: float
    """Quantile of the largest |t| over all amounts."""
    pairs: float
    """Quantile of the largest |t| over all pairs of amounts."""
    pairs_limit: float
    """The same with any number of degrees of freedom."""
    pair_errors: Floats
    """Standard errors of the differences, shape [G, G]."""
    p: float
    """Of no amount differing from another (max-t over all pairs)."""
    trainings: float
    """Share of the widest pair's variance that more trainings would reduce."""
    pooled: bool
    """The noise is the pooled variance between seeds, not the residuals'."""

    @property
    def reach(self) -> float:
        """Half the simultaneous interval of the widest pair."""
        return self.pairs * float(self.pair_errors.max())

    def below_best(self, up: float) -> tuple[Floats, Floats]:
        """By how much each amount is at most, and at least, worse than the best one.

        Args:
            up: 1 if more is better, -1 if less is.

        Returns:
            Simultaneous bounds, shapes [G], not below 0.
        """
        behind = up * (self.values[None, :] - self.values[:, None])
        reach = self.pairs * self.pair_errors
        most = np.max(behind + reach, axis=1)
        return np.maximum(0.0, most), np.maximum(0.0, np.max(behind - reach, axis=1))


def respond(
    x: Floats,
    z: Floats,
    blocks: Sequence[Block],
    seeds: tuple[SeedVariance | None, Floats],
    *,
    levels: int | None = None,
    confidence: float = stats.CONFIDENCE,
) -> Response | str:
    """Fits the curve.

    Args:
        x: Amounts, shape [T]; of a category the indices of its levels.
        z: Other settings, centred and independent of each other, shape [T, d].
        blocks: Item scores averaged over seeds, one column a trial; the score is the sum over
            blocks, whose items are independent.
        seeds: The pooled variance between seeds, None if unknown, and each trial's number of seeds.
        levels: Of a category; None: x is a number.

    Returns:
        The curve, or why there is none.
    """
    found = _design(x, z, seeds[0], levels)
    if isinstance(found, str):
        return found
    form, pooled = found
    design = np.column_stack([np.ones(len(x)), form.columns, z])
    y = np.sum([b.means() for b in blocks], axis=0)
    if np.ptp(y) == 0:
        return "all trials score the same"
    if any(stats.mean_variance(b.values[:, 0], b.weights, b.clusters) == math.inf for b in blocks):
        return "its items are a single cluster"
    inverse = np.linalg.pinv(design)
    at = np.column_stack([np.ones(len(form.at)), form.at, np.zeros((len(form.at), z.shape[1]))])
    w = at @ inverse
    left = y - design @ (inverse @ y)
    if pooled:
        assert seeds[0] is not None, "_design asks for it"
        noise = seeds[0].between / seeds[1]
        items = min(seeds[0].interaction, seeds[0].between) / seeds[1]
        df = float(seeds[0].df)
        by_trial = noise
    else:
        df = float(len(x) - design.shape[1])
        noise = np.full(len(x), float(left @ left) / df)
        items = np.full(len(x), _items_of_residuals(blocks, design, inverse) / df)
        by_trial = noise if df < ROOM else left**2 / (1 - np.sum(design * inverse.T, axis=1))
    shared = _semidefinite(_items(blocks, w) - (w * items) @ w.T)
    usual, robust = (w * noise) @ w.T + shared, (w * by_trial) @ w.T + shared
    i, j = np.triu_indices(len(w), 1)
    if float(_pairs(usual)[i, j].min()) <= 0:
        return "the trials of an amount score all the same"
    return _told(form, w @ y, (usual, robust, shared), df, confidence, pooled)


def _design(
    x: Floats, z: Floats, seeds: SeedVariance | None, levels: int | None
) -> tuple[Form, bool] | str:
    """The form, and whether the noise is that of seeds; or why neither will do."""
    n = len(x)
    forms = _forms(x, levels)
    enough = [f for f in forms if n - 1 - f.columns.shape[1] - z.shape[1] >= MIN_DF]
    if not enough:
        alone = forms[0].name == LEVELS and not z.shape[1]
        if alone and seeds is not None and seeds.df >= MIN_DF:
            return forms[0], True
        return f"{n} trials, {1 + forms[-1].columns.shape[1] + z.shape[1] + MIN_DF} are needed"
    roomy = (f for f in enough if n - 1 - f.columns.shape[1] - z.shape[1] >= ROOM)
    form = next(roomy, enough[-1])
    design = np.column_stack([np.ones(n), form.columns, z])
    if np.linalg.matrix_rank(design) < design.shape[1]:
        return "it varies together with another setting"
    q, _ = np.linalg.qr(design)
    if float(np.max(np.sum(q * q, axis=1))) > MAX_LEVERAGE:
        return "a single trial decides its effect"
    return form, False


def _forms(x: Floats, levels: int | None) -> list[Form]:
    """All that these amounts allow, the most flexible first."""
    seen = np.unique(x)
    forms = []
    if levels is not None or len(seen) <= MAX_LEVELS:
        columns = (x[:, None] == seen[None, 1:]).astype(np.float64)
        at = (seen[:, None] == seen[None, 1:]).astype(np.float64)
        forms.append(Form(LEVELS, columns, tuple(seen.tolist()), at))
    if levels is None and len(seen) > 3:
        grid = np.linspace(seen[0], seen[-1], GRID)
        for df in (3, 2) if len(seen) > 4 else (2,):
            knots = np.quantile(seen, np.linspace(0, 1, df + 1))
            name = f"spline with {df} degrees of freedom"
            forms.append(
                Form(name, _natural(x, knots), tuple(grid.tolist()), _natural(grid, knots))
            )
    return forms


def _natural(x: Floats, knots: Floats) -> Floats:
    """Natural cubic splines without the constant, scaled to knots in [0, 1]; shape [n, K - 1]."""
    u, k = (x - knots[0]) / (knots[-1] - knots[0]), (knots - knots[0]) / (knots[-1] - knots[0])

    def cubic(j: int) -> Floats:
        above = np.maximum(u - k[j], 0.0) ** 3 - np.maximum(u - k[-1], 0.0) ** 3
        return np.asarray(above / (k[-1] - k[j]), dtype=np.float64)

    bent = [cubic(j) - cubic(len(k) - 2) for j in range(len(k) - 2)]
    return np.column_stack([u, *bent])


def _items(blocks: Sequence[Block], w: Floats) -> Floats:
    """Covariance of the points from drawing the items, shape [G, G]; its diagonal is
    `stats.mean_variance` of each block's ``Y w``, summed."""
    found = np.zeros((len(w), len(w)))
    for b in blocks:
        points = b.values @ w.T
        total = b.weights.sum()
        parts = b.weights[:, None] * (points - b.weights @ points / total) / total
        if b.clusters is not None:
            sums = np.zeros((int(b.clusters.max()) + 1, len(w)))
            np.add.at(sums, b.clusters, parts)
            parts = sums
        found += len(parts) / (len(parts) - 1) * parts.T @ parts
    return found


def _items_of_residuals(blocks: Sequence[Block], design: Floats, inverse: Floats) -> float:
    """Sum over trials of the variance that the items' own residuals give their means."""
    return math.fsum(
        stats.mean_variance(column, b.weights, b.clusters)
        for b in blocks
        for column in (b.values - b.values @ inverse.T @ design.T).T
    )


def _semidefinite(matrix: Floats) -> Floats:
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return np.asarray((vectors * np.maximum(values, 0.0)) @ vectors.T, dtype=np.float64)


def _told(
    form: Form,
    values: Floats,
    covariances: tuple[Floats, Floats, Floats],
    df: float,
    confidence: float,
    pooled: bool,
) -> Response:
    """Quantiles and errors.

    Args:
        covariances: Of the points: with equal variances, with each trial's own, and the items'.
    """
    covariance, robust, shared = covariances
    of_pairs, of_robust, of_items = (_pairs(c) for c in (covariance, robust, shared))
    errors = np.sqrt(np.maximum(np.diag(covariance), np.diag(robust)))
    pair_errors = np.sqrt(np.maximum(of_pairs, of_robust))
    rng = np.random.default_rng(SEED)
    eigen, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(eigen, 0.0))
    drawn = rng.standard_normal((DRAWS, len(values))) @ root.T
    i, j = np.triu_indices(len(values), 1)
    single = _steps(np.max(np.abs(drawn) / np.sqrt(np.diag(covariance)), axis=1))
    normal = np.zeros(DRAWS)
    for a, b in zip(i, j, strict=True):
        largest = np.abs(drawn[:, a] - drawn[:, b]) / math.sqrt(of_pairs[a, b])
        np.maximum(normal, largest, out=normal)
    normal = _steps(normal)
    seen = float(np.max(np.abs(values[i] - values[j]) / pair_errors[i, j]))
    widest = np.unravel_index(int(np.argmax(pair_errors)), pair_errors.shape)
    return Response(
        form.name,
        form.points,
        values,
        errors,
        df,
        stats.t_quantile((1 + confidence) / 2, df),
        _quantile(single, df, confidence),
        _quantile(normal, df, confidence),
        float(np.quantile(normal, confidence)),
        pair_errors,
        1 - _below(seen, normal, df),
        1 - float(of_items[widest] / pair_errors[widest] ** 2),
        pooled,
    )


def _steps(drawn: Floats) -> Floats:
    """As good as the draws, and fewer: their quantiles in even steps."""
    return np.asarray(np.quantile(drawn, (np.arange(500) + 0.5) / 500), dtype=np.float64)


def _below(value: float, normal: Floats, df: float) -> float:
    """P(max |t| <= value) from draws of the normal's maximum: the mean of
    P(s >= maximum / value), with df s^2 chi-square; smoother than drawing s too."""
    return float(np.mean(special.chdtrc(df, df * (normal / max(value, 1e-12)) ** 2)))


def _quantile(normal: Floats, df: float, confidence: float) -> float:
    """The inverse of `_below`, by bisection."""
    low, high = 0.0, 1.0
    while _below(high, normal, df) < confidence:
        low, high = high, 2 * high
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (low, middle) if _below(middle, normal, df) > confidence else (middle, high)
    return (low + high) / 2


def _pairs(covariance: Floats) -> Floats:
    """Variances of all differences, shape [G, G], zero on the diagonal."""
    diagonal = np.diag(covariance)
    return np.maximum(0.0, diagonal[:, None] + diagonal[None, :] - 2 * covariance)


def more_trainings(found: Response, trials: int, margin: float) -> int | None:
    """Trainings beside the ones made until the widest pair is known to `margin`.

    The trainings' share of its variance falls as 1 / number, the items' does not; many trainings
    leave many degrees of freedom.

    Returns:
        None if no number of trainings suffices; 0 if it is known as well already.
    """
    variance = float(found.pair_errors.max()) ** 2
    room = (margin / found.pairs_limit) ** 2 - (1 - found.trainings) * variance
    if room <= 0:
        return None
    return max(0, math.ceil(trials * (found.trainings * variance / room - 1)))
