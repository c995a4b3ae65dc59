"""Answers' length against the base's: a ratio of two means of the same items."""

import numpy as np

from keepgain.analysis import stats
from keepgain.analysis.behaviour.figure import Figure
from keepgain.analysis.slices import careful
from keepgain.analysis.stats import Block, Estimate
from keepgain.analysis.table import SuiteItems
from keepgain.core.items import Floats


def length_figures(suite: SuiteItems, tuned: Floats, base: Floats | None) -> list[Figure]:
    """Total length of the tuned model's answers over that of its base's; a `FamilyFunction` of
    `answer_length_ratio`. Nothing without a base, or where the base answers with nothing at all."""
    if base is None:
        return []
    found = ratio_to_base(suite, tuned, base)
    if found is None:
        return []
    note = "1: as long as the base's answers; neither more nor less is better"
    return [Figure("length over the base's", "ratio", "minimize", found, None, None, note)]


def ratio_to_base(suite: SuiteItems, tuned: Floats, base: Floats) -> Estimate | None:
    """Ratio of two weighted means over the same items, with a t interval.

    Linearised, so that pairs and clusters count (Cochran, *Sampling Techniques*, 1977, ch. 6): with
    R = mean(tuned) / mean(base), the variance is that of the mean of (t_i - R b_i) / mean(base).
    Two seeds or more add the variance between their own ratios; with one the interval is that of
    items alone, and its method says so.

    Args:
        suite: Its weights and clusters.
        tuned: Shape [n, S].
        base: Shape [n, 1].
    """
    below = float(Block(base, suite.weights).means().mean())
    if below == 0:
        return None
    ratio = float(Block(tuned, suite.weights).means().mean()) / below
    # Its weighted mean is the ratio itself, and its spread that of the linearised residuals.
    values = ratio + (tuned - ratio * base.mean(axis=1, keepdims=True)) / below
    block = Block(np.asarray(values), suite.weights, suite.clusters)
    found = careful(stats.combine_own_seeds([block]))
    return None if found is None else found.estimate()
