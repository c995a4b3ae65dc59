"""What can be measured of a configuration: its item terms on one split, and which way is better.

An objective, the score or the drop on one suite, a figure of a slice, or a direction of churn: each
is a mean of item terms, or a sum of such means.
"""

from collections.abc import Mapping, Sequence

from keepgain.analysis import objectives
from keepgain.analysis.churn import Flip, flip_block
from keepgain.analysis.objectives import Scores
from keepgain.analysis.slices import SliceFigure, slice_block
from keepgain.analysis.stats import Block
from keepgain.analysis.table import SuiteItems
from keepgain.core.record import SuiteInfo

Quantity = str | SliceFigure | Flip
"""An objective, `score:SUITE`, `drop:SUITE`, a figure of a slice, or a direction of churn."""


def item_terms(
    quantity: Quantity, suites: Mapping[str, SuiteItems], scores: Scores, base: Scores | None
) -> tuple[Block, ...] | None:
    """The item terms of one configuration.

    Args:
        suites: The split's suites.
        scores: Of the configuration, [n, S] a suite.
        base: Of its base model, [n, 1] a suite; None if the base was not scored.

    Returns:
        One block a suite, shape [n, S] each, whose means sum to the quantity; None where it cannot
        be computed.
    """
    if isinstance(quantity, str) and not quantity.startswith(("score:", "drop:")):
        return objectives.blocks(quantity, suites, scores, base)
    block = _on_one_suite(quantity, suites, scores, base or {})
    return None if block is None else (block,)


def _on_one_suite(
    quantity: Quantity, suites: Mapping[str, SuiteItems], scores: Scores, base: Scores
) -> Block | None:
    name = _suite_of(quantity)
    if name not in scores:
        return None
    suite = suites[name]
    if isinstance(quantity, SliceFigure):
        return slice_block(quantity, suite, scores[name], base.get(name))
    if isinstance(quantity, Flip):
        return flip_block(quantity, suite, scores[name], base.get(name))
    if quantity.startswith("score:"):
        return Block(scores[name], suite.weights, suite.clusters)
    return objectives.drop_block(suite, scores[name], base[name]) if name in base else None


def _suite_of(quantity: Quantity) -> str:
    if isinstance(quantity, SliceFigure):
        return quantity.of.suite
    return quantity.suite if isinstance(quantity, Flip) else quantity.partition(":")[2]


def better(
    quantity: Quantity, suites: Mapping[str, SuiteItems], infos: Sequence[SuiteInfo]
) -> float:
    """+1 if more of it is better, -1 if less is.

    Args:
        suites: The split's; an objective needs none.
        infos: All suites of the sweep.
    """
    if isinstance(quantity, SliceFigure):
        return 1.0 if quantity.gain else suites[quantity.of.suite].sign
    if isinstance(quantity, Flip):
        return -1.0 if quantity.lost else 1.0
    kind, _, suite = quantity.partition(":")
    if kind == "score":
        return suites[suite].sign
    if kind == "drop":
        return -1.0
    direction = next(o.direction for o in objectives.describe(infos) if o.name == quantity)
    return 1.0 if direction == "maximize" else -1.0
