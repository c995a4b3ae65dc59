"""The rule as a pure function of evidence and question: which size, or why none.

Configurations beyond a limit on a cost (`max_cost`) are no options, so the largest size that may be
had is the level that the others must hold. Nothing within the limits: `infeasible`. A reference arm
is no option either if one of its costs is known to be beyond a limit; an arm that has no such
figure (nothing was trained for it) stays.

Order of the answers, on the decision split:

0. If the largest confirmed size has no scores on the decision split: `not_resolved`.
1. Adequate sizes are found downwards (`sizes`). Of those reached, the smallest whose candidate
   beats the best reference arm is recommended: its paired one-sided lower bound over the arm
   must exceed `min_gain`. The best arm is that of all sizes with the highest task score (base,
   system prompt, few shot, context); picking it on the decision split favours it, never the trials.
2. None beats the arm even as a point estimate: `do_not_fine_tune`.
3. A size whose every condition holds as a point estimate, but not by its bounds (or that the
   descent did not reach, or of which a condition could not be measured): `not_resolved`.
4. Sizes that beat the arm break a condition already as a point estimate. If another size was
   reached, which then loses to the arm: `do_not_fine_tune`. Else `infeasible`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np

from keepgain.analysis.checks import Check, forgetting_checks
from keepgain.analysis.costs import known_dear, over_budget
from keepgain.analysis.measures import Measures
from keepgain.analysis.sizes import Size, confidence_after, ladder, lost_level
from keepgain.analysis.spending import final_confidence
from keepgain.analysis.table import Configuration
from keepgain.core.config import Split
from keepgain.core.record import Question

Outcome = Literal["recommended", "do_not_fine_tune", "not_resolved", "infeasible"]


@dataclass(frozen=True)
class Verdict:
    """What the rule answers, with all that it looked at."""

    outcome: Outcome
    pick: Size | None
    """The recommended size."""
    sizes: tuple[Size, ...]
    """Largest first."""
    arm: Configuration | None
    """The best reference arm; None if none was scored on this split."""
    against_arm: dict[str, Check]
    """Model → its candidate against the arm."""

    @property
    def answer(self) -> str:
        """The model, or the outcome where there is none: what a flip changes."""
        return self.pick.model if self.pick else self.outcome


def judge(
    measures: Measures,
    split: Split,
    pool: Sequence[Configuration],
    question: Question,
    by_point: bool = False,
) -> Verdict:
    """Applies the rule; see the module's text.

    Args:
        split: The decision split.
        pool: Configurations that may be recommended, all scored on `split`.
        by_point: Judge by point estimates where bounds are unknown (provisional answers).
    """
    offered = [c for c in pool if over_budget(c, question) is None]
    unscored = [c for c in measures.table.configurations if c.confirmed and split in c.lacks]
    sizes = ladder(measures, split, offered, question, by_point)
    sizes = _with_costs(sizes, [*pool, *unscored], question)
    arm = best_arm(measures, split, question)
    if pool and not offered:
        return Verdict("infeasible", None, sizes, arm, {})
    standing = [s for s in sizes if s.candidate is not None]
    checks = {
        s.model: against_arm(measures, split, s.candidate, arm, question)
        for s in standing
        if arm is not None and s.candidate is not None
    }
    if lost_level(sizes) is not None:
        return Verdict("not_resolved", None, sizes, arm, checks)
    reached = [s for s in standing if s.reached]
    for size in reversed(reached):
        if arm is None or checks[size.model].passes(by_point):
            return Verdict("recommended", size, sizes, arm, checks)

    ahead = [s for s in standing if arm is None or checks[s.model].holds_at_point]
    if standing and not ahead:
        return Verdict("do_not_fine_tune", None, sizes, arm, checks)
    if not standing or any(all(c.may_hold for c in s.checks) for s in ahead):
        return Verdict("not_resolved", None, sizes, arm, checks)
    return Verdict("do_not_fine_tune" if reached else "infeasible", None, sizes, arm, checks)


def _with_costs(
    sizes: Sequence[Size], pool: Sequence[Configuration], question: Question
) -> tuple[Size, ...]:
    """The same, with the limit on a cost that the cheapest of a size without candidate breaks."""
    told = []
    for size in sizes:
        judged = size.candidate is not None or size.unscored is not None
        mine = [] if judged else [c for c in pool if c.model == size.model]
        limited = next(iter(question.max_cost), "")
        cheapest = min(mine, key=lambda c: c.cost.get(limited, np.inf), default=None)
        why = None if cheapest is None else over_budget(cheapest, question)
        told.append(replace(size, over_budget=why))
    return tuple(told)


def best_arm(measures: Measures, split: Split, question: Question) -> Configuration | None:
    """The base or reference arm with the best task score on this split, over all sizes, among those
    that are not known to break a limit on a cost."""
    arms = []
    for c in measures.table.configurations:
        if c.kind != "trial" and not known_dear(c, question):
            task = measures.point(c, split, "task_score")
            if task is not None:
                arms.append((measures.sign("task_score") * task, c))
    return max(arms, key=lambda a: a[0])[1] if arms else None


def against_arm(
    measures: Measures,
    split: Split,
    who: Configuration,
    arm: Configuration,
    question: Question,
    confidence: float | None = None,
) -> Check:
    """Whether a candidate beats an arm by more than `min_gain`.

    Args:
        confidence: Of the bound; None: the final decision's.
    """
    if confidence is None:
        confidence = final_confidence(measures.table.sweep)
    difference = measures.difference(who, arm, split, "task_score")
    bound = difference.lower(confidence) if difference else None
    return Check(
        claim="reference",
        subject=arm.label,
        uncertain=difference,
        bound=bound,
        threshold=question.min_gain,
        scorer=measures.scorer("gain"),
        holds=bound is not None and bound > question.min_gain,
        holds_at_point=difference is not None and difference.value > question.min_gain,
        confidence=confidence,
    )


@dataclass(frozen=True)
class Flip:
    """A value of the question at which the answer changes."""

    what: str
    """`delta`, `max_forgetting`, `min_gain`, or a limit on a cost: `max_cost.parameters`."""
    current: float | None
    to: float
    answer: str
    """Model or outcome on the far side of `to`, seen from the current value."""


def flips(
    measures: Measures,
    split: Split,
    pool: Sequence[Configuration],
    question: Question,
    by_point: bool = False,
) -> tuple[Flip, ...]:
    """Every value of delta, max_forgetting, min_gain and cost limits at which the answer changes.

    The rule can only change where one of its bounds or point estimates, or a cost, equals the
    threshold; it is evaluated once between any two neighbours of those values. Limits that are
    tried are those on the question's cost and those that it sets, where every configuration of the
    pool has the cost.
    """
    now = judge(measures, split, pool, question, by_point)
    if lost_level(now.sizes) is not None:
        return ()  # no value of the question brings the level back
    task = [c.uncertain for s in now.sizes for c in s.checks if c.claim == "task_score"]
    levels = levels_of(now.sizes, final_confidence(measures.table.sweep))

    def answer(changes: Mapping[str, object]) -> str:
        changed = question.model_copy(update=dict(changes))
        return judge(measures, split, pool, changed, by_point).answer

    found: list[Flip] = []
    found += scan(
        "delta",
        question.delta,
        [-v for u in task if u for v in (u.value, *map(u.lower, levels)) if v is not None],
        lambda x: answer({"delta": x}),
    )
    found += scan(
        "max_forgetting",
        question.max_forgetting,
        _critical_limits(measures, split, pool, question, levels),
        lambda x: answer({"max_forgetting": x}),
    )
    found += scan(
        "min_gain",
        question.min_gain,
        [v for c in now.against_arm.values() for v in _critical(c)],
        lambda x: answer({"min_gain": x}),
    )
    arms = [c for c in measures.table.configurations if c.kind != "trial" and c.has(split)]
    for name in dict.fromkeys([question.cost, *question.max_cost]):
        if pool and all(name in c.cost for c in pool):
            limits = question.max_cost
            found += scan(
                f"max_cost.{name}",
                limits.get(name),
                [c.cost[name] for c in (*pool, *arms) if name in c.cost],
                partial(_with_limit, answer, limits, name),
            )
    return tuple(found)


def _with_limit(
    answer: Callable[[Mapping[str, object]], str], limits: Mapping[str, float], name: str, x: float
) -> str:
    return answer({"max_cost": {**limits, name: x}})


def _critical(check: Check) -> list[float]:
    values = [check.bound, check.uncertain.value if check.uncertain else None]
    return [v for v in values if v is not None]


def levels_of(sizes: Sequence[Size], confidence: float) -> list[float]:
    """Every confidence at which a size may be tested, by how many above it are skipped."""
    candidates = sum(bool(s.candidate) for s in sizes)
    return [confidence_after(skipped, confidence) for skipped in range(candidates)]


def _critical_limits(
    measures: Measures,
    split: Split,
    pool: Sequence[Configuration],
    question: Question,
    levels: Sequence[float],
) -> list[float]:
    """Drops and their simultaneous bounds: where a limit would admit or refuse a configuration."""
    limited = question.model_copy(update={"max_forgetting": question.max_forgetting or 0.0})
    values: list[float] = []
    for who in pool:
        for level in levels:
            checks = forgetting_checks(measures, split, who, limited, level)
            values += [v for c in checks for v in _critical(c)]
        worst = measures.worst_drop(who, "validation" if who.has("validation") else split)
        values += [] if worst is None else [worst]
    return values


def scan(
    what: str,
    current: float | None,
    critical: Sequence[float],
    answer_at: Callable[[float], str],
) -> list[Flip]:
    """Walks away from the current value in both directions and notes every change of the answer.

    Args:
        current: None means no limit, that is, above all values.
        critical: Where the rule may change; negative ones are no sensible question.
        answer_at: The rule's answer for a value.
    """
    edges = sorted({v for v in critical if v >= 0})
    here = float("inf") if current is None else current
    found: list[Flip] = []
    for upward, outward in (
        (True, [e for e in edges if e >= here]),
        (False, [e for e in reversed(edges) if e <= here]),
    ):
        last = None
        for n, edge in enumerate(outward):
            beyond = outward[n + 1] if n + 1 < len(outward) else None
            if beyond is None:
                inside = edge + 1.0 if upward else edge / 2
            else:
                inside = (edge + beyond) / 2
            if inside == edge:
                continue
            last = last if last is not None else _start(answer_at, current, edges)
            answer = answer_at(inside)
            if answer != last:
                found.append(Flip(what, current, edge, answer))
            last = answer
    return found


def _start(answer_at: Callable[[float], str], current: float | None, edges: list[float]) -> str:
    """The answer at the current value; no limit is a limit above every drop."""
    return answer_at(current if current is not None else edges[-1] + 1.0)
