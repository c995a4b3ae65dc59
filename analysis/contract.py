"""`analyze ID --format json`: the documented contract, schema 1. Absent is null, never a sentinel.

Values of `task_score` and `general_score` are in the suites' own unit and direction, as
`objectives` says; `gain` up is good, every `forgetting` up is bad. `rank` and the front are taken
within `rank_group` (one base model, one split; see `fronts`). A trial that does not count (stopped,
failed, incomplete) is listed with null values and its reason under `excluded`. `interval_method` is
one of those in `stats`; intervals are two-sided 95 %.
"""

import json
import math
from dataclasses import asdict
from typing import Any, Literal

from keepgain.analysis.analyze import Analysis, Row, SizeRow
from keepgain.analysis.decide import Status
from keepgain.analysis.overfitting import Overfitting
from keepgain.analysis.rung_check import Agreement, RungCheck
from keepgain.analysis.served import AsServed
from keepgain.analysis.spending import final_confidence
from keepgain.analysis.stats import Estimate
from keepgain.core.config import Measures, ServeForm, Split
from keepgain.core.metrics import Direction
from keepgain.core.record import LookRecord, RunKind
from keepgain.core.schema import StrictModel
from keepgain.core.status import Stage, TrialStatus


class SweepPart(StrictModel):
    """Which sweep."""

    id: str
    name: str
    stage: Stage
    store: str
    test_opened: int


class ObjectivePart(StrictModel):
    """What a column means."""

    name: str
    direction: Direction
    unit: str
    metric_version: int


class EstimatePart(StrictModel):
    """A figure with its interval."""

    value: float | None
    low: float | None
    high: float | None
    n_items: int | None
    n_seeds: int | None
    interval_method: str | None


class CandidatePart(StrictModel):
    """Which weights: after how many training tokens, and how far towards the tuned ones."""

    tokens: int
    alpha: float
    """1 is the tuned model itself; less is a point between it and its base."""


class TrialPart(StrictModel):
    """A trial over its seeds, a base, or a reference arm."""

    id: str
    label: str
    model: str
    kind: RunKind
    params: dict[str, Any]
    stage: Stage
    split: Split | None
    replicates: int
    status: TrialStatus
    rank: int | None
    rank_group: str | None
    objectives: dict[str, EstimatePart]
    cost: dict[str, float]
    candidate: CandidatePart | None
    on_front: bool
    near_front: bool
    front_membership: float | None


class SizePart(StrictModel):
    """A base model with the candidate that stands for it."""

    model: str
    parameters: int | None
    trial: str | None
    objectives: dict[str, EstimatePart]
    cost: dict[str, float]
    probability_adequate: float | None
    unequal_effort: bool
    """The sizes were not searched alike; see `effort`."""


class SlicePart(StrictModel):
    """A trial, base or reference arm on the items of a suite that have one value of a field."""

    trial: str
    suite: str
    field: str
    value: str
    score: EstimatePart
    gain: EstimatePart
    """Against the base; up is good on every suite."""


class ChurnPart(StrictModel):
    """A trial or reference arm against its base, on a suite whose scores are 0 or 1."""

    trial: str
    split: Split | None
    suite: str
    right_to_wrong: EstimatePart
    """Share of items."""
    wrong_to_right: EstimatePart


class FindingPart(StrictModel):
    """A pair of rungs of a run: the validation loss fell, and a score got worse."""

    trial: str
    model: str
    seed: int
    suite: str
    measures: Measures
    scorer: str
    before: int
    """Training tokens at the earlier rung."""
    after: int
    loss: EstimatePart
    change: EstimatePart
    """Of the score, up is good; its interval holds for all comparisons together."""


class GapPart(StrictModel):
    """Losses of a trial at its end, in nats per token."""

    trial: str
    model: str
    validation: float
    training: float
    gap: EstimatePart


class OverfittingPart(StrictModel):
    """What was looked for, and found."""

    runs: int
    comparisons: int
    confidence: float
    """Two-sided, of the interval of `change`."""
    findings: list[FindingPart]
    gaps: list[GapPart]


