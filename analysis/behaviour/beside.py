"""What stands beside a decision: behaviours that moved, and the outcomes of live tests."""

from collections.abc import Sequence
from dataclasses import dataclass

from keepgain.analysis import words
from keepgain.analysis.behaviour.moved import Change, suites_moved, worse_for_certain
from keepgain.analysis.behaviour.outcomes import OutcomeFound, told
from keepgain.analysis.decide import Decision
from keepgain.analysis.measures import Measures
from keepgain.analysis.table import Configuration
from keepgain.core.record import Question

NAMED = 3
"""Behaviours in the decision's text; more are told by their number."""


@dataclass(frozen=True)
class Behaviour:
    """The behaviour suites of one configuration, against its base."""

    who: Configuration
    """Of the table of behaviours."""
    changes: tuple[Change, ...]
    """One a suite, as the spec lists them."""


def behaviours_of(measures: Measures, decision: Decision) -> tuple[Behaviour, ...]:
    """Of the decision's trial; without one, of every size's candidate. Empty without such suites.

    Args:
        measures: Of the suites that decide, with those of behaviours beside them.
        decision: Made from them.
    """
    beside = measures.behaviours
    if beside is None:
        return ()
    candidates = [s.candidate.trial_id for s in decision.verdict.sizes if s.candidate is not None]
    wanted = [decision.trial] if decision.trial in candidates else candidates
    return tuple(
        Behaviour(who, tuple(suites_moved(beside, who, decision.split)))
        for trial in wanted
        for who in beside.table.configurations
        if who.trial_id == trial and who.has(decision.split)
    )


def said_beside(
    behaviours: Sequence[Behaviour],
    outcomes: Sequence[OutcomeFound],
    decision: Decision,
    question: Question,
) -> tuple[str, ...]:
    """Sentences for the end of a decision's reason; empty where there is nothing to say."""
    said = [harm_said(b.changes) for b in behaviours if b.who.trial_id == decision.trial]
    for found in outcomes:
        arms = [a for a in found.arms if a.improvement is not None]
        live = "; ".join(f"{words.clean(a.arm)} {told(a)}" for a in arms)
        said.append(f"Live, {words.clean(found.record.metric)}: {live}.")
    limit = question.outcome
    if limit is not None and all(o.record.metric != limit.metric for o in outcomes):
        said.append(
            f"No outcome {words.clean(limit.metric)} was recorded yet (`sweep outcomes import`), "
            "so its limit decides nothing."
        )
    return tuple(s for s in said if s)


def harm_said(changes: Sequence[Change]) -> str:
    """Behaviours that moved for the worse for certain, the largest first; empty: none did."""
    worse = worse_for_certain(changes)
    if not worse:
        return ""
    parts = [_moved(c) for c in worse[:NAMED]]
    more = f", and {words.count(len(worse) - NAMED, 'more suite')}" if len(worse) > NAMED else ""
    return f"Behaviour that moved for the worse for certain: {'; '.join(parts)}{more}."


def _moved(change: Change) -> str:
    """`refusals from 0.031 to 0.090, by 5.9 points [3.2, 8.6]`."""
    assert change.uncertain is not None
    scorer = change.suite.info.scorer
    levels = [words.level(e.value, scorer) for e in (change.base, change.tuned)]
    return (
        f"{words.clean(change.name)} from {levels[0]} to {levels[1]}, by "
        f"{words.amount_interval(change.uncertain, scorer)}"
    )
