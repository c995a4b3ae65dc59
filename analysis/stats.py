"""Variance of scores from two crossed sources, items and seeds, and the intervals they give.

The model of one score is ``y[i, s] = mean + seed[s] + item[i] + e[i, s]``: one draw of items is
shared by all runs, and every run has its own seed. With n items and S seeds,

    Var(mean) = var(seed) / S  +  ( var(item) + var(e) / S ) / n.

* The second term is the variance of the *seed-averaged* item scores over n: the between-item
  variance of an average over seeds already holds ``var(e) / S``.
* The observed variance V between the seeds' means is ``var(seed) + var(e) / n``. Adding V / S to
  the second term would count ``var(e) / (n S)`` twice, so the interaction's share I = var(e) / n,
  estimated from the residuals, is taken off: ``var(seed) = max(0, V - I)``.

This is the two-way random model with one observation a cell, Var = (MS_item + MS_seed - MS_e) / nS
(Searle, Casella & McCulloch, *Variance Components*, 1992, ch. 4). V and I are pooled over all
replicated configurations of a size, weighted by their degrees of freedom, and apply to its
unreplicated ones too. Degrees of freedom of the sum: Satterthwaite (Biometrics Bulletin 2, 1946).

Means are weighted (bytes, for bits per byte) and items may be clustered: the linearised, clustered
variance of a weighted mean (Cochran, *Sampling Techniques*, 1977, ch. 6; Miller 2024, arXiv
2411.00640).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special  # scipy.stats takes a second to import

from keepgain.core.items import Floats

CONFIDENCE = 0.95
_NORMAL = 1e6
"""Degrees of freedom from which Student's t is the normal."""

ITEMS_AND_SEEDS = "items_and_pooled_seeds_t"
"""Two-sided t interval: item variance and pooled seed variance, Satterthwaite df."""
ITEMS_ONLY = "items_only_t"
"""Two-sided t interval over items: bases and prompts, which have no training seed."""
UNKNOWN = "unknown"
"""No interval: no configuration of this size was trained twice, so its seed variance is unknown."""
DESCRIPTION = "description_only"
"""No interval on purpose: a maximum of noisy figures is biased upwards."""


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval; `value` None where it cannot be computed."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n_items: int = 0
    n_seeds: int = 0
    interval_method: str | None = None


@dataclass(frozen=True)
class Block:
    """One suite's item terms; an estimate is the sum of its blocks' weighted means."""

    values: Floats
    """Shape [n items, S seeds]."""
    weights: Floats
    """Shape [n]."""
    clusters: npt.NDArray[np.int64] | None = None
    """Shape [n], cluster index of each item; None: items are independent."""

    def means(self) -> Floats:
        """Weighted mean of each seed, shape [S]."""
        return np.asarray(self.weights @ self.values / self.weights.sum(), dtype=np.float64)

    def averaged(self) -> "Block":
        """The same with one column, the mean over seeds."""
        return Block(self.values.mean(axis=1, keepdims=True), self.weights, self.clusters)


@dataclass(frozen=True)
class SeedVariance:
    """Seed variance of one quantity, pooled over the replicated configurations of a size."""

    between: float
    """V: variance between seeds' means; unit of the quantity, squared."""
    interaction: float
    """I: the part of V that comes from the finite number of items."""
    df: int
    """Sum over configurations of S - 1."""

    @property
    def component(self) -> float:
        """Variance of a single run that more items would not remove, not below 0."""
        return max(0.0, self.between - self.interaction)


@dataclass(frozen=True)
class Uncertain:
    """A value with the variance terms behind it, ready for any bound."""

    value: float
    n_items: int
    n_seeds: int
    terms: tuple[tuple[float, float], ...]
    """(variance, degrees of freedom) of each source; the interaction's is negative."""
    item_variance: float
    """Variance from items alone: falls as 1 / n."""
    method: str

    @property
    def known(self) -> bool:
        """False if the seed variance could not be estimated."""
        return self.method != UNKNOWN

    @property
    def variance(self) -> float:
        """Total, not below the items' own."""
        return max(self.item_variance, math.fsum(v for v, _ in self.terms))

    @property
    def df(self) -> float:
        """Satterthwaite's degrees of freedom, infinite without variance.

        A sum of variances never has fewer than its poorest source; the approximation can go below
        that when a term is taken off, so it is kept from it.
        """
        used = [(v, df) for v, df in self.terms if v]
        spread = math.fsum(v * v / df for v, df in used)
        if spread <= 0:
            return math.inf
        return max(self.variance**2 / spread, min(df for _, df in used))

    def lower(self, confidence: float = CONFIDENCE) -> float | None:
        """One-sided lower bound; None if unknown."""
        return self._bound(-1.0, confidence)

    def upper(self, confidence: float = CONFIDENCE) -> float | None:
        """One-sided upper bound; None if unknown."""
        return self._bound(1.0, confidence)

    def _bound(self, side: float, confidence: float) -> float | None:
        reach = self._reach(confidence)
        return None if reach is None else self.value + side * reach

    def _reach(self, confidence: float) -> float | None:
        """From the value to a one-sided bound."""
        if not self.known:
            return None
        variance = self.variance
        return t_quantile(confidence, self.df) * math.sqrt(variance) if variance else 0.0

    def p_value(self) -> float | None:
        """Two-sided, of the true value being 0; None if unknown."""
        if not self.known:
            return None
        if self.variance == 0:
            return 1.0 if self.value == 0 else 0.0
        t = abs(self.value) / math.sqrt(self.variance)
        return 2 * float(special.ndtr(-t) if self.df > _NORMAL else special.stdtr(self.df, -t))

    def estimate(self, confidence: float = CONFIDENCE) -> Estimate:
        """The value with its two-sided interval."""
        reach = self._reach((1 + confidence) / 2)
        low, high = (None, None) if reach is None else (self.value - reach, self.value + reach)
        return Estimate(self.value, low, high, self.n_items, self.n_seeds, self.method)