class ServedPart(StrictModel):
    """One run's test scores with its weights held in one form, against its own scores."""

    trial: str
    model: str
    kind: RunKind
    seed: int
    form: ServeForm
    same: bool
    """The sweep computes in this form: nothing was scored twice."""
    failure: str | None
    task_score_change: EstimatePart
    """Up is good."""
    worst_drop: EstimatePart
    """Its interval holds for all forgetting suites together."""
    worst_drop_suite: str | None
    weight_bytes: float | None
    scored_weight_bytes: float | None
    seconds_per_answer: float | None
    """Median."""


FlipPart = dict[Literal["what", "from", "to", "answer"], str | float | None]


class DecisionPart(StrictModel):
    """The answer."""

    status: Status
    model: str | None
    trial: str | None
    probability: float | None
    confidence: float
    """One-sided, of the size rule's bounds: .95, or more where looks have spent some error."""
    reason: str
    tied_with: list[str]
    flips: list[FlipPart]
    guards: list[str]


class ExcludedPart(StrictModel):
    """A run or trial that was not compared, and why."""

    trial: str
    reason: str


class AgreementPart(StrictModel):
    """How well a rung tells the full budget."""

    value: float
    low: float
    high: float


class RungCheckPart(StrictModel):
    """A rung of a base model, checked by audit trials."""

    model: str
    share: float
    """Of the full budget."""
    audits: int
    assessed: bool
    unsafe: bool
    top_third_recall: AgreementPart | None
    gain_correlation: AgreementPart | None
    forgetting_correlation: AgreementPart | None


class EdgePart(StrictModel):
    """A setting of a size's best trial at the edge of what was searched."""

    model: str
    trial: str
    name: str
    value: float
    side: Literal["low", "high"]
    wider: str
    """A line for the spec's `space:`."""


class EffortPart(StrictModel):
    """What the search spent on a base model."""

    model: str
    trials: int
    tokens: int


class Contract(StrictModel):
    """The whole answer of `analyze --format json`."""

    schema_: Literal[1] = 1
    sweep: SweepPart
    objectives: list[ObjectivePart]
    trials: list[TrialPart]
    sizes: list[SizePart]
    slices: list[SlicePart]
    """Of what has scores on the split of the decision; empty where rows carry no slice."""
    churn: list[ChurnPart]
    overfitting: OverfittingPart
    served: list[ServedPart]
    """Empty where the spec asks for none."""
    decision: DecisionPart
    rung_checks: list[RungCheckPart]
    edges: list[EdgePart]
    effort: list[EffortPart]
    looks: list[LookRecord]
    """Of an adaptive confirmation; empty without."""
    excluded: list[ExcludedPart]


def to_contract(analysis: Analysis) -> Contract:
    """The analysis as the contract's model."""
    sweep, decision = analysis.sweep, analysis.decision
    return Contract(
        sweep=SweepPart(
            id=sweep.id,
            name=sweep.name,
            stage=sweep.stage,
            store=sweep.store,
            test_opened=sweep.test_opened,
        ),
        objectives=[
            ObjectivePart(
                name=o.name, direction=o.direction, unit=o.unit, metric_version=o.metric_version
            )
            for o in analysis.objectives
        ],
        trials=[_trial(row) for row in analysis.rows],
        sizes=[_size(row, analysis.unequal_effort is not None) for row in analysis.sizes],
        slices=[
            SlicePart(
                trial=row.who.trial_id,
                **asdict(s.of),
                score=_estimate(s.score),
                gain=_estimate(s.gain),
            )
            for row in analysis.rows
            for s in row.slices
        ],
        churn=[
            ChurnPart(
                trial=row.who.trial_id,
                split=row.split,
                suite=c.suite,
                right_to_wrong=_estimate(c.lost),
                wrong_to_right=_estimate(c.won),
            )
            for row in analysis.rows
            for c in row.churn
        ],
        overfitting=_overfitting(analysis.overfitting),
        served=[_served(s) for s in analysis.served],
        decision=DecisionPart(
            status=decision.status,
            model=decision.model,
            trial=decision.trial,
            probability=decision.probability,
            confidence=final_confidence(sweep),
            reason=decision.reason,
            tied_with=list(decision.tied_with),
            flips=[
                {"what": f.what, "from": f.current, "to": f.to, "answer": f.answer}
                for f in decision.flips
            ],
            guards=list(decision.guards),
        ),
        rung_checks=[_rung_check(c) for c in analysis.rung_checks],
        edges=[EdgePart(**asdict(e)) for e in analysis.edges],
        effort=[EffortPart(**asdict(e)) for e in analysis.efforts],
        looks=list(sweep.looks),
        excluded=[ExcludedPart(trial=e.trial, reason=e.reason) for e in analysis.excluded],
    )


