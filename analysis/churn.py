"""Churn: answers that a tuned model gets wrong and its base got right, and the other way round.

Equal means can hide both ("negative flips", Yan et al. 2021, arXiv 2011.09161): a model with the
base's score may still fail on what worked before. Both are shares of the items of a suite whose
scores are all 0 or 1, on the same items; right -> wrong minus wrong -> right is the drop.
"""

from dataclasses import dataclass

import numpy as np

from keepgain.analysis.stats import Block, Estimate
from keepgain.analysis.table import SuiteItems
from keepgain.core.config import Measures
from keepgain.core.items import Floats


@dataclass(frozen=True)
class Flip:
    """What is estimated: one direction on one suite."""

    suite: str
    lost: bool
    """True: right before, wrong after. False: wrong before, right after."""


@dataclass(frozen=True)
class Churn:
    """One configuration against its base on one suite; shares of items, means over seeds."""

    suite: str
    measures: Measures
    lost: Estimate
    """Right before, wrong after."""
    won: Estimate
    """Wrong before, right after."""
    beyond_chance: tuple[float, float] | None = None
    """`lost` and `won` less what guessing gives; None where the suite has no chance level."""


def beyond_chance(share: float, before: float, after: float, chance: float) -> float:
    """Flips of one direction less those of a model that knows an item or guesses.

    With k = 1 / chance answers to choose from, a guess before and a guess after are independent,
    and ``(1 - before)(1 - after) / (k - 1)`` of the items flip in either direction by luck alone;
    not below 0 (Harmon et al. 2025, arXiv 2510.17776, in words).

    Args:
        share: Of the items that flipped.
        before: Score before, `after` after.
        chance: Score of guessing, in (0, 1).
    """
    return max(0.0, share - (1 - before) * (1 - after) * chance / (1 - chance))


def flip_block(flip: Flip, suite: SuiteItems, scores: Floats, base: Floats | None) -> Block | None:
    """The item terms of one configuration: 1 where an answer flipped in this direction.

    Args:
        scores: Shape [n items, S seeds].
        base: Of its base model, shape [n, 1]; None if it was not scored.

    Returns:
        Shape [n, S]; None without a base, or where a score is neither 0 nor 1.
    """
    if base is None or not (_binary(scores) and _binary(base)):
        return None
    # A base that was scored more than once is right as often as it was.
    before = base.mean(axis=1, keepdims=True)
    after = scores
    if suite.sign < 0:
        before, after = 1 - before, 1 - after
    values = before * (1 - after) if flip.lost else (1 - before) * after
    return Block(values, suite.weights, suite.clusters)


def _binary(scores: Floats) -> bool:
    return bool(np.all((scores == 0) | (scores == 1)))