def t_quantile(probability: float, df: float) -> float:
    """Student's t quantile; the normal one for very many degrees of freedom."""
    if df > _NORMAL:
        return float(special.ndtri(probability))
    return float(special.stdtrit(df, probability))


def mean_variance(values: Floats, weights: Floats, clusters: npt.NDArray[np.int64] | None) -> float:
    """Sampling variance of a weighted mean of item values.

    Args:
        values: Shape [n].
        weights: Shape [n], positive.
        clusters: Shape [n] or None.

    Returns:
        ``G/(G-1) * sum_g (sum_{i in g} w_i (x_i - mean) / W)^2`` over G clusters (each item its own
        cluster where None); s^2 / n for equal weights. Infinite for a single cluster.
    """
    total = weights.sum()
    parts = weights * (values - weights @ values / total) / total
    if clusters is not None:
        parts = np.bincount(clusters, weights=parts)
    groups = len(parts)
    return float(groups / (groups - 1) * parts @ parts) if groups > 1 else math.inf


def _groups(block: Block) -> int:
    return len(block.weights) if block.clusters is None else int(block.clusters.max()) + 1


def pool_seeds(configurations: Sequence[Sequence[Block]]) -> SeedVariance | None:
    """Pooled seed variance of one quantity.

    Args:
        configurations: The blocks of each configuration; those with one seed teach nothing.

    Returns:
        None if no configuration has two seeds.
    """
    squares = interaction = 0.0
    df = 0
    for blocks in configurations:
        seeds = blocks[0].values.shape[1] if blocks else 0
        if seeds < 2:
            continue
        run_values = np.sum([b.means() for b in blocks], axis=0)
        squares += float(np.sum((run_values - run_values.mean()) ** 2))
        for b in blocks:
            rest = b.values - b.values.mean(axis=1, keepdims=True)
            interaction += sum(
                mean_variance(rest[:, s], b.weights, b.clusters) for s in range(seeds)
            )
        df += seeds - 1
    return SeedVariance(squares / df, interaction / df, df) if df else None


def combine(
    blocks: Sequence[Block], seeds: Sequence[tuple[SeedVariance | None, float]], n_seeds: int
) -> Uncertain:
    """A value and its uncertainty.

    Args:
        blocks: Item terms averaged over seeds, shape [n, 1] each; the value is the sum of means.
            Suites are independent draws of items, so their variances add.
        seeds: (pooled variance, sum of 1/S) of each size that takes part; empty for what has no
            training seed; a None variance makes the whole unknown.
        n_seeds: To report.
    """
    means = [float(b.means()[0]) for b in blocks]
    variances = [mean_variance(b.values[:, 0], b.weights, b.clusters) for b in blocks]
    return _summed(means, variances, _Fixed.of(blocks, seeds, n_seeds))


def combine_own_seeds(blocks: Sequence[Block]) -> Uncertain:
    """The same where only the configuration's own seeds tell of the variance between trainings.

    Args:
        blocks: Shape [n, S] each. With one seed the interval is that of this model, over items, and
            the method says so.
    """
    seeds = blocks[0].values.shape[1]
    pooled = pool_seeds([blocks])
    terms = [] if pooled is None else [(pooled, 1 / seeds)]
    return combine([b.averaged() for b in blocks], terms, seeds)