def to_json(analysis: Analysis) -> str:
    """The contract as JSON text."""
    data = to_contract(analysis).model_dump(mode="json")
    ordered = {"schema": data.pop("schema_"), **data}
    return json.dumps(ordered, indent=2, allow_nan=False, ensure_ascii=False)


def _trial(row: Row) -> TrialPart:
    who, place = row.who, row.place
    return TrialPart(
        id=who.trial_id,
        label=who.label,
        model=who.model,
        kind=who.kind,
        params=dict(who.params),
        stage=who.stage,
        split=row.split,
        replicates=who.seeds(row.split) if row.split else 0,
        status=who.status,
        rank=place.rank if place else None,
        rank_group=place.field if place else None,
        objectives=_estimates(row.estimates),
        cost=_finite(who.cost),
        candidate=CandidatePart(tokens=who.tokens, alpha=who.params.get("interpolation", 1.0))
        if who.kind == "trial" and row.split
        else None,
        on_front=bool(place and place.on_front),
        near_front=bool(place and place.near_front),
        front_membership=place.membership if place else None,
    )


def _overfitting(found: Overfitting) -> OverfittingPart:
    return OverfittingPart(
        runs=found.runs,
        comparisons=found.comparisons,
        confidence=found.confidence,
        findings=[
            FindingPart(**{**vars(f), "loss": _estimate(f.loss), "change": _estimate(f.change)})
            for f in found.findings
        ],
        gaps=[GapPart(**{**vars(g), "gap": _estimate(g.gap)}) for g in found.gaps],
    )


def _served(found: AsServed) -> ServedPart:
    return ServedPart(
        trial=found.trial,
        model=found.model,
        kind=found.kind,
        seed=found.seed,
        form=found.form,
        same=found.same,
        failure=found.failure,
        task_score_change=_estimate(found.task),
        worst_drop=_estimate(found.drop),
        worst_drop_suite=found.drop_suite,
        weight_bytes=found.weight_bytes,
        scored_weight_bytes=found.scored_weight_bytes,
        seconds_per_answer=found.seconds_per_answer,
    )


def _rung_check(check: RungCheck) -> RungCheckPart:
    def part(agreement: Agreement | None) -> AgreementPart | None:
        return None if agreement is None else AgreementPart(**asdict(agreement))

    return RungCheckPart(
        model=check.model,
        share=check.share,
        audits=check.audits,
        assessed=check.assessed,
        unsafe=bool(check.faults),
        top_third_recall=part(check.recall),
        gain_correlation=part(check.gain),
        forgetting_correlation=part(check.forgetting),
    )


def _size(row: SizeRow, unequal: bool) -> SizePart:
    size = row.size
    return SizePart(
        model=size.model,
        parameters=size.parameters,
        trial=size.candidate.trial_id if size.candidate else None,
        objectives=_estimates(row.estimates),
        cost=_finite(size.candidate.cost) if size.candidate else {},
        probability_adequate=row.probability_adequate,
        unequal_effort=unequal,
    )


def _estimates(estimates: Any) -> dict[str, EstimatePart]:
    return {name: _estimate(e) for name, e in estimates.items()}


def _estimate(e: Estimate) -> EstimatePart:
    measured = e.value is not None
    return EstimatePart(
        value=e.value,
        low=e.low,
        high=e.high,
        n_items=e.n_items if measured else None,
        n_seeds=e.n_seeds if measured else None,
        interval_method=e.interval_method,
    )


def _finite(cost: Any) -> dict[str, float]:
    return {name: value for name, value in cost.items() if math.isfinite(value)}
