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

from keepgain.analysis.contract_behaviour import (
    ChangePart,
    OutcomePart,
    behaviour_parts,
    guard_parts,
    outcome_parts,
)
from keepgain.analysis.contract_inference import (
    InferencePart,
    inference_part,
    seed_variance_part,
)
from keepgain.analysis.contract_parts import (
    AgreementPart,
    CandidatePart,
    ChurnPart,
    DecisionPart,
    EdgePart,
    EffortPart,
    EstimatePart,
    ExcludedPart,
    FindingPart,
    GapPart,
    ObjectivePart,
    OnSubsetPart,
    OverfittingPart,
    RungCheckPart,
    ServedPart,
    SizePart,
    SlicePart,
    SweepPart,
    TrialPart,
    estimate_part,
)
from keepgain.analysis.contract_sizes import (
    ChoicePart,
    CurvePart,
    FrontPart,
    ScalingPart,
    TradePart,
    check_parts,
    choice_parts,
    curve_parts,
    front_parts,
    scaling_part,
    trade_parts,
)
from keepgain.analysis.grid import View
from keepgain.analysis.objectives import describe_descriptions
from keepgain.analysis.overfitting import Overfitting
from keepgain.analysis.result import Analysis, Row, SizeRow
from keepgain.analysis.rung_check import Agreement, RungCheck
from keepgain.analysis.served import AsServed
from keepgain.analysis.spending import final_confidence
from keepgain.core.record import LookRecord
from keepgain.core.review_record import Review
from keepgain.core.schema import StrictModel


class Contract(StrictModel):
    """The whole answer of `analyze --format json`."""

    schema_: Literal[1] = 1
    sweep: SweepPart
    objectives: list[ObjectivePart]
    descriptions: list[ObjectivePart]
    """Figures of trials by which nothing is decided."""
    trials: list[TrialPart]
    sizes: list[SizePart]
    slices: list[SlicePart]
    """Of what has scores on the split of the decision; empty where rows carry no slice."""
    churn: list[ChurnPart]
    overfitting: OverfittingPart
    served: list[ServedPart]
    """Empty where the spec asks for none."""
    subsets: list[OnSubsetPart]
    """Empty where the check of the data flagged no item."""
    behaviours: list[ChangePart]
    """Of the decision's trial; without one, of the sizes' candidates. Empty without such suites."""
    outcomes: list[OutcomePart]
    """Of live tests; empty where none was recorded."""
    decision: DecisionPart
    rung_checks: list[RungCheckPart]
    edges: list[EdgePart]
    effort: list[EffortPart]
    fronts: list[FrontPart]
    choices: list[ChoicePart]
    trades: list[TradePart]
    best_of_k: list[CurvePart]
    scaling: ScalingPart | None
    inference: InferencePart
    looks: list[LookRecord]
    """Of an adaptive confirmation; empty without."""
    reviews: list[Review]
    """By people (`sweep review`), oldest first; empty without."""
    excluded: list[ExcludedPart]


