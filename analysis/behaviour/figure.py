"""One further figure of a behaviour suite: of the tuned configuration, of its base, the change."""

from collections.abc import Callable
from dataclasses import dataclass

from keepgain.analysis.stats import Estimate
from keepgain.analysis.table import SuiteItems
from keepgain.core.items import Floats
from keepgain.core.metrics import Direction


@dataclass(frozen=True)
class Figure:
    """What a family of suites tells beside the mean of its items."""

    name: str
    """For a reader: `worst group`, `flip rate`."""
    unit: str
    """`share of items`, `bits`."""
    direction: Direction
    """Which way is better."""
    estimate: Estimate
    """Of the tuned configuration."""
    base: Estimate | None
    """The same of its base; None: the base was not scored, or the figure has none."""
    change: Estimate | None
    """Tuned minus base, paired by item; None where `base` is."""
    note: str = ""
    """What a reader has to know beside it."""


FamilyFunction = Callable[[SuiteItems, Floats, Floats | None], list[Figure]]
"""Of (suite, the tuned configuration's scores, shape [n, S], its base's, shape [n, 1] or None)."""
