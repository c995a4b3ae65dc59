"""From evidence to everything that is shown: rows, sizes and the decision, computed once."""

from collections.abc import Sequence
from dataclasses import replace

from keepgain.analysis.behaviour.beside import behaviours_of, said_beside
from keepgain.analysis.best_of_k import curves
from keepgain.analysis.choosing import choices
from keepgain.analysis.costs import budget_cost
from keepgain.analysis.decide import Decision, decide, decision_split
from keepgain.analysis.edges import Edge, edges
from keepgain.analysis.effort import efforts, unequal_effort
from keepgain.analysis.flagged import on_real_items, on_subsets
from keepgain.analysis.given import analyze_given
from keepgain.analysis.measures import Measures, measures_of
from keepgain.analysis.objectives import MIN_ABOVE_CHANCE, describe, near_chance, problems
from keepgain.analysis.overfitting import overfitting
from keepgain.analysis.points import require_costs
from keepgain.analysis.result import Analysis, Row
from keepgain.analysis.reviewed import awaits_review, held
from keepgain.analysis.rows import shown_rows, size_rows
from keepgain.analysis.rung_check import RungCheck, caution, rung_checks
from keepgain.analysis.scaling import scaling
from keepgain.analysis.served import as_served, cautions_of
from keepgain.analysis.table import Table
from keepgain.core.config import Split
from keepgain.core.errors import UserError
from keepgain.core.record import Evidence, Question, SweepRecord
from keepgain.core.review_record import reviews_of


def analyze(
    evidence: Evidence,
    *,
    delta: float | None = None,
    max_forgetting: float | None = None,
    split: Split | None = None,
    min_gain: float | None = None,
    budget_usd: float | None = None,
    objectives: Sequence[str] = (),
) -> Analysis:
    """Decides on a sweep.

    Args:
        evidence: The record with its item scores; metrics stored beside them are not read.
        delta: Overrides the question's.
        max_forgetting: Overrides the question's.
        split: Decide on this split; None: test if there are confirmed test scores.
        min_gain: Overrides the question's.
        budget_usd: The most that a configuration may cost, in US dollars: of the question's cost if
            that is in dollars (serving), else `usd`, one training. What has no such figure is not
            offered.
        objectives: Of all fronts, by name, costs too; empty: gain and forgetting within a size,
            task score, general score and the question's cost across sizes. The decision does not
            depend on them.

    Raises:
        UserError: The split asked for has no scores; an unknown objective; no configuration has the
            cost that the budget limits.
    """
    changes = {"delta": delta, "max_forgetting": max_forgetting, "min_gain": min_gain}
    question = evidence.sweep.question.model_copy(
        update={k: v for k, v in changes.items() if v is not None}
    )
    if evidence.sweep.objectives:
        if split is not None:
            raise UserError(
                f"sweep '{evidence.sweep.id}' comes from a table, which has no splits.",
                hint="Leave --split out.",
            )
        if min_gain is not None:
            raise UserError(
                f"sweep '{evidence.sweep.id}' comes from a table, which has no base to gain on.",
                hint="Leave --min-gain out.",
            )
        return analyze_given(evidence.sweep, question, budget_usd=budget_usd, wanted=objectives)
    every, evidence = evidence, on_real_items(evidence)
    measures = measures_of(evidence)
    table = measures.table
    if budget_usd is not None:
        question = _within_budget(table, question, budget_usd)
    if split is not None and split not in table.suites:
        raise UserError(
            f"sweep '{evidence.sweep.id}' has no {split} scores.",
            hint="Test items are scored by the test stage: `sweep run` goes through it."
            if split == "test"
            else None,
        )
    require_costs(table, objectives)
    decided_on = decision_split(measures, split)
    checks = rung_checks(evidence)
    spent = efforts(evidence.sweep)
    unequal = unequal_effort(
        spent, evidence.sweep.budget_unit, stopped_early=evidence.sweep.stopping is not None
    )
    cautions = _cautions(checks, unequal, evidence.sweep.stopping is not None)
    decision = decide(measures, question, decided_on, cautions)
    served = as_served(evidence, question)
    if lost := cautions_of(served, decision.trial):
        cautions = (*cautions, *lost)
        decision = replace(decision, reason=" ".join((decision.reason, *lost)))
    behaviours = behaviours_of(measures, decision)
    beside = said_beside(behaviours, measures.outcomes, decision, question)
    decision = replace(decision, reason=" ".join((decision.reason, *beside)))
    waits = awaits_review(decision, question, evidence.sweep, every.later)
    decision = held(decision, question, evidence.sweep, every.later)
    rows, fronts = shown_rows(measures, question, decided_on, split, objectives)
    sizes, levels = size_rows(measures, question, decision, objectives)
    return Analysis(
        sweep=evidence.sweep,
        question=question,
        objectives=describe(evidence.sweep.suites),
        rows=rows,
        sizes=sizes,
        decision=decision,
        excluded=table.excluded,
        warnings=_warnings(measures, decided_on),
        scorers={m: measures.scorer(m) for m in ("gain", "forgetting")},
        rung_checks=checks,
        edges=_edges(rows, decision, evidence.sweep),
        efforts=spent,
        unequal_effort=unequal,
        overfitting=overfitting(evidence),
        served=served,
        subsets=on_subsets(
            every, decided_on, [s.size.candidate for s in sizes if s.size.candidate is not None]
        ),
        cautions=cautions,
        fronts=fronts,
        levels=levels,
        choices=tuple(
            choices(measures, decided_on, m.name, fronts[place], question)
            for m in evidence.sweep.models
            if (place := f"{m.name} / {decided_on}") in fronts
        ),
        best_of_k=curves(measures, question),
        scaling=scaling(
            measures, decided_on, [s.size.candidate for s in sizes if s.size.candidate is not None]
        ),
        forced=split,
        wanted=tuple(objectives),
        behaviours=behaviours,
        outcomes=measures.outcomes,
        reviews=reviews_of(every.later),
        awaits_review=waits,
    )


