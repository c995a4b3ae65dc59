"""Intervals of shares, and of the difference of two."""

import math

Z_95 = 1.959964
"""Of a two-sided 95 % interval."""


def wilson(hits: float, n: int, z: float = Z_95) -> tuple[float, float]:
    """Interval of a share (Wilson, JASA 22, 1927); (0, 1) of nothing.

    ``(p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n)``
    """
    if n == 0:
        return 0.0, 1.0
    p, scale = hits / n, 1 + z * z / n
    middle = (p + z * z / (2 * n)) / scale
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / scale
    return middle - half, middle + half


def difference_interval(
    hits_a: float, a: int, hits_b: float, b: int, z: float = Z_95
) -> tuple[float, float]:
    """Interval of the share of a minus that of b, which are independent (Newcombe, Statistics in
    Medicine 17, 1998, method 10: the two Wilson intervals joined)."""
    p, q = hits_a / a, hits_b / b
    low_a, high_a = wilson(hits_a, a, z)
    low_b, high_b = wilson(hits_b, b, z)
    below = math.hypot(p - low_a, high_b - q)
    above = math.hypot(high_a - p, q - low_b)
    return p - q - below, p - q + above
