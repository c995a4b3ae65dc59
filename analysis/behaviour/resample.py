"""Draws of items and seeds, for figures that are no means: the least of several, errors of bins.

Items are drawn with replacement, clusters whole where the data name them. The same draws serve the
tuned model and its base, so that their difference stays paired.

Seeds are too few to be drawn from: of three, a resample shows too little spread and nothing of how
badly three show it. So their effect is normal with the variance they have, divided in every draw by
a chi-square over its degrees of freedom, which gives Student's interval where items do not vary
(Box & Tiao, *Bayesian Inference in Statistical Analysis*, 1973, ch. 2). One seed shows none of its
own variance; the interval then comes from items alone and its method says so.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from keepgain.analysis.draws import SEED
from keepgain.analysis.stats import CONFIDENCE, UNKNOWN, Block, Estimate, pool_seeds
from keepgain.analysis.table import SuiteItems
from keepgain.core.items import Floats

DRAWS = 1000
ITEMS = "items_percentile_bootstrap"
"""2.5 and 97.5 % of draws of items alone."""
ITEMS_AND_SEEDS = "items_and_seeds_percentile_bootstrap"
"""The same of draws of items and of the effect of this configuration's own seeds."""
_CELLS = 4_000_000
"""Counts in memory at once."""


def item_counts(suite: SuiteItems, draws: int = DRAWS, seed: int = SEED) -> Iterator[Floats]:
    """How often each item was drawn, in chunks of shape [some draws, n]; always the same."""
    rng = np.random.default_rng(seed)
    n, groups = len(suite.weights), suite.draws
    chunk = max(1, _CELLS // max(n, groups))
    for start in range(0, draws, chunk):
        size = min(chunk, draws - start)
        picks = rng.integers(groups, size=(size, groups)) + np.arange(size)[:, None] * groups
        drawn = np.bincount(picks.ravel(), minlength=size * groups).reshape(size, groups)
        counts = drawn if suite.clusters is None else drawn[:, suite.clusters]
        yield counts.astype(np.float64)


def seed_weights(seeds: int, draws: int = DRAWS, seed: int = SEED + 1) -> Floats:
    """Weight of each seed in the mean over seeds, shape [draws, seeds]; rows sum to 1.

    Of values of seeds the weighted sums are distributed as Student's t about their mean.
    """
    if seeds < 2:
        return np.ones((draws, seeds))
    rng = np.random.default_rng(seed)
    normal = rng.standard_normal((draws, seeds))
    apart = (normal - normal.mean(axis=1, keepdims=True)) / math.sqrt(seeds * (seeds - 1))
    return np.asarray(1 / seeds + apart * _tails(rng, draws, seeds - 1)[:, None])


def _tails(rng: np.random.Generator, draws: int, df: int) -> Floats:
    """Factors that make normal draws Student's, shape [draws]."""
    return np.asarray(np.sqrt(df / rng.chisquare(df, size=draws)))


@dataclass(frozen=True)
class Drawn:
    """A figure and its draws."""

    value: float
    draws: Floats
    """Shape [draws]; NaN where it cannot be computed."""
    n_items: int
    n_seeds: int

    def minus(self, other: "Drawn") -> "Drawn":
        """The paired difference of two figures of the same draws."""
        n, seeds = min(self.n_items, other.n_items), max(self.n_seeds, other.n_seeds)
        return Drawn(self.value - other.value, self.draws - other.draws, n, seeds)

    def estimate(self) -> Estimate:
        """With the percentile interval; without one where draws are all alike or one in twenty has
        no figure: too few items."""
        if np.isnan(self.value):
            return Estimate(n_items=self.n_items, n_seeds=self.n_seeds)
        known = self.draws[np.isfinite(self.draws)]
        if len(known) < 0.95 * len(self.draws) or np.ptp(known) == 0:
            return Estimate(self.value, None, None, self.n_items, self.n_seeds, UNKNOWN)
        tail = (1 - CONFIDENCE) / 2
        low, high = (float(q) for q in np.quantile(known, (tail, 1 - tail)))
        method = ITEMS if self.n_seeds < 2 else ITEMS_AND_SEEDS
        return Estimate(self.value, low, high, self.n_items, self.n_seeds, method)


@dataclass(frozen=True)
class PartMeans:
    """Weighted means of parts of a suite, as they are and in every draw."""

    values: Floats
    """Shape [parts], mean over seeds."""
    draws: Floats
    """Shape [draws, parts]; NaN where a part had no item."""
    n_seeds: int
    plain: Floats | None = None
    """The same draws with normal effects of seeds, whose variance is finite; None: as `draws`."""


def part_means(
    suite: SuiteItems, inside: Floats, sides: Sequence[Floats], draws: int = DRAWS
) -> list[PartMeans]:
    """Means of each part for each side, all on the same draws of items.

    A seed moves all parts together and each by itself, the latter by one variance, which all parts
    tell of: (S - 1)(parts - 1) degrees of freedom instead of the S - 1 of one part.

    Args:
        suite: Its weights and clusters.
        inside: Shape [n, parts]; 1 where an item belongs to the part, which is one at most.
        sides: Scores of shape [n, S] each: tuned, and its base if there is one.
    """
    shares = inside * suite.weights[:, None]
    columns = [shares, *(shares * side.mean(axis=1, keepdims=True) for side in sides)]
    stacked = np.concatenate(columns, axis=1)
    parts = inside.shape[1]
    sums = np.concatenate(
        [stacked.sum(axis=0)[None], *(c @ stacked for c in item_counts(suite, draws))]
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        means = sums.reshape(-1, 1 + len(sides), parts)[:, 1:] / sums[:, None, :parts]
    found = []
    for k, side in enumerate(sides):
        plain, tailed = _seed_effects(suite, inside, side, draws)
        value, drawn = means[0, k], means[1:, k]
        found.append(PartMeans(value, drawn + tailed, side.shape[1], drawn + plain))
    return found


def _seed_effects(
    suite: SuiteItems, inside: Floats, side: Floats, draws: int
) -> tuple[Floats, Floats]:
    """Draws of what seeds do to the mean of each part, shape [draws, parts]: normal ones, and the
    same as Student's t. Zeros for one seed."""
    seeds, parts = side.shape[1], inside.shape[1]
    if seeds < 2 or not parts:
        return np.zeros((draws, parts)), np.zeros((draws, parts))
    rng = np.random.default_rng(SEED + 1)
    shares = inside * suite.weights[:, None]
    means = side.T @ shares / shares.sum(axis=0)  # [seeds, parts]
    of_items = _interaction(suite, inside, side)
    together = means.mean(axis=1)
    squares = float(np.sum((together - together.mean()) ** 2)) / (seeds - 1)
    reach = math.sqrt(max(0.0, squares - of_items / parts) / seeds)
    plain = reach * np.repeat(rng.standard_normal((draws, 1)), parts, axis=1)
    tailed = plain * _tails(rng, draws, seeds - 1)[:, None]
    if parts > 1:
        df = (seeds - 1) * (parts - 1)
        rest = means - together[:, None] - means.mean(axis=0) + together.mean()
        reach = math.sqrt(max(0.0, float(np.sum(rest**2)) / df - of_items) / seeds)
        each = rng.standard_normal((draws, parts))
        each = reach * (each - each.mean(axis=1, keepdims=True))
        plain = plain + each
        tailed = tailed + each * _tails(rng, draws, df)[:, None]
    return plain, tailed


def _interaction(suite: SuiteItems, inside: Floats, side: Floats) -> float:
    """What items add to the variance of one seed's mean of a part, on average over parts: draws of
    items show it already."""
    found = 0.0
    for mask in inside.T > 0:
        block = Block(side[mask], suite.weights[mask], suite.clusters_of(mask))
        pooled = pool_seeds([[block]])
        found += pooled.interaction if pooled is not None else 0.0
    return found / inside.shape[1]
