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

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from keepgain.analysis.checks import (
    Check,
    Claim,
    guard_checks,
    limit_checks,
    outcome_check,
    task_check,
)
from keepgain.analysis.costs import over_budget
from keepgain.analysis.measures import Measures
from keepgain.analysis.spending import final_confidence
from keepgain.analysis.stats import CONFIDENCE
from keepgain.analysis.table import Configuration
from keepgain.core.config import Split
from keepgain.core.record import Question


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
            *outcome_check(measures, c, question, CONFIDENCE),
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
            *task_check(measures, split, who, largest, question, here),
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
