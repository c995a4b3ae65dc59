"""The decision: the rule's verdict, what qualifies it, and a paragraph that says why.

=================  ==============================================================================
recommended        one size and one configuration
tied               one size; several of its configurations cannot be told apart
provisional        what the rule would say, but on validation scores or unconfirmed trials
infeasible         every size breaks a condition already as a point estimate
not_resolved       a size may qualify; items or seeds are too few to tell, or the largest confirmed
                   size has no scores, so that there is no level to hold
do_not_fine_tune   the best reference arm is at least as good; `model` and `trial` name that arm
=================  ==============================================================================

`model` and `trial` are None when infeasible or not resolved.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from keepgain.analysis import objectives
from keepgain.analysis.adequacy import probabilities
from keepgain.analysis.behaviour.guards import GuardFound, guards_found
from keepgain.analysis.checks import limit_checks
from keepgain.analysis.costs import over_budget
from keepgain.analysis.explain import explain
from keepgain.analysis.inference import Inference, infer
from keepgain.analysis.judge import Flip, Verdict, flips, judge
from keepgain.analysis.measures import Measures
from keepgain.analysis.scene import Scene
from keepgain.analysis.sizes import Size
from keepgain.analysis.stats import CONFIDENCE
from keepgain.analysis.table import Configuration
from keepgain.core.config import Split
from keepgain.core.record import Question

Status = Literal[
    "recommended", "tied", "provisional", "infeasible", "not_resolved", "do_not_fine_tune"
]
MAX_POOL_FOR_FLIPS = 100
"""Unconfirmed searches may hold thousands; what would flip among those is no news yet."""


@dataclass(frozen=True)
class Decision:
    """What to use, how sure it is, and why."""

    status: Status
    model: str | None
    trial: str | None
    probability: float | None
    """Of the recommended size being adequate; None without a recommendation or a replicate."""
    reason: str
    """One paragraph for a reader who knows no statistics."""
    tied_with: tuple[str, ...]
    """Trial ids of the recommended size that the data cannot tell from `trial`."""
    flips: tuple[Flip, ...]
    guards: tuple[tuple[Configuration, GuardFound], ...]
    """Every limit of every guard, of each size's candidate."""
    split: Split
    verdict: Verdict
    probabilities: dict[str, float]
    """`probability_adequate` by model."""
    inference: Inference = field(default_factory=Inference)


def decision_split(measures: Measures, wanted: Split | None) -> Split:
    """Test if any confirmed trial has complete test scores, else validation; or what was asked."""
    if wanted is not None:
        return wanted
    confirmed = [c for c in measures.table.configurations if c.kind == "trial" and c.confirmed]
    return "test" if any(c.has("test") for c in confirmed) else "validation"


def decide(
    measures: Measures, question: Question, split: Split, cautions: tuple[str, ...] = ()
) -> Decision:
    """Applies the rule to what was confirmed, or provisionally to what there is.

    Args:
        split: The decision split, see `decision_split`.
        cautions: Sentences for the end of the reason.
    """
    everything = [c for c in measures.table.configurations if c.kind == "trial" and c.has(split)]
    pool = [c for c in everything if c.confirmed] or everything
    confirmed = any(c.confirmed for c in pool)
    provisional = split == "validation" or not confirmed
    verdict = judge(measures, split, pool, question, by_point=provisional)
    sized = dict(probabilities(measures, split, verdict.sizes, question))
    pick = verdict.pick
    chosen = pick.candidate if pick else None
    tied = _tied(measures, split, pick, pool, question) if pick else ()
    status: Status = verdict.outcome
    if provisional:
        status = "provisional"
    elif verdict.outcome == "recommended" and tied:
        status = "tied"
    model, trial = (pick.model if pick else None), (chosen.trial_id if chosen else None)
    if verdict.outcome == "do_not_fine_tune" and verdict.arm is not None:
        model, trial = verdict.arm.model, verdict.arm.trial_id
    found = (
        flips(measures, split, pool, question, by_point=provisional)
        if len(pool) <= MAX_POOL_FOR_FLIPS
        else ()
    )
    beside = infer(measures, split, pool, question, verdict, provisional)
    scene = Scene(
        measures=measures,
        split=split,
        question=question,
        verdict=verdict,
        provisional=provisional,
        confirmed=confirmed,
        tied=tied,
        probability=sized.get(pick.model) if pick else None,
        flips=found,
        problems=objectives.problems(measures.table.sweep.suites),
        cautions=cautions,
        inference=beside,
    )
    return Decision(
        status=status,
        model=model,
        trial=trial,
        probability=scene.probability,
        reason=explain(scene),
        tied_with=tuple(c.trial_id for c in tied),
        flips=found,
        guards=tuple(
            (s.candidate, found)
            for s in verdict.sizes
            if s.candidate is not None
            for found in guards_found(measures, split, s.candidate, question, s.confidence)
        ),
        split=split,
        verdict=verdict,
        probabilities=sized,
        inference=beside,
    )


def _tied(
    measures: Measures,
    split: Split,
    pick: Size,
    pool: Sequence[Configuration],
    question: Question,
) -> tuple[Configuration, ...]:
    """Configurations of the chosen size that paired comparison cannot tell from the chosen one.

    A rival counts if it is within the limits on costs, and within the forgetting limit and the
    guards by its own bounds, at the confidence at which the size was tested, and the two-sided
    intervals of the differences in task score and in forgetting both hold 0, at 95 % jointly over
    the rivals (Bonferroni). Where the seed variance is unknown nothing can be compared.
    """
    chosen = pick.candidate
    assert chosen is not None
    rivals = [
        c
        for c in pool
        if c.model == chosen.model
        and c.trial_id != chosen.trial_id
        and over_budget(c, question) is None
        and all(
            check.holds for check in limit_checks(measures, split, c, question, pick.confidence)
        )
    ]
    one_sided = 1 - (1 - CONFIDENCE) / (2 * max(1, len(rivals)))
    tied = []
    for rival in rivals:
        task = measures.difference(rival, chosen, split, "task_score")
        forgetting = measures.difference(rival, chosen, split, "forgetting")
        if task is None:
            continue
        bounds = [
            (d.lower(one_sided), d.upper(one_sided)) for d in (task, forgetting) if d is not None
        ]
        if all(lo is not None and hi is not None and lo <= 0 <= hi for lo, hi in bounds):
            tied.append(rival)
    return tuple(sorted(tied, key=lambda c: c.trial_id))
