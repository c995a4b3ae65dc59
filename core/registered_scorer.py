"""What a registry says of one scorer. Free of torch."""

from typing import Literal

from keepgain.core.metrics import Metric
from keepgain.core.schema import StrictModel

SHARE = "share of items"
"""Unit of scorers whose items are right or wrong."""

Needs = Literal["generation", "likelihood", "choices", "base", "harness"]
"""What the model is asked for: a greedy answer; the log-likelihood of the reference; that of each
choice or label after the prompt; next-token distributions beside the base's; whatever a task of
lm-evaluation-harness asks."""
Fits = Literal["any", "answer", "choices", "label"]
"""Rows that can be scored: any; those with an answer; with choices; with an answer out of a closed
set of labels."""


class RegisteredScorer(StrictModel):
    """One way to score an item."""

    metric: Metric
    needs: Needs
    item: str
    """`module:function` of (what the model gave, row, options) to the item's score."""
    suite: str | None = None
    """`module:function` of (all that the model gave, rows, item scores, options) to further figures
    of the whole suite by name."""
    fits: Fits = "answer"
    weight: Literal["item", "bytes", "tokens"] = "item"
    """Of an item in the suite's mean."""
    takes: tuple[str, ...] = ()
    """Keys of the suite that it reads."""
    points: bool = True
    """Item scores lie in [0, 1]: differences are told in points of a hundred."""
    one_tokenizer: bool = False
    """Comparable only between models that give every text the same tokens."""
    per_byte: bool = False
    """Choices are ranked by their log-likelihood per byte."""
    behaviour_only: bool = False
    """It tells nothing good or bad by itself, so it measures neither gain nor forgetting."""
    neutral: bool = False
    """Neither more nor less of it is better, whatever direction its metric must have."""
    facts: tuple[str, ...] = ()
    """Further keys of an item that it reads, as `Row.fact` gives them."""
    records: tuple[str, ...] = ()
    """Those of `facts` that go into the record as slices of the items, for `analyze`: short texts,
    numbers or booleans."""
    fault: str | None = None
    """`module:function` of (row, options) to what keeps the item from being scored, in words; None
    where nothing does. Asked of each item before the sweep starts."""
    suite_fault: str | None = None
    """`module:function` of (rows of one split) to what keeps the suite from being measured by them,
    in words; None where nothing does. Asked after `fault`."""
    of_training: bool = False
    """Its items are training rows on purpose: `sweep check` does not look at them."""
    recorded: str | None = None
    """`module:function` of an answer to the text that is kept of it, where answers are not to be
    kept as they are."""

    @property
    def generates(self) -> bool:
        """True if answers are generated."""
        return self.needs == "generation"


def up(name: str, unit: str, meaning: str) -> Metric:
    """A figure that is to rise."""
    return Metric(name=name, direction="maximize", unit=unit, meaning=meaning)


def down(name: str, unit: str, meaning: str) -> Metric:
    """A figure that is to fall."""
    return Metric(name=name, direction="minimize", unit=unit, meaning=meaning)
