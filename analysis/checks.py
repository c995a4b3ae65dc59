"""What is asked of one candidate, one condition a `Check`: its bound against its threshold.

A task score near enough to the largest size's, forgetting within the limit on every suite, every
limit of a guard, and the limit on the outcome of its live test. When a size has to keep which of
them, and at what confidence, is the size rule's business (`sizes`).
"""

from dataclasses import dataclass
from typing import Literal

from keepgain.analysis.behaviour.guards import guards_found, told
from keepgain.analysis.behaviour.outcomes import outcome_judged, outcome_told
from keepgain.analysis.measures import Measures
from keepgain.analysis.stats import CONFIDENCE, UNKNOWN, Uncertain
from keepgain.analysis.table import Configuration
from keepgain.core.config import Split
from keepgain.core.record import Question

Side = Literal["above", "at_most", "at_least"]
Claim = Literal["task_score", "forgetting", "guard", "outcome", "reference"]


@dataclass(frozen=True)
class Check:
    """One condition on one candidate."""

    claim: Claim
    subject: str
    """The suite, or the configuration that it is compared with."""
    uncertain: Uncertain | None
    """None if it could not be measured."""
    bound: float | None
    """The confidence bound that must clear `threshold`; None if unknown."""
    threshold: float
    scorer: str
    holds: bool
    """The bound clears the threshold; False too where it is unknown."""
    holds_at_point: bool
    """The point estimate does."""
    confidence: float = CONFIDENCE
    """Of the bound; of forgetting, of all suites' bounds together."""
    side: Side = "above"
    """What the bound has to be of the threshold."""
    told: str = ""
    """Of a guard or a live outcome: what it says, in words."""

    @property
    def may_hold(self) -> bool:
        """The point estimate holds, or there is none: what was not measured is not broken."""
        return self.holds_at_point or self.uncertain is None

    def passes(self, by_point: bool) -> bool:
        """`by_point`: judged without bounds, for answers that are called provisional."""
        return self.holds_at_point if by_point and self.bound is None else self.holds


def task_check(
    measures: Measures,
    split: Split,
    who: Configuration,
    largest: Configuration | None,
    question: Question,
    confidence: float,
) -> tuple[Check, ...]:
    """Condition (a) of `sizes`; none for the largest itself, nor without a level to hold."""
    if largest is None or who.trial_id == largest.trial_id:
        return ()
    difference = measures.difference(who, largest, split, "task_score")
    bound = difference.lower(confidence) if difference else None
    return (
        Check(
            claim="task_score",
            subject=largest.label,
            uncertain=difference,
            bound=bound,
            threshold=-question.delta,
            scorer=measures.scorer("gain"),
            holds=bound is not None and bound > -question.delta,
            holds_at_point=difference is not None and difference.value > -question.delta,
            confidence=confidence,
        ),
    )


def limit_checks(
    measures: Measures,
    split: Split,
    who: Configuration,
    question: Question,
    confidence: float = CONFIDENCE,
) -> tuple[Check, ...]:
    """What a configuration has to keep, whatever else there is: condition (b), the guards, and the
    limit on the outcome of its live test, if there was one."""
    return (
        *forgetting_checks(measures, split, who, question, confidence),
        *guard_checks(measures, split, who, question, confidence),
        *outcome_check(measures, who, question, confidence),
    )


def forgetting_checks(
    measures: Measures,
    split: Split,
    who: Configuration,
    question: Question,
    confidence: float = CONFIDENCE,
) -> tuple[Check, ...]:
    """Condition (b) of `sizes`: one check a forgetting suite, at simultaneous confidence; none
    without limit.

    A suite that cannot be compared with the base does not hold.

    Args:
        confidence: Of all suites' bounds together.
    """
    limit = question.max_forgetting
    if limit is None:
        return ()
    measured = {d.suite.info.name: d.uncertain for d in measures.drops(who, split)}
    suites = [s for s in measures.table.suites[split].values() if s.info.measures == "forgetting"]
    each = 1 - (1 - confidence) / max(1, len(suites))
    checks = []
    for suite in suites:
        drop = measured.get(suite.info.name)
        bound = drop.upper(each) if drop else None
        checks.append(
            Check(
                claim="forgetting",
                subject=suite.info.name,
                uncertain=drop,
                bound=bound,
                threshold=limit,
                scorer=suite.info.scorer,
                holds=bound is not None and bound <= limit,
                holds_at_point=drop is not None and drop.value <= limit,
                confidence=confidence,
                side="at_most",
            )
        )
    return tuple(checks)


def guard_checks(
    measures: Measures,
    split: Split,
    who: Configuration,
    question: Question,
    confidence: float = CONFIDENCE,
) -> tuple[Check, ...]:
    """One check a limit of a guard; see `behaviour.guards`."""
    return tuple(
        Check(
            claim="guard",
            subject=found.guard,
            uncertain=found.figure,
            bound=found.bound,
            threshold=found.threshold,
            scorer=found.scorer,
            holds=found.answer == "holds",
            holds_at_point=found.holds_at_point,
            confidence=found.confidence,
            side=found.side,
            told=told(found),
        )
        for found in guards_found(measures, split, who, question, confidence)
    )


def outcome_check(
    measures: Measures, who: Configuration, question: Question, confidence: float
) -> tuple[Check, ...]:
    """Of a configuration that was live; what never was is not held to it."""
    limit = question.outcome
    tested = next((o for o in measures.outcomes if limit and o.record.metric == limit.metric), None)
    found = tested.of_trial(who.trial_id) if tested else None
    if limit is None or tested is None or found is None or found.improvement is None:
        return ()
    answer, bound = outcome_judged(found, limit, confidence)
    value = found.improvement.value
    assert value is not None
    terms = ((found.standard_error**2, found.df),)
    method = found.improvement.interval_method or UNKNOWN
    n = found.improvement.n_items
    return (
        Check(
            claim="outcome",
            subject=limit.metric,
            uncertain=Uncertain(value, n, 0, terms, found.standard_error**2, method),
            bound=bound,
            threshold=limit.min_improvement,
            scorer="",
            holds=answer == "holds",
            holds_at_point=value >= limit.min_improvement,
            confidence=confidence,
            side="at_least",
            told=outcome_told(found, limit, answer),
        ),
    )
