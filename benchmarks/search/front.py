"""Gain against forgetting: the hypervolume of a front, and the pick from it."""

from collections.abc import Iterable
from typing import NamedTuple

REFERENCE_GAIN = 0.0
REFERENCE_FORGETTING = 1.0
"""Fixed: nothing gained, everything lost. What is no better in either adds nothing."""


class Point(NamedTuple):
    """A configuration against its base."""

    gain: float
    """Up is good."""
    forgetting: float
    """Mean over the general suites; up is bad."""


def hypervolume(points: Iterable[Point]) -> float:
    """Area that the points dominate in (gain, 1 - forgetting), above the fixed reference."""
    area, height = 0.0, 0.0
    # From the largest gain down, each point adds the strip by which it is higher than all before.
    for gain, forgetting in sorted(points, key=lambda p: (-p.gain, p.forgetting)):
        above = REFERENCE_FORGETTING - forgetting
        if gain > REFERENCE_GAIN and above > height:
            area += (gain - REFERENCE_GAIN) * (above - height)
            height = above
    return area


def front(points: dict[str, Point]) -> list[str]:
    """Keys of the non-dominated points, by falling gain; of equal points the first."""
    kept: list[str] = []
    least = float("inf")
    for key, point in sorted(points.items(), key=lambda kv: (-kv[1].gain, kv[1].forgetting)):
        if point.forgetting < least:
            kept.append(key)
            least = point.forgetting
    return kept
