"""The size rule (decision 19): the smallest base model that is good enough, tested downwards.

1. One candidate per size, chosen on **validation** among the size's confirmed configurations: the
   highest task score among those whose drop on every forgetting suite is within the limit as a
   point estimate, and that keep the guards so; if there is none, the one that breaks the fewest
   guards, and of those the one whose largest drop is smallest.
2. On the decision split, a size is *adequate* if
   (a) the one-sided 95 % lower bound of (its task score - task score of the largest confirmed size)
       is above -delta, items paired, and
   (b) the upper bounds of its drops on all forgetting suites, at simultaneous confidence 95 %, are
       within the limit. Simultaneous by Bonferroni (each bound at 1 - .05/G), which holds under any
       dependence between suites. Without a limit (b) is empty. Every guard of the question is a
       condition as (b) is, at 95 % each (`behaviour.guards`).
3. Sizes are tested from the largest down and the first failure ends it, so that no correction for
   several sizes is needed (fixed-sequence testing: Maurer, Hothorn & Lehmacher 1995). The smallest
   size reached is the answer.
4. One departure: a largest model that forgets too much does not end the question. Sizes at the top
   that fail (b) alone are skipped, and the descent starts anew below them, with half the error each
   time: after s skipped sizes all bounds of (a) and (b) are taken at confidence 1 - .05 / 2^s.

After an adaptive confirmation the 5 % are spent over its looks, and what is left for the decision
takes the place of .05 everywhere here (`spending`).

What this bounds: the descent after s skipped sizes is one fixed sequence and wrongly calls a size
adequate with probability at most .05 / 2^s. Which descent is used depends on the data, so the rule
as a whole is bounded by the sum over all: 5 % for one size, 7.5 % for two, 8.75 % for three, below
10 % for any number. It is no 5 % rule, except where there is no limit and hence nothing to skip.

The largest confirmed size stays the level that task scores are held against even if it forgets too
much itself. If it has no scores on the decision split, no other size takes its place as the level:
nothing is reached (`lost_level`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from keepgain.analysis.behaviour.guards import guards_found, told
from keepgain.analysis.behaviour.outcomes import outcome_judged, outcome_told
from keepgain.analysis.costs import over_budget
from keepgain.analysis.draws import draw_scores
from keepgain.analysis.measures import Measures
from keepgain.analysis.spending import final_confidence
from keepgain.analysis.stats import CONFIDENCE, UNKNOWN, Uncertain
from keepgain.analysis.table import Configuration
from keepgain.core.config import Split
from keepgain.core.items import Floats
from keepgain.core.record import Question

DRAWS = 2000
"""Monte-Carlo error of a share: at most .011."""

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


@dataclass(frozen=True)
class Size:
    """A base model on the ladder."""

    model: str
    parameters: int | None
    candidate: Configuration | None
    """None: nothing of this size was confirmed (or, provisionally, completed)."""
    checks: tuple[Check, ...] = ()
    reached: bool = False
    """Adequate, and so was every size tested before it, or it was skipped (step 4)."""
    confidence: float = CONFIDENCE
    """At which it was tested."""
    unscored: str | None = None
    """Why a size without a candidate, though confirmed, has no scores on the decision split."""
    over_budget: str | None = None
    """Which limit on a cost left it without a candidate."""

    def failing(self, claim: Claim, by_point: bool = False) -> list[Check]:
        """Conditions of one kind that do not pass."""
        return [c for c in self.checks if c.claim == claim and not c.passes(by_point)]


def confidence_after(skipped: int, confidence: float = CONFIDENCE) -> float:
    """Confidence of the bounds below so many skipped sizes (step 4)."""
    return 1 - (1 - confidence) / 2**skipped


def lost_level(sizes: Sequence[Size]) -> Size | None:
    """The largest confirmed size if it has no scores, so that there is no level to hold."""
    largest = next((s for s in sizes if s.candidate or s.unscored), None)
    return largest if largest and largest.unscored else None


def candidate(
    measures: Measures, pool: Sequence[Configuration], question: Question
) -> Configuration | None:
    """The configuration that stands for its size (step 1). Ties: the first by trial id.

    Where a configuration lacks validation scores, the split that all of them have is used.
    """
    if not pool:
        return None
    split: Split = "validation" if all(c.has("validation") for c in pool) else "test"
    scored: list[tuple[Configuration, float, float, int]] = []
    for c in sorted(pool, key=lambda c: c.trial_id):
        task = measures.point(c, split, "task_score")
        if task is None:
            continue
        worst = measures.worst_drop(c, split)
        kept = (
            *guard_checks(measures, split, c, question),
            *_outcome_check(measures, c, question, CONFIDENCE),
        )
        broken = sum(not check.may_hold for check in kept)
        drop = -np.inf if worst is None else worst
        scored.append((c, measures.sign("task_score") * task, drop, broken))
    if not scored:
        return None
    limit = question.max_forgetting
    within = [s for s in scored if not s[3] and (limit is None or s[2] <= limit)]
    if within:
        return max(within, key=lambda s: s[1])[0]
    return min(scored, key=lambda s: (s[3], s[2]))[0]


def ladder(
    measures: Measures,
    split: Split,
    pool: Sequence[Configuration],
    question: Question,
    by_point: bool = False,
    confidence: float | None = None,
) -> tuple[Size, ...]:
    """All sizes, largest first, with what each was tested on and how far the descent came.

    Args:
        split: The decision split.
        pool: Configurations that may stand, all scored on `split`.
        by_point: Judge by point estimates where bounds are unknown (provisional answers).
        confidence: Of the bounds before a size is skipped; None: the final decision's, 95 %, or
            what is left of it after several looks (`spending`).
    """
    whole = final_confidence(measures.table.sweep) if confidence is None else confidence
    sizes = []
    for info in sorted(measures.table.sweep.models, key=lambda m: -m.parameters):
        mine = [c for c in pool if c.model == info.name]
        chosen = candidate(measures, mine, question)
        unscored = None if chosen else _unscored(measures, split, info.name, question)
        sizes.append(Size(info.name, info.parameters, chosen, unscored=unscored))
    lost = lost_level(sizes) is not None
    largest = None if lost else next((s.candidate for s in sizes if s.candidate), None)

    def checks(who: Configuration, here: float) -> tuple[Check, ...]:
        return (
            *_task_check(measures, split, who, largest, question, here),
            *limit_checks(measures, split, who, question, here),
        )

    return descend(sizes, checks, whole, by_point=by_point, lost=lost)


def descend(
    sizes: Sequence[Size],
    checks: Callable[[Configuration, float], tuple[Check, ...]],
    confidence: float = CONFIDENCE,
    *,
    by_point: bool = False,
    lost: bool = False,
) -> tuple[Size, ...]:
    """Steps 3 and 4: tests sizes, largest first, until one fails.

    Args:
        checks: Of a candidate at a confidence.
        confidence: Before a size is skipped.
        by_point: Judge by point estimates where bounds are unknown.
        lost: There is no level to hold, so nothing is reached.
    """
    judged: list[Size] = []
    descending, started, skipped = not lost, False, 0
    for size in sizes:
        if size.candidate is None:
            judged.append(size)
            continue
        here = confidence_after(skipped, confidence)
        tested = replace(size, checks=checks(size.candidate, here), confidence=here)
        passed = all(c.passes(by_point) for c in tested.checks)
        reached = descending and passed
        started = started or reached
        if descending and not passed:
            descending = not started and not tested.failing("task_score", by_point)
            skipped += descending
        judged.append(replace(tested, reached=reached))
    return tuple(judged)


def _unscored(measures: Measures, split: Split, model: str, question: Question) -> str | None:
    """Why a size that was confirmed has no scores on a split; what is over budget is no option."""
    return next(
        (
            c.lacks[split]
            for c in measures.table.configurations
            if c.kind == "trial"
            and c.model == model
            and split in c.lacks
            and (c.confirmed or split == "test")  # only what was to be confirmed lacks test scores
            and over_budget(c, question) is None
        ),
        None,
    )


def _task_check(
    measures: Measures,
    split: Split,
    who: Configuration,
    largest: Configuration | None,
    question: Question,
    confidence: float,
) -> tuple[Check, ...]:
    """Condition (a); none for the largest itself, nor without a level to hold."""
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
        *_outcome_check(measures, who, question, confidence),
    )


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


def _outcome_check(
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


def forgetting_checks(
    measures: Measures,
    split: Split,
    who: Configuration,
    question: Question,
    confidence: float = CONFIDENCE,
) -> tuple[Check, ...]:
    """Condition (b): one check a forgetting suite, at simultaneous confidence; none without limit.

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


