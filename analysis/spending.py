"""How the 5 % of error are spent over the looks of an adaptive confirmation.

Looking at every new seed with a 5 % test and stopping at the first success is optional stopping:
the chance to call an inadequate size adequate grows to 12-13 % over looks at 3 to 8 seeds. So
looks are few and declared before, and an early look decides at a stricter level. What the levels
add up to is measured by `benchmarks/confirmation.py`; those of three looks were chosen there, so
that 3, 6, 12 seeds, the worst of the plans tried, stay at 5 %.

An early look is made on validation, the decision on test, once, at the level of the last look
however many were made. That is enough: a size that an early look let stop had to pass the stricter
level there, and its test score has to pass this one besides.
"""

from keepgain.analysis.stats import CONFIDENCE
from keepgain.core.record import SweepRecord

LEVELS: dict[int, tuple[float, ...]] = {2: (0.01, 0.045), 3: (0.005, 0.015, 0.04)}
"""Number of looks → one-sided error at each."""


def confidence_at(look: int, looks: int) -> float:
    """One-sided confidence of the bounds at a look, counted from 1."""
    return 1 - LEVELS[looks][look - 1]


def final_confidence(sweep: SweepRecord) -> float:
    """Confidence of the size rule's bounds in the final decision."""
    looks = len(sweep.planned_looks)
    return confidence_at(looks, looks) if looks in LEVELS else CONFIDENCE
