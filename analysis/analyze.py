"""From evidence to everything that is shown: rows, sizes and the decision, computed once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from keepgain.analysis import objectives
from keepgain.analysis.behaviour.beside import Behaviour, behaviours_of, said_beside
from keepgain.analysis.behaviour.outcomes import OutcomeFound
from keepgain.analysis.best_of_k import Curve, curves
from keepgain.analysis.choosing import Choices, choices
from keepgain.analysis.churn import Churn
from keepgain.analysis.costs import budget_cost
from keepgain.analysis.decide import Decision, decide, decision_split
from keepgain.analysis.edges import Edge, edges
from keepgain.analysis.effort import Effort, efforts, unequal_effort
from keepgain.analysis.flagged import OnSubset, on_real_items, on_subsets
from keepgain.analysis.fronts import WITHIN, Front, Place, across_sizes, within_size
from keepgain.analysis.measures import Drop, Measures, measures_of
from keepgain.analysis.objectives import Objective, describe
from keepgain.analysis.overfitting import Overfitting, overfitting
from keepgain.analysis.points import require_costs
from keepgain.analysis.reviewed import awaits_review, held
from keepgain.analysis.rung_check import RungCheck, caution, rung_checks
from keepgain.analysis.scaling import Scaling, scaling
from keepgain.analysis.served import AsServed, as_served, cautions_of
from keepgain.analysis.sizes import Size
from keepgain.analysis.slices import SliceEstimate
from keepgain.analysis.stats import Estimate
from keepgain.analysis.table import Configuration, Exclusion, Table
from keepgain.core.config import Split
from keepgain.core.errors import UserError
from keepgain.core.record import Evidence, Question, SweepRecord
from keepgain.core.review_record import ReviewRecord, reviews_of

if TYPE_CHECKING:
    from keepgain.analysis.given_table import GivenTable


@dataclass(frozen=True)
class Row:
    """One configuration as shown."""

    who: Configuration
    split: Split | None
    """The split of its figures; None if it has none."""
    place: Place | None
    decided: bool = False
    """That split is the decision's."""
    measures: Measures | None = None
    """Where its figures are computed when they are asked for: of thousands of rows few are shown.
    None: a table from elsewhere, or a row without figures."""
    given: Mapping[str, Estimate] = field(default_factory=dict)
    """Its figures where there are no `measures`."""

    @cached_property
    def estimates(self) -> Mapping[str, Estimate]:
        """Objective → its figure; without a value where it cannot be computed."""
        if self.measures is None or self.split is None:
            return self.given
        return self.measures.estimates(self.who, self.split)

    @cached_property
    def slices(self) -> tuple[SliceEstimate, ...]:
        """On the split of the decision; empty for rows of another."""
        if self.measures is None or self.split is None or not self.decided:
            return ()
        return self.measures.slices(self.who, self.split)

    @cached_property
    def churn(self) -> tuple[Churn, ...]:
        """Of trials and reference arms, on the row's split."""
        if self.measures is None or self.split is None or self.who.kind == "base":
            return ()
        return self.measures.churn(self.who, self.split)

    @cached_property
    def descriptions(self) -> Mapping[str, Estimate]:
        """See `objectives.DESCRIPTIONS`; of trials, on the row's split."""
        if self.measures is None or self.split is None or self.who.kind != "trial":
            return {}
        return self.measures.descriptions(self.who, self.split)

    @property
    def replicates(self) -> int:
        """Runs behind its figures; of a table from elsewhere, rows."""
        if self.split is not None:
            return self.who.seeds(self.split)
        return max((e.n_seeds for e in self.estimates.values()), default=0)