def _within_budget(table: Table, question: Question, budget_usd: float) -> Question:
    name = budget_cost(question)
    if not any(name in c.cost for c in table.configurations):
        raise UserError(
            f"a budget limits {name}, which nothing in sweep '{table.sweep.id}' has.",
            hint="It needs `prices: {gpu_hour_usd: ...}` in the spec, and for `usd` a GPU.",
        )
    return question.model_copy(update={"max_cost": {**question.max_cost, name: budget_usd}})


def _cautions(checks: tuple[RungCheck, ...], unequal: str | None, stopped: bool) -> tuple[str, ...]:
    effort = unequal and (
        f"The sizes were searched with unequal effort ({unequal}), and every comparison across "
        "them favours the one that was searched more."
    )
    return tuple(s for s in (caution(checks, stopped), effort) if s)


def _edges(rows: tuple[Row, ...], decision: Decision, sweep: SweepRecord) -> tuple[Edge, ...]:
    """Of each size's candidate; of a size without one, of its first trial by rank."""
    best = {s.model: s.candidate for s in decision.verdict.sizes if s.candidate is not None}
    for row in rows:
        if row.who.kind == "trial" and row.place is not None and row.place.rank == 1:
            best.setdefault(row.who.model, row.who)
    return tuple(
        edge
        for model in (m.name for m in sweep.models)
        if model in best
        for edge in edges(model, best[model].trial_id, best[model].params, sweep.space)
    )


def _warnings(measures: Measures, split: Split) -> tuple[str, ...]:
    table = measures.table
    found = [*table.sweep.warnings, *problems(table.sweep.suites)]
    for model in table.sweep.models:
        base = measures.base(model.name)
        if base is None or not base.has(split):
            if table.trials(model.name, split):
                found.append(f"the base {model.name} was not scored on {split}: no gain, no drop.")
            continue
        dropped = near_chance(table.suites[split], base.scores[split])
        if dropped:
            found.append(
                f"relative forgetting of {model.name} leaves out {', '.join(dropped)}: its base is "
                f"within {MIN_ABOVE_CHANCE} of chance."
            )
        replicated = measures.seed_variance(model.name, split, "task_score") is not None
        if table.trials(model.name, split) and not replicated:
            found.append(
                f"{model.name}: no configuration has two seeds, so seed variance, intervals and "
                "front membership are unknown."
            )
    return tuple(found)
