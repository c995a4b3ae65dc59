"""Who could be best: the trials that the data cannot tell from the best one.

Trial j is in the set unless the test of "j is the best" rejects: the lead of the trial with the
highest score over j is above what noise alone gives the highest of all over j, at the least
favourable truth that all are equal. Inverting these tests gives a set that holds the true best with
the confidence asked for, without a correction for the number of trials, since only the test of the
true best has to be right (Hsu, Annals of Statistics 9, 1981; Mogstad, Romano, Shaikh & Wilhelm,
Review of Economic Studies 91, 2024). What noise gives comes from joint draws, so that shared
items count as paired.

Clear losers would widen what noise gives the others, so the test is made twice: at .005
over all, and at what is left of the error among those that stay (two steps: Romano, Shaikh & Wolf,
Econometrica 82, 2014).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from keepgain.analysis.measures import Measures
from keepgain.analysis.stats import CONFIDENCE
from keepgain.analysis.table import Configuration
from keepgain.core.config import Split
from keepgain.core.items import Floats
from keepgain.core.record import Question

FIRST_STEP = 0.005
"""Error spent on leaving out clear losers."""
_CHUNK = 100
"""Draws compared at once; more do not go faster."""


@dataclass(frozen=True)
class BestSet:
    """The trials of one base model, or of all, that could have the best task score."""

    model: str | None
    """None: over all base models, on levels."""
    field: tuple[str, ...]
    """Ids of the trials that were compared: those that keep the question's limits as measured."""
    trials: tuple[str, ...] | None
    """Ids of those that could be best, best first; None where the seed variance is unknown."""
    cheapest: str | None
    """Of `trials`, by the question's cost, else by training; None if nothing tells them apart."""
    confidence: float = CONFIDENCE


def could_be_best(
    values: Floats, noise: Floats, confidence: float = CONFIDENCE
) -> npt.NDArray[np.bool_]:
    """Which of the values could belong to the best.

    Args:
        values: Shape [C], more is better.
        noise: Joint draws of their errors, shape [draws, C], in the same direction.

    Returns:
        Shape [C].
    """
    alive = np.ones(len(values), dtype=bool)
    for error in (FIRST_STEP, 1 - confidence - FIRST_STEP):
        behind = values[alive].max() - values
        count = np.zeros(len(values), dtype=np.int64)
        for start in range(0, len(noise), _CHUNK):
            some = noise[start : start + _CHUNK]
            highest = np.where(alive, some, -np.inf).max(axis=1, keepdims=True)
            count += (highest - some >= behind).sum(axis=0)
        alive &= count > error * len(noise)
    return alive


def best_set(
    measures: Measures,
    split: Split,
    who: Sequence[Configuration],
    noise: Floats,
    question: Question,
    model: str | None = None,
) -> BestSet | None:
    """The set by task score; None for an empty field.

    Args:
        who: Trials with a task score on `split`, all of which keep the limits.
        noise: `draws.deviations` of their task scores, shape [draws, len(who)].
        model: The base model of all of them; None for several.
    """
    if not who:
        return None
    ids = tuple(c.trial_id for c in who)
    if np.isnan(noise[0]).any():
        return BestSet(model, ids, None, None)
    sign = measures.sign("task_score")
    values = sign * np.array([measures.point(c, split, "task_score") for c in who], np.float64)
    inside = np.flatnonzero(could_be_best(values, sign * noise)).tolist()
    order = sorted(inside, key=lambda i: -float(values[i]))
    best = [who[i] for i in order]
    return BestSet(model, ids, tuple(c.trial_id for c in best), cheapest(best, question.cost))


def cheapest(who: Sequence[Configuration], cost: str) -> str | None:
    """The trial that costs least: by `cost`, equal ones by training FLOPs, then training time.

    None if all cost the same, or some have no such figure.
    """
    for name in (cost, "train_flops", "train_seconds"):
        figures = [c.cost.get(name) for c in who]
        known = [f for f in figures if f is not None]
        if len(known) < len(who):
            return None
        least = min(known, default=0.0)
        first = [c for c, f in zip(who, known, strict=True) if f == least]
        if len(first) == 1:
            return first[0].trial_id
        if len(first) < len(who):
            who = first
    return None
