"""Optimism: how much better the pick looked on validation, where it was picked, than on test.

Validation and test items differ in difficulty, so the bare difference is taken against
configurations that nobody selected for their validation scores (decision 25):

    optimism = (validation - test) of the pick
               - mean of (validation - test) of its base and of the confirmed arms not selected

Items are paired within a split and the splits' items are independent. A seed's effect is the
model's own and the same on both splits, so it cancels and only items are uncertain. Hence only runs
that were scored on both splits count.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keepgain.analysis import stats
from keepgain.analysis.measures import Measures
from keepgain.analysis.stats import Block, Uncertain
from keepgain.analysis.table import SPLITS, Configuration


@dataclass(frozen=True)
class Optimism:
    """Of the decision's trial, in the suites' unit; positive: it looked better on validation."""

    trial: str
    others: tuple[str, ...]
    """What it is held against: its base, and confirmed trials that were not selected."""
    bare: float
    """(validation - test) of the trial alone."""
    uncertain: Uncertain
    """The optimism."""


def optimism(
    measures: Measures, pick: Configuration, others: Sequence[Configuration]
) -> Optimism | None:
    """Optimism of the pick's task score; None without scores of both splits, or nothing to hold
    it against.

    Args:
        others: Configurations that were not selected; those without both splits are left out.
    """
    mine = _both(measures, pick)
    held = [(c, b) for c in others if (b := _both(measures, c)) is not None]
    if mine is None or not held:
        return None
    sign = measures.sign("task_score")
    terms = []
    for n, block in enumerate(mine):
        rest = np.mean([theirs[n].values for _, theirs in held], axis=0)
        terms.append(Block(sign * (block.values - rest), block.weights, block.clusters))
    bare = sign * sum(float(b.means()[0]) for b in mine)
    names = tuple(c.trial_id for c, _ in held)
    return Optimism(pick.trial_id, names, bare, stats.combine(terms, [], pick.seeds("test")))


def _both(measures: Measures, who: Configuration) -> list[Block] | None:
    """Item terms of validation, and of test with their signs turned; averaged over the seeds that
    have both."""
    if not all(who.has(split) for split in SPLITS):
        return None
    keys = {split: [r.run_key for r in who.runs[split]] for split in SPLITS}
    shared = [k for k in keys["validation"] if k in keys["test"]]
    if not shared:
        return None
    terms: list[Block] = []
    for split, turn in zip(SPLITS, (1.0, -1.0), strict=True):
        blocks = measures.blocks(who, split, "task_score")
        if blocks is None:
            return None
        at = [keys[split].index(k) for k in shared]
        averaged = [Block(b.values[:, at], b.weights, b.clusters).averaged() for b in blocks]
        terms += [Block(turn * b.values, b.weights, b.clusters) for b in averaged]
    return terms
