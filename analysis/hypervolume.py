"""How much of objective space a set of points covers, against a corner that never moves.

The hypervolume (Zitzler & Thiele, PPSN 1998) is the volume of what the points dominate, up to a
reference point. The reference is fixed before the sweep, in `question.reference_point`; where an
objective is not named there:

* gain 0, task_score and general_score 0: nothing learned, nothing known;
* forgetting, relative_forgetting, max_forgetting: 1, all is lost, or the limit if that is larger;
* parameters: 1.05 times the largest base model;
* a column of an imported table in shares or per cent: the bad end of its range;
* any other cost, and levels that are to be low (bits per byte): none, so there is no volume with
  them until the spec names a corner. A corner taken from the results would move with them, and no
  two sweeps could be compared.

Objectives keep their own units (shares lie in [0, 1]); a cost counts in powers of ten (log10),
since a factor means the same everywhere on its scale. A point that is worse than the reference in
any objective covers nothing; such points are counted and told.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import moocore
import numpy as np

from keepgain.analysis.objectives import Objective
from keepgain.core.errors import UserError
from keepgain.core.items import Floats
from keepgain.core.metrics import COSTS
from keepgain.core.record import ModelInfo, Question

ROOM_ABOVE_LARGEST = 1.05
_LOSSES = ("forgetting", "relative_forgetting", "max_forgetting")
_LEVELS = ("gain", "task_score", "general_score")
_RANGES = {"share": 1.0, "%": 100.0}


@dataclass(frozen=True)
class Volume:
    """The hypervolume of a set of points."""

    reference: Mapping[str, float]
    """In the objectives' units."""
    value: float
    """In the product of the units, costs in powers of ten."""
    beyond: int
    """Points that are worse than the reference somewhere, and cover nothing."""


def reference_point(
    columns: Sequence[Objective], question: Question, models: Sequence[ModelInfo]
) -> dict[str, float] | None:
    """The corner, by the rules above; None where some objective has none."""
    found: dict[str, float] = {}
    for column in columns:
        default = _default(column, question, models)
        value = question.reference_point.get(column.name, default)
        if value is None:
            return None
        found[column.name] = value
    return found


def _default(column: Objective, question: Question, models: Sequence[ModelInfo]) -> float | None:
    if column.name in _LOSSES:
        return max(1.0, question.max_forgetting or 0.0)
    if column.name in _LEVELS:
        return 0.0 if column.direction == "maximize" else None
    if column.name == "parameters":
        return ROOM_ABOVE_LARGEST * max(m.parameters for m in models) if models else None
    if column.unit in _RANGES:
        return 0.0 if column.direction == "maximize" else _RANGES[column.unit]
    return None


def hypervolume(
    values: Floats, columns: Sequence[Objective], reference: Mapping[str, float]
) -> Volume:
    """Volume that the points cover.

    Args:
        values: Shape [n, k], finite, in the objectives' units.
        reference: A value for every objective.

    Raises:
        UserError: A cost's reference is not above 0.
    """
    maximise = [c.direction == "maximize" for c in columns]
    corner = np.array([reference[c.name] for c in columns], dtype=np.float64)
    points = np.array(values, dtype=np.float64).reshape(-1, len(columns))
    sign = np.where(maximise, 1.0, -1.0)
    beyond = int((sign * points < sign * corner).any(axis=1).sum())
    for k, column in enumerate(columns):
        if is_cost(column.name):
            if corner[k] <= 0:
                raise UserError(
                    f"the reference point's {column.name} is {corner[k]:g}.",
                    where=f"question.reference_point.{column.name}",
                    hint="A cost is measured by its logarithm: name a value above 0.",
                )
            # What costs nothing would cover an infinite volume: it counts as the smallest double.
            points[:, k] = np.log10(np.maximum(points[:, k], np.finfo(np.float64).tiny))
            corner[k] = np.log10(corner[k])
    if len(points) == 0:
        return Volume(dict(reference), 0.0, 0)
    value = float(moocore.hypervolume(points, ref=corner, maximise=maximise))
    return Volume(dict(reference), value, beyond)


def is_cost(name: str) -> bool:
    """Whether a column is a registered cost, and counts in powers of ten."""
    return name in COSTS
