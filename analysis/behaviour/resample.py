"""Draws of items and seeds, for figures that are no means: the least of several, errors of bins.

Items are drawn with replacement, clusters whole where the data name them. The same draws serve the
tuned model and its base, so that their difference stays paired. Seeds are drawn too where there are
two or more: their deviations are scaled by sqrt(S / (S - 1)), because S draws out of S show too
little spread. One seed shows none of its own variance; the interval then comes from items alone and
its method says so.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from keepgain.analysis.draws import SEED
from keepgain.analysis.stats import CONFIDENCE, UNKNOWN, Estimate
from keepgain.analysis.table import SuiteItems
from keepgain.core.items import Floats

DRAWS = 1000
ITEMS = "items_percentile_bootstrap"
"""2.5 and 97.5 % of draws of items alone."""
ITEMS_AND_SEEDS = "items_and_seeds_percentile_bootstrap"
"""The same of draws of items and of this configuration's own seeds."""
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
    """Weight of each seed in the mean over seeds, shape [draws, seeds]; rows sum to 1."""
    if seeds < 2:
        return np.ones((draws, seeds))
    counts = np.random.default_rng(seed).multinomial(seeds, np.full(seeds, 1 / seeds), size=draws)
    return np.asarray(1 / seeds + np.sqrt(seeds / (seeds - 1)) * (counts - 1) / seeds)


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


def part_means(
    suite: SuiteItems, inside: Floats, sides: Sequence[Floats], draws: int = DRAWS
) -> list[PartMeans]:
    """Means of each part for each side, all on the same draws of items.

    Args:
        suite: Its weights and clusters.
        inside: Shape [n, parts]; 1 where an item belongs to the part.
        sides: Scores of shape [n, S] each: tuned, and its base if there is one.
    """
    shares = inside * suite.weights[:, None]
    columns = [shares, *(shares * side[:, [s]] for side in sides for s in range(side.shape[1]))]
    stacked = np.concatenate(columns, axis=1)
    parts = inside.shape[1]
    sums = np.concatenate(
        [stacked.sum(axis=0)[None], *(c @ stacked for c in item_counts(suite, draws))]
    )
    totals = sums[:, :parts]
    found, at = [], parts
    for side in sides:
        seeds = side.shape[1]
        block = sums[:, at : at + seeds * parts].reshape(-1, seeds, parts)
        at += seeds * parts
        weights = np.concatenate([np.full((1, seeds), 1 / seeds), seed_weights(seeds, draws)])
        with np.errstate(invalid="ignore", divide="ignore"):
            means = np.einsum("ds,dsp->dp", weights, block) / totals
        found.append(PartMeans(means[0], means[1:], seeds))
    return found
