"""What the objectives of a table from elsewhere stand for in the size rule."""

from collections.abc import Iterable, Sequence

from keepgain.core.record import GivenObjective

SHARES = {"share": 1.0, "%": 100.0}
"""Unit → the highest value in it, the lowest being 0."""
MARGIN = 0.02
"""Of a share: the same delta as of a sweep."""


def is_forgetting(objective: GivenObjective) -> bool:
    """True for the one that `--max-forgetting` limits, by its name: `forgetting`, or a path that
    ends with `.forgetting`."""
    return objective.direction == "minimize" and (
        objective.name.rpartition(".")[2].strip().lower() == "forgetting"
    )


def task_of(objectives: Sequence[GivenObjective]) -> GivenObjective:
    """The one that stands for the task score: the first to be maximised, else the first that is
    not forgetting, else the first."""
    return next(
        (o for o in objectives if o.direction == "maximize"),
        next((o for o in objectives if not is_forgetting(o)), objectives[0]),
    )


def default_margin(task: GivenObjective, values: Iterable[float]) -> float:
    """Delta in the task's unit if nobody names one: 2 points of a share; without a unit the same
    where all values lie in [0, 1]; else 0, since 0.02 of an unknown unit means nothing."""
    if task.unit in SHARES:
        return MARGIN * SHARES[task.unit]
    inside = not task.unit and all(0 <= v <= 1 for v in values)
    return MARGIN if inside else 0.0
