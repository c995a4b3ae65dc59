"""From evidence to everything that is shown: rows, sizes and the decision, computed once."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from keepgain.analysis import objectives
from keepgain.analysis.churn import Churn
from keepgain.analysis.decide import Decision, decide, decision_split
from keepgain.analysis.edges import Edge, edges
from keepgain.analysis.effort import Effort, efforts, unequal_effort
from keepgain.analysis.fronts import Place, across_sizes, within_size
from keepgain.analysis.measures import Measures
from keepgain.analysis.objectives import Objective
from keepgain.analysis.overfitting import Overfitting, overfitting
from keepgain.analysis.rung_check import RungCheck, caution, rung_checks
from keepgain.analysis.served import AsServed, as_served, cautions_of
from keepgain.analysis.sizes import Size
from keepgain.analysis.slices import SliceEstimate
from keepgain.analysis.stats import Estimate
from keepgain.analysis.table import Configuration, Exclusion, build_table
from keepgain.core.config import Split
from keepgain.core.errors import UserError
from keepgain.core.record import Evidence, Question, SweepRecord


@dataclass(frozen=True)
class Row:
    """One configuration as shown."""

    who: Configuration
    split: Split | None
    """The split of its figures; None if it has none."""
    estimates: Mapping[str, Estimate]
    place: Place | None
    slices: tuple[SliceEstimate, ...] = ()
    """On the split of the decision; empty for rows of another."""
    churn: tuple[Churn, ...] = ()
    """Of trials and reference arms, on the row's split."""


@dataclass(frozen=True)
class SizeRow:
    """One base model as shown."""

    size: Size
    estimates: Mapping[str, Estimate]
    probability_adequate: float | None
    on_front: bool
    """On the front of (task score, general score, cost) across sizes and reference arms."""


@dataclass(frozen=True)
class Analysis:
    """The result; every renderer draws from it and computes nothing."""

    sweep: SweepRecord
    question: Question
    objectives: tuple[Objective, ...]
    rows: tuple[Row, ...]
    sizes: tuple[SizeRow, ...]
    decision: Decision
    excluded: tuple[Exclusion, ...]
    warnings: tuple[str, ...]
    scorers: Mapping[str, str]
    """`gain` and `forgetting` → the scorer of those suites, empty if they have none in common."""
    rung_checks: tuple[RungCheck, ...] = ()
    edges: tuple[Edge, ...] = ()
    """Of the best trial of each size."""
    efforts: tuple[Effort, ...] = ()
    unequal_effort: str | None = None
    """What the base models were given unequally, with the numbers; None: nothing."""
    overfitting: Overfitting = field(default_factory=Overfitting)
    served: tuple[AsServed, ...] = ()
    cautions: tuple[str, ...] = ()
    """What puts the search itself in doubt, or speaks against serving the decision's trial as the
    spec asks, a sentence each; the decision's reason ends with it."""


def analyze(
    evidence: Evidence,
    *,
    delta: float | None = None,
    max_forgetting: float | None = None,
    split: Split | None = None,
) -> Analysis:
    """Decides on a sweep.

    Args:
        evidence: The record with its item scores; metrics stored beside them are not read.
        delta: Overrides the question's.
        max_forgetting: Overrides the question's.
        split: Decide on this split; None: test if there are confirmed test scores.

    Raises:
        UserError: The split asked for has no scores.
    """
    changes = {"delta": delta, "max_forgetting": max_forgetting}
    question = evidence.sweep.question.model_copy(
        update={k: v for k, v in changes.items() if v is not None}
    )
    table = build_table(evidence)
    if split is not None and split not in table.suites:
        raise UserError(
            f"sweep '{evidence.sweep.id}' has no {split} scores.",
            hint="Test items are scored by the test stage: `sweep run` goes through it."
            if split == "test"
            else None,
        )
    measures = Measures(table)
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
    rows = _rows(measures, question, decided_on, split)
    return Analysis(
        sweep=evidence.sweep,
        question=question,
        objectives=objectives.describe(evidence.sweep.suites),
        rows=rows,
        sizes=_sizes(measures, question, decision),
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
        cautions=cautions,
    )


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


def _rows(
    measures: Measures, question: Question, decided_on: Split, forced: Split | None
) -> tuple[Row, ...]:
    """All configurations: by base model as the record lists them, then by rank, arms first."""
    places: dict[tuple[str, Split], dict[str, Place]] = {}
    rows = []
    for who in measures.table.configurations:
        split = _shown_on(who, decided_on, forced)
        if split is None:
            rows.append(Row(who, None, dict.fromkeys(objectives.NAMES, Estimate()), None))
            continue
        if (who.model, split) not in places:
            places[who.model, split] = within_size(measures, split, who.model, question)
        place = places[who.model, split][who.trial_id]
        slices = measures.slices(who, split) if split == decided_on else ()
        churn = () if who.kind == "base" else measures.churn(who, split)
        rows.append(Row(who, split, measures.estimates(who, split), place, slices, churn))
    order = {m.name: n for n, m in enumerate(measures.table.sweep.models)}
    kinds = {"base": 0, "reference": 1, "trial": 2}
    rows.sort(
        key=lambda r: (
            order.get(r.who.model, len(order)),
            kinds[r.who.kind],
            {"test": 0, "validation": 1, None: 2}[r.split],
            r.place.rank if r.place and r.place.rank is not None else len(rows),
            r.who.trial_id,
        )
    )
    return tuple(rows)


def _shown_on(who: Configuration, decided_on: Split, forced: Split | None) -> Split | None:
    """The split of a row: the decision's for what has it, else validation for what has that."""
    if who.has(decided_on) and (who.kind != "trial" or who.confirmed or decided_on != "test"):
        return decided_on
    if forced is None and who.has("validation"):
        return "validation"
    return None


def _sizes(measures: Measures, question: Question, decision: Decision) -> tuple[SizeRow, ...]:
    split = decision.split
    sizes = decision.verdict.sizes
    arms = [c for c in measures.table.configurations if c.kind != "trial" and c.has(split)]
    candidates = [s.candidate for s in sizes if s.candidate is not None]
    front = across_sizes(measures, split, [*candidates, *arms], question.cost)
    return tuple(
        SizeRow(
            size=size,
            estimates=measures.estimates(size.candidate, split) if size.candidate else {},
            probability_adequate=decision.probabilities.get(size.model),
            on_front=size.candidate is not None and size.candidate.trial_id in front,
        )
        for size in sizes
    )


def _warnings(measures: Measures, split: Split) -> tuple[str, ...]:
    table = measures.table
    found = [*table.sweep.warnings, *objectives.problems(table.sweep.suites)]
    for model in table.sweep.models:
        base = measures.base(model.name)
        if base is None or not base.has(split):
            if table.trials(model.name, split):
                found.append(f"the base {model.name} was not scored on {split}: no gain, no drop.")
            continue
        dropped = objectives.near_chance(table.suites[split], base.scores[split])
        if dropped:
            found.append(
                f"relative forgetting of {model.name} leaves out {', '.join(dropped)}: its base is "
                f"within {objectives.MIN_ABOVE_CHANCE} of chance."
            )
        replicated = measures.seed_variance(model.name, split, "task_score") is not None
        if table.trials(model.name, split) and not replicated:
            found.append(
                f"{model.name}: no configuration has two seeds, so seed variance, intervals and "
                "front membership are unknown."
            )
    return tuple(found)