def combine_columns(
    blocks: Sequence[Block], seeds: Sequence[tuple[SeedVariance | None, float]], n_seeds: int
) -> list[Uncertain]:
    """As `combine` for many configurations at once, to the last bit.

    Args:
        blocks: One configuration a column, shape [n, C] each.
        seeds: Of every configuration, as `n_seeds`.
    """
    rows = [np.ascontiguousarray(b.values.T) for b in blocks]
    means = [_row_means(r, b.weights) for r, b in zip(rows, blocks, strict=True)]
    variances = [_row_variances(r, b) for r, b in zip(rows, blocks, strict=True)]
    fixed = _Fixed.of(blocks, seeds, n_seeds)
    of_each = zip(zip(*means, strict=True), zip(*variances, strict=True), strict=True)
    return [_summed(m, v, fixed) for m, v in of_each]


def _row_means(rows: Floats, weights: Floats) -> list[float]:
    # One product a row, as `Block.means` takes it: all rows in one product add in another order.
    sums = np.array([(weights @ row[:, None])[0] for row in rows])
    means: list[float] = (sums / weights.sum()).tolist()
    return means


def _row_variances(rows: Floats, block: Block) -> list[float]:
    """`mean_variance` of each row."""
    weights, n = block.weights, rows.shape[1]
    if block.clusters is not None or n < 2:
        return [mean_variance(row, weights, block.clusters) for row in rows]
    total = weights.sum()
    centres = np.array([weights @ row for row in rows]) / total
    parts = weights * (rows - centres[:, None]) / total
    scaled = n / (n - 1) * parts
    return [float(a @ b) for a, b in zip(scaled, parts, strict=True)]


@dataclass(frozen=True)
class _Fixed:
    """What does not depend on the scores."""

    df: tuple[float, ...]
    """Of the items, by block."""
    n_items: int
    n_seeds: int
    seeds: tuple[tuple[float, float], ...]
    """The terms of the seeds."""
    method: str

    @staticmethod
    def of(
        blocks: Sequence[Block], seeds: Sequence[tuple[SeedVariance | None, float]], n_seeds: int
    ) -> "_Fixed":
        n_items = sum(len(b.weights) for b in blocks)
        terms: list[tuple[float, float]] = []
        for seed, share in seeds:
            if seed is not None:
                terms.append((seed.between * share, float(seed.df)))
                removed = min(seed.interaction, seed.between) * share
                terms.append((-removed, float(seed.df * max(1, n_items - 1))))
        method = ITEMS_AND_SEEDS if seeds else ITEMS_ONLY
        if any(s is None for s, _ in seeds):
            method = UNKNOWN
        df = tuple(max(1.0, _groups(b) - 1.0) for b in blocks)
        return _Fixed(df, n_items, n_seeds, tuple(terms), method)


def _summed(means: Sequence[float], variances: Sequence[float], fixed: _Fixed) -> Uncertain:
    item_variance = math.fsum(variances)
    method = fixed.method if math.isfinite(item_variance) else UNKNOWN
    terms = (*zip(variances, fixed.df, strict=True), *fixed.seeds)
    value = math.fsum(means)
    return Uncertain(value, fixed.n_items, fixed.n_seeds, terms, item_variance, method)


def items_needed(
    uncertain: Uncertain, distance: float, power: float = 0.8, confidence: float = CONFIDENCE
) -> int | None:
    """Items with which a one-sided bound would clear a threshold `distance` away.

    ``n = n_now * item_variance / (distance^2 / (z_conf + z_power)^2 - seed_variance)``: the usual
    sample size for paired differences (for exact match, their variance is the discordance minus
    the squared difference; Connor, Biometrics 43, 1987), with the seeds' share taken off.

    Returns:
        None if no number of items suffices, since the seeds alone are noisier than that.
    """
    z = float(special.ndtri(confidence) + special.ndtri(power))
    seed_part = max(0.0, uncertain.variance - uncertain.item_variance)
    room = (distance / z) ** 2 - seed_part
    if room <= 0:
        return None
    return math.ceil(uncertain.n_items * uncertain.item_variance / room)


def detectable(
    uncertain: Uncertain, power: float = 0.8, confidence: float = CONFIDENCE
) -> float | None:
    """The smallest true difference that a two-sided test would find, with the data at hand.

    ``(t_(1+conf)/2 + t_power) * standard error``, Student's quantiles at the estimate's degrees of
    freedom (the usual approximation of the noncentral t).

    Returns:
        None if the variance is unknown.
    """
    if not uncertain.known:
        return None
    if uncertain.variance == 0:
        return 0.0
    reach = sum(t_quantile(q, uncertain.df) for q in ((1 + confidence) / 2, power))
    return reach * math.sqrt(uncertain.variance)


def mcnemar(lost: int, won: int) -> float:
    """Exact two-sided McNemar test on one pair of runs: P value (binomial, p = 1/2).

    Args:
        lost: Items right before and wrong after.
        won: Items wrong before and right after.
    """
    if lost + won == 0:
        return 1.0
    return min(1.0, 2 * float(special.bdtr(min(lost, won), lost + won, 0.5)))
