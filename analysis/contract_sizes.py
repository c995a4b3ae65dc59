"""The JSON parts on fronts, choices and sizes, as `contract` and `analyze ID sizes` print them."""

import math
from collections.abc import Mapping
from dataclasses import asdict

import numpy as np

from keepgain.analysis.best_of_k import Curve
from keepgain.analysis.checks import Claim, Side
from keepgain.analysis.choosing import Choices, trades
from keepgain.analysis.fronts import Front
from keepgain.analysis.points import Points
from keepgain.analysis.result import Analysis, SizeRow
from keepgain.core.schema import StrictModel

LEVELS = "sizes"
"""What the front across sizes is called."""


class FrontPart(StrictModel):
    """A front: of one base model, or across sizes."""

    field: str
    objectives: list[str]
    on_front: list[str]
    excluded: dict[str, str]
    reference_point: dict[str, float] | None
    hypervolume: float | None
    beyond_reference: int | None


class WeightPart(StrictModel):
    """A weight, and how far it may move before another row is chosen."""

    objective: str
    weight: float
    low: float
    high: float | None


class ChoicePart(StrictModel):
    """What each way of choosing takes."""

    field: str
    by_limits: str | None
    by_weights: str | None
    weights: list[WeightPart]
    knee: str | None


class TradePart(StrictModel):
    """Two candidates, and the price of a unit of task score at which they are equally good."""

    cheaper: str
    dearer: str
    cost: str
    price: float


class AtPart(StrictModel):
    """The expected best of k trials."""

    k: int
    value: float
    low: float | None
    high: float | None


class CurvePart(StrictModel):
    """One base model's curve."""

    model: str
    trials: int
    audits: bool
    points: list[AtPart]
    compared_at: int | None
    reason: str | None


class SlopePart(StrictModel):
    """One line over the sizes."""

    figure: str
    form: str
    sizes: int
    value: float
    low: float
    high: float
    explained: float | None


class ScalingPart(StrictModel):
    """Fits over the sizes, or why there are none."""

    refusal: str | None
    slopes: list[SlopePart]


class CheckPart(StrictModel):
    """One condition on a size's candidate."""

    claim: Claim
    subject: str
    value: float | None
    bound: float | None
    threshold: float
    confidence: float
    holds: bool
    holds_at_point: bool
    side: Side
    """What the bound has to be of the threshold."""


def front_parts(analysis: Analysis) -> list[FrontPart]:
    """All fronts, that across sizes last."""
    fronts: dict[str, Front] = dict(analysis.fronts)
    if analysis.levels is not None:
        fronts[LEVELS] = analysis.levels
    return [_front(name, front) for name, front in fronts.items()]


def _front(name: str, front: Front) -> FrontPart:
    volume = front.volume
    return FrontPart(
        field=name,
        objectives=list(front.points.names),
        on_front=[i for i, on in zip(front.points.ids, front.on, strict=True) if on],
        excluded=dict(front.excluded),
        reference_point=None if volume is None else dict(volume.reference),
        hypervolume=None if volume is None else volume.value,
        beyond_reference=None if volume is None else volume.beyond,
    )


def choice_parts(analysis: Analysis) -> list[ChoicePart]:
    """One per base model."""
    return [_choice(c) for c in analysis.choices]


def _choice(found: Choices) -> ChoicePart:
    weighed = found.by_weights
    return ChoicePart(
        field=found.field,
        by_limits=found.by_limits,
        by_weights=None if weighed is None else weighed.row,
        weights=[] if weighed is None else [WeightPart(**asdict(r)) for r in weighed.ranges],
        knee=found.knee,
    )


def trade_parts(analysis: Analysis) -> list[TradePart]:
    """Between the sizes' candidates, by the question's cost; empty where it was not measured."""
    cost, points = analysis.question.cost, _candidates(analysis)
    if points is None or not {"task_score", cost} <= set(points.names):
        return []
    return [
        TradePart(cheaper=t.cheaper, dearer=t.dearer, cost=cost, price=t.price)
        for t in trades(points, "task_score", cost)
        if math.isfinite(t.price)
    ]


def _candidates(analysis: Analysis) -> Points | None:
    """The candidates among the rows of the front across sizes: arms have other prices."""
    if analysis.levels is None:
        return None
    points = analysis.levels.points
    held = {r.size.candidate.trial_id for r in analysis.sizes if r.size.candidate is not None}
    return points.keep(np.array([i in held for i in points.ids], dtype=bool))


def curve_parts(analysis: Analysis) -> list[CurvePart]:
    """One per base model that was searched."""
    return [_curve(c) for c in analysis.best_of_k]


def _curve(found: Curve) -> CurvePart:
    return CurvePart(
        model=found.model,
        trials=found.trials,
        audits=found.audits,
        points=[AtPart(**asdict(p)) for p in found.points],
        compared_at=found.comparable.k if found.comparable else None,
        reason=found.reason,
    )


def scaling_part(analysis: Analysis) -> ScalingPart | None:
    """None of a table from elsewhere."""
    found = analysis.scaling
    if found is None:
        return None
    slopes = [SlopePart(**asdict(s)) for s in found.slopes]
    return ScalingPart(refusal=found.refusal, slopes=slopes)


def check_parts(analysis: Analysis, row: SizeRow) -> list[CheckPart]:
    """Every condition on a size's candidate, that on the best reference arm last."""
    against: Mapping[str, object] = analysis.decision.verdict.against_arm
    checks = [*row.size.checks]
    if row.size.model in against:
        checks.append(analysis.decision.verdict.against_arm[row.size.model])
    return [
        CheckPart(
            claim=c.claim,
            subject=c.subject,
            value=c.uncertain.value if c.uncertain else None,
            bound=c.bound,
            threshold=c.threshold,
            confidence=c.confidence,
            holds=c.holds,
            holds_at_point=c.holds_at_point,
            side=c.side,
        )
        for c in checks
    ]
