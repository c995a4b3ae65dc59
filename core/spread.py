"""The order in which points of one front are taken, so that the first few spread over it."""

import math
from collections.abc import Sequence


def farthest_first(points: Sequence[tuple[float, float]]) -> list[int]:
    """Positions of points: most gain, then least forgetting, then always the farthest from those
    taken, each objective scaled to its range. Ties go to the lower position.

    The search ranks a rung by it, and the check of the rungs must rank alike to the last bit.

    Args:
        points: (gain, forgetting) of each; at least one.
    """
    scales = [max(axis) - min(axis) or 1.0 for axis in zip(*points, strict=True)]

    def distance(i: int, j: int) -> float:
        pairs = zip(points[i], points[j], scales, strict=True)
        return math.hypot(*((x - y) / scale for x, y, scale in pairs))

    left = list(range(len(points)))
    order = [min(left, key=lambda i: (-points[i][0], i))]
    left.remove(order[0])
    if left:
        order.append(min(left, key=lambda i: (points[i][1], -points[i][0], i)))
        left.remove(order[1])
    near = {i: min(distance(i, j) for j in order) for i in left}
    while left:
        farthest = min(left, key=lambda i: (-near[i], i))
        left.remove(farthest)
        order.append(farthest)
        for i in left:
            near[i] = min(near[i], distance(i, farthest))
    return order