def probabilities(
    measures: Measures, split: Split, sizes: Sequence[Size], question: Question
) -> Mapping[str, float]:
    """`probability_adequate` by model: share of joint draws in which (a) and (b) hold.

    Guards are left out: slices have no draws.

    Empty where a size's seed variance is unknown (no draw could be made for it), and where there is
    no level to hold.
    """
    if lost_level(sizes) is not None:
        return {}
    candidates = [s.candidate for s in sizes if s.candidate is not None]
    bases = {c.model: measures.base(c.model) for c in candidates}
    who = [*candidates, *(b for b in bases.values() if b is not None and b.has(split))]
    drawn = draw_scores(measures, split, who, DRAWS) if candidates else None
    if drawn is None:
        return {}
    column = {c.trial_id: n for n, c in enumerate(who)}
    return {
        c.model: float(
            np.mean(_adequate(measures, split, drawn, column, c, candidates[0], question))
        )
        for c in candidates
        if _measurable(measures, split, c, question)
    }


def _measurable(measures: Measures, split: Split, who: Configuration, question: Question) -> bool:
    return measures.point(who, split, "task_score") is not None and all(
        c.uncertain is not None for c in forgetting_checks(measures, split, who, question)
    )


def _adequate(
    measures: Measures,
    split: Split,
    drawn: Mapping[str, Floats],
    column: Mapping[str, int],
    who: Configuration,
    largest: Configuration,
    question: Question,
) -> Floats:
    """Which draws fulfil all conditions for one candidate; shape [draws]."""
    mine = column[who.trial_id]
    base = measures.base(who.model)
    difference, gains = np.zeros(DRAWS), 0
    holds = np.ones(DRAWS, dtype=bool)
    for name, suite in measures.table.suites[split].items():
        scores = drawn[name]
        if suite.info.measures == "gain":
            difference += suite.sign * (scores[:, mine] - scores[:, column[largest.trial_id]])
            gains += 1
        elif question.max_forgetting is not None and base is not None:
            drop = suite.sign * (scores[:, column[base.trial_id]] - scores[:, mine])
            holds &= drop <= question.max_forgetting
    if who.trial_id != largest.trial_id:
        holds &= difference / max(1, gains) > -question.delta
    return holds.astype(np.float64)
