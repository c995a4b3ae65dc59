"""What a search draws and learns: a draw, a result, and what Optuna is told of it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optuna.trial import TrialState

from keepgain.core.errors import UserError
from keepgain.core.record import Origin
from keepgain.core.status import TrialStatus


@dataclass(frozen=True)
class Draw:
    """One configuration that was drawn for one base model."""

    model: str
    number: int
    """Among the draws of the base model, from 0, repeats included."""
    generation: int
    """Always 0 where the search has none (`async`)."""
    index: int
    """Within the generation of the base model, from 0, repeats included."""
    origin: Origin
    raw: dict[str, Any] = field(hash=False)
    """As suggested by Optuna."""
    params: dict[str, Any] = field(hash=False)
    """As `Space.resolve` made them."""
    repeats: int | None = None
    """Number of the earlier draw with equal `params`. Such a draw is neither to be run nor to be
    told: it takes the earlier one's result and no budget."""


@dataclass(frozen=True)
class RungResult:
    """What a draw had reached at a rung below the full budget."""

    rung: int
    """Position in `training.rungs`, from 0."""
    values: tuple[float, ...]
    """One an objective."""
    constraints: Mapping[str, float] = field(default_factory=dict)
    """Feasible where <= 0."""


@dataclass(frozen=True)
class Result:
    """What became of a draw."""

    status: TrialStatus
    """COMPLETED, PRUNED or FAILED."""
    values: tuple[float, ...] | None = None
    """One an objective, at the full budget; None where there is none."""
    constraints: Mapping[str, float] = field(default_factory=dict)
    """Feasible where <= 0."""
    truncated: bool = False
    """Measured before the full budget: never told as complete."""
    rungs: tuple[RungResult, ...] = ()
    """At each rung reached below the full budget, ascending."""


def outcome(result: Result, objectives: Sequence[str], constraints: Sequence[str]) -> TrialState:
    """What Optuna is told of a result at the full budget.

    COMPLETE: scored at the full budget, every value and constraint there and finite. PRUNED:
    stopped early, or measured before the full budget. FAIL: everything else.
    """
    if result.status is TrialStatus.PRUNED:
        return TrialState.PRUNED
    if result.status is not TrialStatus.COMPLETED:
        return TrialState.FAIL
    if result.truncated:
        return TrialState.PRUNED
    sound = is_sound(result.values or (), result.constraints, objectives, constraints)
    return TrialState.COMPLETE if sound else TrialState.FAIL


def outcome_at(
    result: Result, rung: int, objectives: Sequence[str], constraints: Sequence[str]
) -> tuple[TrialState, RungResult | None]:
    """What Optuna is told in the study of a rung below the full budget, and with which values.

    COMPLETE: measured there, and did not fail later. PRUNED: stopped before it. FAIL: failed, or
    has no sound measurement there although it went further (a reused run without this rung).
    """
    if result.status not in (TrialStatus.COMPLETED, TrialStatus.PRUNED):
        return TrialState.FAIL, None
    found = next((r for r in result.rungs if r.rung == rung), None)
    if found is not None:
        sound = is_sound(found.values, found.constraints, objectives, constraints)
        return (TrialState.COMPLETE, found) if sound else (TrialState.FAIL, None)
    went_further = result.status is TrialStatus.COMPLETED or any(
        r.rung > rung for r in result.rungs
    )
    return (TrialState.FAIL if went_further else TrialState.PRUNED), None


def is_sound(
    values: Sequence[float],
    limits: Mapping[str, float],
    objectives: Sequence[str],
    constraints: Sequence[str],
) -> bool:
    """Whether every objective and constraint is there and finite."""
    needed = [limits.get(name, math.nan) for name in constraints]
    return len(values) == len(objectives) and all(map(math.isfinite, [*values, *needed]))


def check_record(asked_params: Mapping[str, Any], draw: Draw, raw: Mapping[str, Any]) -> None:
    """Refuses a recorded draw that this search would not have turned into the recorded settings.

    Raises:
        UserError: Settings or raw values differ.
    """
    if draw.params != dict(asked_params) or draw.raw != dict(raw):
        raise foreign_draw(draw.model, draw.number)


def foreign_draw(model: str, number: int | None) -> UserError:
    """For a record that does not fit the search."""
    return UserError(
        f"draw {number} of {model} in the ledger does not follow from this search.",
        hint="The ledger was changed, or lines are missing; restore it from a copy.",
    )
