"""The objectives, each as item terms whose means sum to it (science brief, section 1).

Signs: every suite's scores are turned so that more is better (`Metric.sign`) before a difference is
taken. Bits per byte that fall are a gain, bits that rise are forgetting. `task_score` and
`general_score` are levels and keep the suite's own unit and direction.

=====================  ==========================================================================
gain                   mean over gain suites of tuned - base
forgetting             mean over forgetting suites of base - tuned; not clipped at 0
relative_forgetting    mean over forgetting suites of (base - tuned) / (base - chance), so that
                       1 - it is the retention; suites with base - chance < 0.05 are left out
max_forgetting         the largest drop of any forgetting suite; description only
task_score             mean over gain suites
general_score          mean over forgetting suites
normalised_gain        mean over gain suites of (tuned - base) / (1 - base), shares only
clipped_forgetting     mean over forgetting suites of max(0, drop); description only
=====================  ==========================================================================

The last two are descriptions (`DESCRIPTIONS`): in the JSON, and nothing is decided by them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from keepgain.analysis.stats import Block
from keepgain.analysis.table import SuiteItems
from keepgain.core.items import Floats
from keepgain.core.metrics import Direction, metric
from keepgain.core.record import SuiteInfo
from keepgain.core.scorers import in_points, metric_of

NAMES = (
    "gain",
    "forgetting",
    "relative_forgetting",
    "max_forgetting",
    "task_score",
    "general_score",
)
DESCRIPTIONS = ("normalised_gain", "clipped_forgetting")
SINCE_PREVIOUS = "forgetting_since_previous_round"
"""Beside these, of trials that tune a tuned model: forgetting against that model, where
`forgetting` is against the original base. Shown, and nothing is decided by it."""
MIN_ABOVE_CHANCE = 0.05
"""A base this close to chance has nothing to retain: its ratio would be noise over noise."""

Scores = Mapping[str, Floats]
"""Suite → scores of shape [n, S]."""


@dataclass(frozen=True)
class Objective:
    """What a column means."""

    name: str
    direction: Direction
    unit: str
    metric_version: int


def describe(suites: Sequence[SuiteInfo]) -> tuple[Objective, ...]:
    """The objectives with the unit and direction that these suites give them."""
    described = []
    for name in NAMES:
        registered = metric(name)
        unit, direction = registered.unit, registered.direction
        measured = "gain" if name in ("gain", "task_score") else "forgetting"
        scorer = shared_scorer(suites, measured)
        if unit == "suite unit" and scorer is not None:
            unit = metric_of(scorer).unit
        if name in ("task_score", "general_score") and scorer is not None:
            direction = metric_of(scorer).direction
        described.append(Objective(name, direction, unit, registered.version))
    return tuple(described)


def describe_descriptions(suites: Sequence[SuiteInfo]) -> tuple[Objective, ...]:
    """The same for `DESCRIPTIONS`."""
    scorer = shared_scorer(suites, "forgetting")
    unit = "suite unit" if scorer is None else metric_of(scorer).unit
    return (
        Objective("normalised_gain", "maximize", "share of what could be gained", 1),
        Objective("clipped_forgetting", "minimize", unit, 1),
    )


def shared_scorer(suites: Sequence[SuiteInfo], measures: str) -> str | None:
    """The one scorer of the suites that measure `measures`; None if they have none or several."""
    scorers = {s.scorer for s in suites if s.measures == measures}
    return scorers.pop() if len(scorers) == 1 else None


def problems(suites: Sequence[SuiteInfo]) -> tuple[str, ...]:
    """What these suites cannot answer, in words for the reader."""
    found = []
    for measures in ("gain", "forgetting"):
        scorers = sorted({s.scorer for s in suites if s.measures == measures})
        if not scorers:
            found.append(
                "forgetting not measured (the sweep has no forgetting suite)."
                if measures == "forgetting"
                else "gain not measured (the sweep has no gain suite)."
            )
        elif len(scorers) > 1:
            found.append(
                f"the {measures} suites are scored in different units ({', '.join(scorers)}), "
                f"so they have no mean; use one scorer for all {measures} suites."
            )
    return tuple(found)


def near_chance(suites: Mapping[str, SuiteItems], base: Scores) -> tuple[str, ...]:
    """Forgetting suites on which this base is too close to chance for a relative figure."""
    return tuple(
        name
        for name, suite in suites.items()
        if suite.info.measures == "forgetting"
        and name in base
        and _above_chance(suite, base[name]) < MIN_ABOVE_CHANCE
    )


def blocks(
    name: str, suites: Mapping[str, SuiteItems], scores: Scores, base: Scores | None
) -> tuple[Block, ...] | None:
    """The item terms of one objective of one configuration.

    Args:
        name: One of `NAMES` but `max_forgetting`, which is not a mean; or `normalised_gain`.
        suites: The split's suites.
        scores: Of the configuration, [n, S] a suite.
        base: Of its base model, [n, 1] a suite; None if the base was not scored.

    Returns:
        One block a suite, shape [n, S] each, already divided by the number of suites; None where
        the objective cannot be computed (no suite, no base, mixed units).
    """
    measures = "gain" if name in ("gain", "task_score", "normalised_gain") else "forgetting"
    chosen = {n: s for n, s in suites.items() if s.info.measures == measures}
    if not chosen or any(n not in scores for n in chosen):
        return None
    if name != "relative_forgetting" and len({s.info.scorer for s in chosen.values()}) > 1:
        return None
    if name in ("task_score", "general_score"):
        return tuple(_block(s, scores[n] / len(chosen)) for n, s in chosen.items())
    if base is None or any(n not in base for n in chosen):
        return None
    if name == "relative_forgetting":
        dropped = near_chance(suites, base)
        chosen = {n: s for n, s in chosen.items() if n not in dropped}
        if not chosen:
            return None
        return tuple(
            _block(s, _relative(s, scores[n], base[n]) / len(chosen)) for n, s in chosen.items()
        )
    if name == "normalised_gain":
        if not all(in_points(s.info.scorer) and _room(s, base[n]) > 0 for n, s in chosen.items()):
            return None
        return tuple(
            _block(s, _normalised(s, scores[n], base[n]) / len(chosen)) for n, s in chosen.items()
        )
    direction = 1.0 if name == "gain" else -1.0
    return tuple(
        _block(s, direction * s.sign * (scores[n] - _one(base[n])) / len(chosen))
        for n, s in chosen.items()
    )


def drop_block(suite: SuiteItems, scores: Floats, base: Floats) -> Block:
    """Forgetting on one suite: base minus tuned, item by item, positive is worse."""
    return _block(suite, suite.sign * (_one(base) - scores))


def _block(suite: SuiteItems, values: Floats) -> Block:
    return Block(values, suite.weights, suite.clusters)


def _one(base: Floats) -> Floats:
    """A base scored more than once counts as its mean; shape [n, 1]."""
    return np.asarray(base.mean(axis=1, keepdims=True), dtype=np.float64)


def _chance(suite: SuiteItems) -> float:
    return suite.info.chance or 0.0


def _above_chance(suite: SuiteItems, base: Floats) -> float:
    """How far the base is from the floor: score - chance, or the bits themselves."""
    level = float(np.average(_one(base)[:, 0], weights=suite.weights))
    return level - _chance(suite) if suite.sign > 0 else level


def _room(suite: SuiteItems, base: Floats) -> float:
    """What a base could still gain, of 1."""
    return 1 - float(np.average(_one(base)[:, 0], weights=suite.weights))


def _normalised(suite: SuiteItems, scores: Floats, base: Floats) -> Floats:
    """Terms whose mean is (tuned - base) / (1 - base), linearised as in `_relative`: with h the
    ratio, ``h + [(h - 1)(x - mean x) + (y - mean y)] / (1 - base)``."""
    room = _room(suite, base)
    x, w = _one(base), suite.weights
    x_mean = float(np.average(x[:, 0], weights=w))
    y_means = w @ scores / w.sum()
    ratio = (y_means - x_mean) / room
    return np.asarray(
        ratio + ((ratio - 1) * (x - x_mean) + (scores - y_means)) / room, dtype=np.float64
    )


def _relative(suite: SuiteItems, scores: Floats, base: Floats) -> Floats:
    """Terms whose mean is (base - tuned) / (base - chance), linearised in both means.

    The ratio's first-order expansion (delta method) gives each item the term
    ``f + [(sign - f)(x - mean x) - sign (y - mean y)] / (base - chance)``, with f the ratio, x the
    base's and y the tuned score; for bits per byte chance is 0 and f is the relative rise.
    """
    room = _above_chance(suite, base)
    x, w = _one(base), suite.weights
    x_mean = float(np.average(x[:, 0], weights=w))
    # One product a column: all in one may add in another order, and a column has one result.
    y_means = np.array([w @ column for column in np.ascontiguousarray(scores.T)]) / w.sum()
    ratio = suite.sign * (x_mean - y_means) / room
    moved = (suite.sign - ratio) * (x - x_mean) - suite.sign * (scores - y_means)
    return np.asarray(ratio + moved / room, dtype=np.float64)
