"""Joint draws of all suite scores: one item draw for all configurations, seeds independent.

Item draws are multinomial (the bootstrap), of clusters where the data name them, and shared by all
configurations, so that what is paired stays paired. A trial's seed effect is drawn from the
covariance pooled over its size's replicates, divided by its number of seeds, with one chi-square
draw per size for the uncertainty of that covariance (a multivariate t). The pooled covariance
divides by S - 1, which is the same as drawing seed deviations scaled by sqrt(S / (S - 1)).
"""

from collections.abc import Sequence

import numpy as np

from keepgain.analysis.measures import Measures
from keepgain.analysis.stats import Block
from keepgain.analysis.table import Codes, Configuration, SuiteItems
from keepgain.core.config import Split
from keepgain.core.items import Floats

SEED = 20260
"""Draws are part of the result: the same evidence always gives the same figures."""
_CHUNK = 250
"""Draws, or configurations, held in memory at once; more do not go faster."""


def draw_scores(
    measures: Measures, split: Split, who: Sequence[Configuration], draws: int, seed: int = SEED
) -> dict[str, Floats] | None:
    """Draws of every configuration's mean score on every suite of a split.

    Args:
        who: All scored on `split`; an arm that lacks a suite gets NaN there.

    Returns:
        Suite → shape [draws, len(who)]; None if the seed variance of any trial's size is unknown,
        or a suite has a single item or cluster, whose own variance is.
    """
    rng = np.random.default_rng(seed)
    suites = measures.table.suites[split]
    if any(suite.draws < 2 for suite in suites.values()):
        return None
    noise = _seed_noise(measures, split, who, draws, rng)
    if noise is None:
        return None
    drawn: dict[str, Floats] = {}
    for k, (name, suite) in enumerate(suites.items()):
        columns = np.column_stack(
            [
                c.scores[split][name].mean(axis=1)
                if name in c.scores[split]
                else np.full(len(suite.weights), np.nan)
                for c in who
            ]
        )
        drawn[name] = _item_draws(suite, columns, draws, rng) + noise[:, :, k]
    return drawn


def _item_draws(suite: SuiteItems, columns: Floats, draws: int, rng: np.random.Generator) -> Floats:
    """Weighted means of `columns` [n, C] under resampled items, shape [draws, C]."""
    groups = suite.draws
    # Sums within clusters: of the weighted scores, and of the weights as the last column.
    weighted = np.column_stack([columns * suite.weights[:, None], suite.weights])
    sums = _by_draw(weighted, suite.clusters)
    drawn = np.empty((draws, columns.shape[1]))
    for start in range(0, draws, _CHUNK):
        size = min(_CHUNK, draws - start)
        picks = rng.integers(groups, size=(size, groups), dtype=np.int32)
        picks += (np.arange(size, dtype=np.int32) * groups)[:, None]
        counts = np.bincount(picks.ravel(), minlength=size * groups).reshape(size, groups)
        totals = counts.astype(np.float64) @ sums
        drawn[start : start + size] = totals[:, :-1] / totals[:, -1:]
    return drawn


def _by_draw(rows: Floats, clusters: Codes | None) -> Floats:
    """Sums of rows [n, C] within clusters, shape [clusters, C]; the rows where there are none."""
    if clusters is None:
        return rows
    sums = np.zeros((int(clusters.max()) + 1, rows.shape[1]))
    np.add.at(sums, clusters, rows)
    return sums


def _seed_noise(
    measures: Measures,
    split: Split,
    who: Sequence[Configuration],
    draws: int,
    rng: np.random.Generator,
) -> Floats | None:
    """Shape [draws, C, K suites]; zero for bases and arms, which have no training seed."""
    suites = measures.table.suites[split]
    noise = np.zeros((len(who), draws, len(suites)))
    for model in sorted({c.model for c in who if c.kind == "trial"}):
        pooled = measures.seed_covariance(model, split)
        if pooled is None:
            return None
        covariance, df = pooled
        values, vectors = np.linalg.eigh(covariance)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        spread = np.sqrt(df / rng.chisquare(df, size=draws))
        mine = [n for n, c in enumerate(who) if c.kind == "trial" and c.model == model]
        for at in range(0, len(mine), _CHUNK):
            chunk = mine[at : at + _CHUNK]
            normal = rng.standard_normal((len(chunk), draws, len(suites))) @ root.T
            seeds = np.sqrt([who[n].seeds(split) for n in chunk])
            noise[chunk] = normal * spread[:, None] / seeds[:, None, None]
    return noise.swapaxes(0, 1)


def deviations(
    measures: Measures,
    split: Split,
    who: Sequence[Configuration],
    objective: str,
    draws: int,
    *,
    seeds: bool = True,
    seed: int = SEED,
) -> Floats:
    """Joint draws of the errors of one objective of many configurations.

    Items by the Gaussian multiplier bootstrap, one normal weight for each item or cluster shared by
    all configurations: their variance is `stats.mean_variance` (Chernozhukov, Chetverikov & Kato,
    Annals of Statistics 41, 2013, for maxima over many). Seeds as in `draw_scores`. In the
    memory of one matrix, for any number of trials.

    Args:
        who: All with this objective on `split`.
        seeds: False: errors from items alone.

    Returns:
        Shape [draws, len(who)]; NaN for trials of a size whose seed variance is unknown, and for
        all where a suite has a single item or cluster.
    """
    rng = np.random.default_rng(seed)
    terms = [_averaged(measures, c, split, objective) for c in who]
    found = np.zeros((draws, len(who)))
    for parts in zip(*terms, strict=True):
        suite = parts[0]
        values = np.column_stack([p.values[:, 0] for p in parts])
        share = suite.weights / suite.weights.sum()
        errors = share[:, None] * (values - share @ values)
        errors = _by_draw(errors, suite.clusters)
        groups = len(errors)
        if groups < 2:
            return np.full((draws, len(who)), np.nan)
        weights = rng.standard_normal((draws, groups)) * np.sqrt(groups / (groups - 1))
        found += weights @ errors
    for model in sorted({c.model for c in who if c.kind == "trial"} if seeds else ()):
        at = [n for n, c in enumerate(who) if c.kind == "trial" and c.model == model]
        pooled = measures.seed_variance(model, split, objective)
        if pooled is None:
            found[:, at] = np.nan
            continue
        # What is uncertain is the variance between runs, not only the part that items leave.
        between = pooled.between * pooled.df / rng.chisquare(pooled.df, size=(draws, 1))
        spread = np.sqrt(np.maximum(0.0, between - pooled.interaction))
        share = 1 / np.sqrt(np.array([who[n].seeds(split) for n in at]))
        found[:, at] += rng.standard_normal((draws, len(at))) * share * spread
    return found


def _averaged(
    measures: Measures, who: Configuration, split: Split, objective: str
) -> tuple[Block, ...]:
    blocks = measures.blocks(who, split, objective)
    assert blocks is not None
    return tuple(b.averaged() for b in blocks)
