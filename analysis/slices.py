"""Scores by slice: the items of one suite that have one value of a field.

`group` is the slice that rows carry without being asked; others are named by `slices:` in the
spec. Slices are shown and decide nothing. A t interval of few items, or of items that are all
alike, is far too narrow (25 right answers of 25 would be 1 ± 0), so there is none: `unknown`.
"""

from dataclasses import dataclass, replace

import numpy as np

from keepgain.analysis import objectives, stats
from keepgain.analysis.stats import Block, Estimate, Uncertain
from keepgain.analysis.table import SuiteItems
from keepgain.core.items import MIN_SLICE_ITEMS, Floats


@dataclass(frozen=True)
class Slice:
    """Which items."""

    suite: str
    field: str
    value: str


@dataclass(frozen=True)
class SliceFigure:
    """What is estimated on a slice: the score, or the gain over the base."""

    of: Slice
    gain: bool


@dataclass(frozen=True)
class SliceEstimate:
    """One configuration on one slice."""

    of: Slice
    score: Estimate
    """In the suite's own unit and direction."""
    gain: Estimate
    """Against the base, item by item; up is good on every suite, so forgetting is negative."""


def slices_of(suite: SuiteItems) -> tuple[Slice, ...]:
    """All slices of a suite, values in their order as text."""
    return tuple(
        Slice(suite.info.name, field, str(value))
        for field, values in suite.slices.items()
        for value in np.unique(values)
        if value
    )


def slice_block(
    figure: SliceFigure, suite: SuiteItems, scores: Floats, base: Floats | None
) -> Block | None:
    """The item terms of one configuration.

    Args:
        scores: Shape [n items of the suite, S seeds].
        base: Of its base model, shape [n, 1]; None if it was not scored.

    Returns:
        Shape [n items of the slice, S]; None for a gain without a base.
    """
    values = scores
    if figure.gain:
        if base is None:
            return None
        values = -objectives.drop_block(suite, scores, base).values
    inside = suite.slices[figure.of.field] == figure.of.value
    return Block(values[inside], suite.weights[inside], suite.clusters_of(inside))


def cautious(uncertain: Uncertain | None, confidence: float = stats.CONFIDENCE) -> Estimate:
    """The estimate, without an interval where a t interval would pretend to know."""
    known = careful(uncertain)
    return Estimate() if known is None else known.estimate(confidence)


def careful(uncertain: Uncertain | None) -> Uncertain | None:
    """The same for what is not put into an estimate yet."""
    if uncertain is None:
        return None
    if uncertain.n_items < MIN_SLICE_ITEMS or uncertain.item_variance == 0:
        return replace(uncertain, method=stats.UNKNOWN)
    return uncertain