def to_contract(analysis: Analysis) -> Contract:
    """The analysis as the contract's model."""
    sweep, decision = analysis.sweep, analysis.decision
    return Contract(
        sweep=_sweep(analysis),
        objectives=[
            ObjectivePart(
                name=o.name, direction=o.direction, unit=o.unit, metric_version=o.metric_version
            )
            for o in analysis.objectives
        ],
        descriptions=[
            ObjectivePart(
                name=o.name, direction=o.direction, unit=o.unit, metric_version=o.metric_version
            )
            for o in describe_descriptions(sweep.suites)
        ],
        trials=[trial_part(row) for row in analysis.rows],
        sizes=[_size(row, analysis) for row in analysis.sizes],
        slices=[
            SlicePart(
                trial=row.who.trial_id,
                **asdict(s.of),
                score=estimate_part(s.score),
                gain=estimate_part(s.gain),
            )
            for row in analysis.rows
            for s in row.slices
        ],
        churn=[
            ChurnPart(
                trial=row.who.trial_id,
                split=row.split,
                suite=c.suite,
                right_to_wrong=estimate_part(c.lost),
                wrong_to_right=estimate_part(c.won),
                right_to_wrong_beyond_chance=c.beyond_chance and c.beyond_chance[0],
                wrong_to_right_beyond_chance=c.beyond_chance and c.beyond_chance[1],
            )
            for row in analysis.rows
            for c in row.churn
        ],
        overfitting=_overfitting(analysis.overfitting),
        served=[_served(s) for s in analysis.served],
        subsets=[
            OnSubsetPart(
                subset=s.subset,
                split=s.split,
                used=dict(s.used),
                of=dict(s.of),
                trials={
                    trial: {name: estimate_part(e) for name, e in figures.items()}
                    for trial, figures in s.trials.items()
                },
            )
            for s in analysis.subsets
        ],
        behaviours=behaviour_parts(analysis),
        outcomes=outcome_parts(analysis.outcomes),
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
            guards=guard_parts(decision.guards),
            awaits_review=analysis.awaits_review,
        ),
        rung_checks=[_rung_check(c) for c in analysis.rung_checks],
        edges=[EdgePart(**asdict(e)) for e in analysis.edges],
        effort=[EffortPart(**asdict(e)) for e in analysis.efforts],
        fronts=front_parts(analysis),
        choices=choice_parts(analysis),
        trades=trade_parts(analysis),
        best_of_k=curve_parts(analysis),
        scaling=scaling_part(analysis),
        inference=inference_part(decision.inference),
        looks=list(sweep.looks),
        reviews=[r.summary for r in analysis.reviews],
        excluded=[ExcludedPart(trial=e.trial, reason=e.reason) for e in analysis.excluded],
    )


def to_json(analysis: Analysis) -> str:
    """The contract as JSON text."""
    data = to_contract(analysis).model_dump(mode="json")
    ordered = {"schema": data.pop("schema_"), **data}
    return json.dumps(ordered, indent=2, allow_nan=False, ensure_ascii=False)


def view_to_json(analysis: Analysis, view: View) -> str:
    """A view as JSON text: the sweep as in the contract, and the view's own data.

    Raises:
        ValueError: A number of the view is not finite.
    """
    sweep = _sweep(analysis).model_dump(mode="json")
    data = {"schema": 1, "sweep": sweep, "view": view.name, "data": view.data}
    return json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False)


def _sweep(analysis: Analysis) -> SweepPart:
    sweep = analysis.sweep
    return SweepPart(
        id=sweep.id,
        name=sweep.name,
        stage=sweep.stage,
        store=sweep.store,
        test_opened=sweep.test_opened,
    )


def trial_part(row: Row) -> TrialPart:
    """One row of `trials`."""
    who, place = row.who, row.place
    return TrialPart(
        id=who.trial_id,
        label=who.label,
        model=who.model,
        kind=who.kind,
        params=dict(who.params),
        stage=who.stage,
        split=row.split,
        replicates=row.replicates,
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
        front_excluded=place.excluded if place else None,
        descriptions=_estimates(row.descriptions),
    )


def _overfitting(found: Overfitting) -> OverfittingPart:
    return OverfittingPart(
        runs=found.runs,
        comparisons=found.comparisons,
        confidence=found.confidence,
        findings=[
            FindingPart(
                **{**vars(f), "loss": estimate_part(f.loss), "change": estimate_part(f.change)}
            )
            for f in found.findings
        ],
        gaps=[GapPart(**{**vars(g), "gap": estimate_part(g.gap)}) for g in found.gaps],
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
        task_score_change=estimate_part(found.task),
        worst_drop=estimate_part(found.drop),
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


def _size(row: SizeRow, analysis: Analysis) -> SizePart:
    size = row.size
    variance, df = seed_variance_part(analysis.decision.inference, size.model)
    return SizePart(
        model=size.model,
        parameters=size.parameters,
        trial=size.candidate.trial_id if size.candidate else None,
        objectives=_estimates(row.estimates),
        cost=_finite(size.candidate.cost) if size.candidate else {},
        probability_adequate=row.probability_adequate,
        unequal_effort=analysis.unequal_effort is not None,
        worst_suite=row.worst.suite.info.name if row.worst else None,
        over_budget=size.over_budget,
        checks=check_parts(analysis, row),
        seed_variance=variance,
        seed_df=df,
    )


def _estimates(estimates: Any) -> dict[str, EstimatePart]:
    return {name: estimate_part(e) for name, e in estimates.items()}


def _finite(cost: Any) -> dict[str, float]:
    return {name: value for name, value in cost.items() if math.isfinite(value)}
