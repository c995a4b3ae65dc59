"""Behaviours, guards and live outcomes in the JSON contract."""

from collections.abc import Sequence
from typing import Literal

from keepgain.analysis.behaviour.guards import GuardFound
from keepgain.analysis.behaviour.moved import Change, Verdict
from keepgain.analysis.behaviour.outcomes import OutcomeFound
from keepgain.analysis.contract_parts import EstimatePart, GuardPart, estimate_part
from keepgain.analysis.result import Analysis
from keepgain.analysis.stats import Estimate
from keepgain.analysis.table import Configuration
from keepgain.core.metrics import Direction
from keepgain.core.schema import StrictModel
from keepgain.core.scorers import metric_of


class ChangePart(StrictModel):
    """A behaviour suite, or a slice of one, of a configuration against its base."""

    trial: str
    model: str
    suite: str
    field: str | None
    """Of a slice, as `value`."""
    value: str | None
    scorer: str
    unit: str
    direction: Direction
    base: EstimatePart
    tuned: EstimatePart
    change: EstimatePart
    """Tuned minus base, in the suite's unit."""
    adjusted_p: float | None
    """Of no change; Holm's over suites, Benjamini and Hochberg's over slices."""
    verdict: Verdict


class OutcomeArmPart(StrictModel):
    """One arm of a live test."""

    arm: str
    trial: str | None
    level: EstimatePart
    """`n_items` is the number of units."""
    improvement: EstimatePart | None
    """Over the control, up is good; null of the control."""


class OutcomePart(StrictModel):
    """A metric of a live test."""

    metric: str
    direction: Direction
    of: Literal["success", "value"]
    control: str
    recorded: str
    """UTC, ISO 8601."""
    arms: list[OutcomeArmPart]


def guard_parts(guards: Sequence[tuple[Configuration, GuardFound]]) -> list[GuardPart]:
    """As `decision.guards` has them."""
    return [
        GuardPart.model_validate(
            {
                "trial": who.trial_id,
                "model": who.model,
                "guard": found.guard,
                "limit": found.limit_name,
                "limit_value": found.limit,
                "suite": found.suite,
                "figure": estimate_part(found.figure.estimate() if found.figure else Estimate()),
                "bound": found.bound,
                "confidence": found.confidence,
                "answer": found.answer,
                "examples": list(found.examples),
            }
        )
        for who, found in guards
    ]


def behaviour_parts(analysis: Analysis) -> list[ChangePart]:
    """`behaviours`: whole suites; `analyze ID behaviour` has the slices."""
    return [change_part(b.who, c) for b in analysis.behaviours for c in b.changes]


def change_part(who: Configuration, change: Change) -> ChangePart:
    """One suite or slice."""
    info = change.suite.info
    metric = metric_of(info.scorer)
    return ChangePart(
        trial=who.trial_id,
        model=who.model,
        suite=info.name,
        field=change.part.field if change.part else None,
        value=change.part.value if change.part else None,
        scorer=info.scorer,
        unit=metric.unit,
        direction=metric.direction,
        base=estimate_part(change.base),
        tuned=estimate_part(change.tuned),
        change=estimate_part(change.change),
        adjusted_p=change.adjusted,
        verdict=change.verdict,
    )


def outcome_parts(outcomes: tuple[OutcomeFound, ...]) -> list[OutcomePart]:
    """`outcomes`."""
    return [
        OutcomePart(
            metric=o.record.metric,
            direction=o.record.direction,
            of=o.record.of,
            control=o.record.control,
            recorded=o.time,
            arms=[
                OutcomeArmPart(
                    arm=a.arm,
                    trial=a.trial,
                    level=estimate_part(a.level),
                    improvement=None if a.improvement is None else estimate_part(a.improvement),
                )
                for a in o.arms
            ],
        )
        for o in outcomes
    ]