@dataclass(frozen=True)
class SizeRow:
    """One base model as shown."""

    size: Size
    estimates: Mapping[str, Estimate]
    probability_adequate: float | None
    on_front: bool
    """On the front of (task score, general score, cost) across sizes and reference arms."""
    worst: Drop | None = None
    """The largest drop of a forgetting suite; None: none was measured."""


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
    subsets: tuple[OnSubset, ...] = ()
    """Of the sizes' candidates, where the check of the data flagged items."""
    cautions: tuple[str, ...] = ()
    """What puts the search itself in doubt, or speaks against serving the decision's trial as the
    spec asks, a sentence each; the decision's reason ends with it."""
    fronts: Mapping[str, Front] = field(default_factory=dict)
    """Field (`MODEL / SPLIT`) → its front."""
    levels: Front | None = None
    """The front across the sizes' candidates, bases and reference arms."""
    choices: tuple[Choices, ...] = ()
    """One per base model with a front on the split of the decision."""
    best_of_k: tuple[Curve, ...] = ()
    """One per base model that was searched."""
    scaling: Scaling | None = None
    """None: of a table from elsewhere."""
    given: "GivenTable | None" = None
    """Of a table from elsewhere (`sweep import`): its figures, which are all there is; then the
    estimates of rows and sizes are those of the declared objectives, and no row has a split."""
    forced: Split | None = None
    """The split that was asked for; None: none was."""
    wanted: tuple[str, ...] = ()
    """The objectives that were asked for; empty: none were."""
    behaviours: tuple[Behaviour, ...] = ()
    """Of the decision's trial, or of every size's candidate where it has none."""
    outcomes: tuple[OutcomeFound, ...] = ()
    """Of live tests, as recorded with the sweep."""
    reviews: tuple[ReviewRecord, ...] = ()
    """By people, oldest first."""
    awaits_review: bool = False
    """The question requires one of the decision's trial against its base, and there is none."""


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
        from keepgain.analysis.given import analyze_given  # it makes an `Analysis` too

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
    rows, fronts = _rows(measures, question, decided_on, split, objectives)
    sizes, levels = _sizes(measures, question, decision, objectives)
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


def _rows(
    measures: Measures,
    question: Question,
    decided_on: Split,
    forced: Split | None,
    wanted: Sequence[str],
) -> tuple[tuple[Row, ...], Mapping[str, Front]]:
    """All configurations: by base model as the record lists them, then by rank, arms first.

    With the front of each field.
    """
    fronts: dict[str, Front] = {}
    places: dict[tuple[str, Split], dict[str, Place]] = {}
    rows = []
    for who in measures.table.configurations:
        split = _shown_on(who, decided_on, forced)
        if split is None:
            rows.append(Row(who, None, None, given=dict.fromkeys(objectives.NAMES, Estimate())))
            continue
        if (who.model, split) not in places:
            front, placed = within_size(measures, split, who.model, question, wanted or WITHIN)
            places[who.model, split] = placed
            fronts[next(iter(placed.values())).field] = front
        place = places[who.model, split][who.trial_id]
        rows.append(Row(who, split, place, split == decided_on, measures))
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
    return tuple(rows), fronts


def _shown_on(who: Configuration, decided_on: Split, forced: Split | None) -> Split | None:
    """The split of a row: the decision's for what has it, else validation for what has that."""
    if who.has(decided_on) and (who.kind != "trial" or who.confirmed or decided_on != "test"):
        return decided_on
    if forced is None and who.has("validation"):
        return "validation"
    return None


def _sizes(
    measures: Measures, question: Question, decision: Decision, wanted: Sequence[str]
) -> tuple[tuple[SizeRow, ...], Front]:
    split = decision.split
    sizes = decision.verdict.sizes
    arms = [c for c in measures.table.configurations if c.kind != "trial" and c.has(split)]
    candidates = [s.candidate for s in sizes if s.candidate is not None]
    front = across_sizes(measures, split, [*candidates, *arms], question, wanted or None)
    rows = tuple(
        SizeRow(
            size=size,
            estimates=measures.estimates(size.candidate, split) if size.candidate else {},
            probability_adequate=decision.probabilities.get(size.model),
            on_front=size.candidate is not None and size.candidate.trial_id in front.ids,
            worst=_worst(measures, size.candidate, split),
        )
        for size in sizes
    )
    return rows, front


def _worst(measures: Measures, who: Configuration | None, split: Split) -> Drop | None:
    drops = [] if who is None else measures.drops(who, split)
    return max(drops, key=lambda d: d.value, default=None)


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
