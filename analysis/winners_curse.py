"""The winner's curse: how much of the best validation score is the luck that made it the best.

The best of N noisy scores lies above its own true score; with N equal trials by the expected
maximum of N errors. Correction by empirical Bayes: the true scores of a size's trials come from a
mixture of at most four normals (fitted to the scores, with the errors' variances known), and the
expected true score of the winner is its posterior mean. That needs no further correction for having
been selected (Efron, Journal of the American Statistical Association 106, 2011). With equal trials
the fitted spread is about 0 and the winner falls back to the mean; with trials far apart it keeps
its score. Several components, as many as AIC says, keep a group of failed trials from passing for
spread among the good ones.

Errors shared by all trials (harder items) move no rank, so they are taken out of the variances.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keepgain.analysis.draws import deviations
from keepgain.analysis.measures import Measures
from keepgain.analysis.table import Configuration
from keepgain.core.config import Split
from keepgain.core.items import Floats

MAX_COMPONENTS = 4
MIN_PER_COMPONENT = 4
"""Trials for each component of the mixture: fewer would fit their own noise."""
_STEPS = 100
_LOST = 5 / 3
"""A sum of squares around its mean over n - 5/3 is the median-unbiased variance. Over n - 1, a
spread is found too small half the time and the winner of ten trials falls back too far."""


@dataclass(frozen=True)
class Luck:
    """The score of a selected trial, and what of it is expected to stay."""

    trial: str
    model: str
    split: Split
    trials: int
    """Trials of the size that it was selected from, itself included."""
    score: float
    expected: float
    """Posterior mean of its true task score; in the suites' unit and direction."""
    seeds_counted: bool
    """False: the seed variance is unknown and only the luck of the items is taken off. The figure
    then is of these very weights, not of their settings."""


def luck_of_the_best(
    measures: Measures, split: Split, who: Sequence[Configuration], noise: Floats
) -> Luck | None:
    """What of the best task score of a size is luck; None for fewer than two trials.

    Args:
        who: What it was selected from, all with a task score on `split`.
        noise: `draws.deviations` of their task scores, shape [draws, len(who)]; NaN where the seed
            variance is unknown.
    """
    if len(who) < 2:
        return None
    counted = not np.isnan(noise[0]).any()
    if not counted:
        noise = deviations(measures, split, who, "task_score", len(noise), seeds=False)
    values = np.array([measures.point(c, split, "task_score") for c in who], np.float64)
    best = int(np.argmax(measures.sign("task_score") * values))
    expected = float(shrunk(values, own_variance(noise))[best])
    score, winner = float(values[best]), who[best]
    return Luck(winner.trial_id, winner.model, split, len(who), score, expected, counted)


def own_variance(noise: Floats) -> Floats:
    """Variance of each trial's error beside what all trials share.

    Args:
        noise: Joint draws, shape [draws, C], C >= 2.

    Returns:
        Shape [C].
    """
    count = noise.shape[1]
    apart = noise - noise.mean(axis=1, keepdims=True)
    return np.asarray(apart.var(axis=0) * count / (count - 1), dtype=np.float64)


def shrunk(values: Floats, variances: Floats) -> Floats:
    """Posterior means of the true values.

    Args:
        values: Shape [C].
        variances: Of their errors, shape [C].

    Returns:
        Shape [C], by the mixture with the lowest AIC.
    """
    if not np.any(variances > 0) or np.ptp(values) == 0:
        return values
    most = min(MAX_COMPONENTS, max(1, len(values) // MIN_PER_COMPONENT))
    fits = [_fit(values, variances, k) for k in range(1, most + 1)]
    return min(fits, key=lambda f: f[0])[1]


def _fit(values: Floats, variances: Floats, components: int) -> tuple[float, Floats]:
    """AIC and posterior means of a mixture of normals, by expectation maximisation.

    The spread of a component is what its values vary beyond their errors, at least 0.
    """
    floor = max(float(np.mean(variances)), 1e-300)
    noise = np.maximum(variances, 1e-6 * floor)
    means = np.quantile(values, (np.arange(components) + 0.5) / components)
    spreads = np.full(components, float(np.var(values)) / components**2)
    weights = np.full(components, 1 / components)
    for _ in range(_STEPS):
        total = spreads + noise[:, None]
        log = np.log(weights) - 0.5 * (
            np.log(2 * np.pi * total) + (values[:, None] - means) ** 2 / total
        )
        top = log.max(axis=1, keepdims=True)
        likely = np.exp(log - top)
        share = likely / likely.sum(axis=1, keepdims=True)
        mass = np.maximum(share.sum(axis=0), 1e-9)
        precise = share / total
        means = (precise * values[:, None]).sum(axis=0) / np.maximum(precise.sum(axis=0), 1e-300)
        squares = (share * (values[:, None] - means) ** 2).sum(axis=0)
        scatter = squares / np.maximum(mass - _LOST, 1)
        before = spreads
        spreads = np.maximum(0.0, scatter - (share * noise[:, None]).sum(axis=0) / mass)
        weights = mass / mass.sum()
        if np.abs(spreads - before).max() < 1e-4 * floor:
            break
    likelihood = float((top[:, 0] + np.log(likely.sum(axis=1))).sum())
    aic = -2 * likelihood + 2 * (3 * components - 1)
    kept = spreads / (spreads + noise[:, None])
    posterior = (share * (means + kept * (values[:, None] - means))).sum(axis=1)
    return aic, np.asarray(posterior, dtype=np.float64)
