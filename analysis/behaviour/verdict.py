"""What a limit says of an uncertain figure: it holds, is violated, or is not resolved."""

from typing import Literal

Answer = Literal["holds", "violated", "not_resolved"]

SAYS: dict[Answer, str] = {
    "holds": "holds",
    "violated": "is violated",
    "not_resolved": "is not resolved",
}
"""For a sentence whose subject is the limit."""


def verdict(low: float | None, high: float | None, limit: float, side: float) -> Answer:
    """It holds if the whole interval is within, and is violated if the whole of it is beyond.

    Args:
        low: One-sided lower bound; None: unknown, and nothing is resolved.
        high: One-sided upper bound.
        limit: In the same unit.
        side: +1: the figure may not be above the limit; -1: not below it.
    """
    if low is None or high is None:
        return "not_resolved"
    worst, best = (high, low) if side > 0 else (low, high)
    if side * worst <= side * limit:
        return "holds"
    return "violated" if side * best > side * limit else "not_resolved"
