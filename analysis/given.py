"""A decision on a table from elsewhere: the same rule, on the figures that the table gives.

* The task score is the first objective to be maximised; the one called `forgetting` is what a limit
  on forgetting holds (`given_question`). Everything is compared on levels: the table says of no
  row which base it was tuned from, so there is no gain.
* With a model and a cost of every row there is a question of size: models by their cost, largest
  first, each by its best row; the size rule of `sizes`, its bounds taken where the table says
  anything about uncertainty, and point figures where it does not. Models of one cost go by their
  task score, the better first.
* Without, the answer is the front and the row with the best task score within the limit, with those
  that cannot be told from it.
* The status is always `provisional`: rows are chosen on the very figures that they are judged by.
"""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from keepgain.analysis.analyze import Analysis, Row, SizeRow
from keepgain.analysis.costs import budget_cost, over_budget
from keepgain.analysis.decide import MAX_POOL_FOR_FLIPS, Decision
from keepgain.analysis.fronts import Front, Place, front_of, standing_layers
from keepgain.analysis.given_question import is_forgetting, task_of
from keepgain.analysis.given_table import GivenTable, describe, given_table
from keepgain.analysis.hypervolume import reference_point
from keepgain.analysis.judge import Flip, Outcome, Verdict, levels_of, scan
from keepgain.analysis.sizes import Check, Size, descend
from keepgain.analysis.stats import CONFIDENCE, Estimate, Uncertain
from keepgain.analysis.table import Configuration
from keepgain.core.errors import UserError
from keepgain.core.record import GivenObjective, Question, SweepRecord

FIELD = "table"
"""What the one field of such a record is called; its rows are all compared with each other."""


@dataclass(frozen=True)
class Scene:
    """A table with the question put to it."""

    table: GivenTable
    question: Question
    task: GivenObjective
    forgetting: GivenObjective | None
    """What `max_forgetting` limits; None: no objective is called so."""

    def better(self, who: Configuration) -> float:
        """The task score, turned so that more is better."""
        value = self.table.figures[who.trial_id][self.task.name].value
        return value if self.task.direction == "maximize" else -value

    def difference(self, a: Configuration, b: Configuration) -> Uncertain:
        """Of the task scores, a - b, more is better."""
        first, second = (a, b) if self.task.direction == "maximize" else (b, a)
        return self.table.difference(first, second, self.task.name)

    def limit_check(self, who: Configuration, confidence: float) -> Check | None:
        """Whether its forgetting is within the limit; None without one."""
        limit = self.question.max_forgetting
        if limit is None or self.forgetting is None:
            return None
        drop = self.table.uncertain(who, self.forgetting.name)
        return _check("forgetting", self.forgetting.name, drop, limit, confidence)


def analyze_given(
    sweep: SweepRecord,
    question: Question,
    *,
    budget_usd: float | None = None,
    wanted: Sequence[str] = (),
) -> Analysis:
    """Decides on an imported record.

    Args:
        question: With what the command line overrides.
        budget_usd: As of `analyze`.
        wanted: Objectives of the front, the declared ones and the cost among them; empty: the
            declared ones.

    Raises:
        UserError: A limit on something that the table does not have, or an unknown objective.
    """
    table = given_table(sweep)
    task = task_of(sweep.objectives)
    forgetting = next((o for o in sweep.objectives if is_forgetting(o) and o != task), None)
    if question.max_forgetting is not None and forgetting is None:
        raise UserError(
            f"sweep '{sweep.id}' has no objective called forgetting, which the limit is for.",
            hint=f"Its objectives: {', '.join(o.name for o in sweep.objectives)}.",
        )
    scene = Scene(table, _within_budget(table, question, budget_usd), task, forgetting)
    front = _front(scene, table.configurations, _columns(scene, wanted))
    decision = _decide(scene, front)
    sizes, levels = _size_rows(scene, decision, wanted)
    return Analysis(
        sweep=sweep,
        question=scene.question,
        objectives=describe(sweep),
        rows=_rows(scene, front),
        sizes=sizes,
        decision=decision,
        excluded=table.excluded,
        warnings=sweep.warnings,
        scorers={"gain": "", "forgetting": ""},
        fronts={FIELD: front},
        levels=levels,
        given=table,
        wanted=tuple(wanted),
    )


def _within_budget(table: GivenTable, question: Question, budget_usd: float | None) -> Question:
    if budget_usd is None:
        return question
    name = budget_cost(question)
    if not any(name in c.cost for c in table.configurations):
        raise UserError(
            f"a budget limits {name}, which no row of sweep '{table.sweep.id}' has.",
            hint="Import it with --cost and the column of costs in dollars, its name beginning "
            "with `usd`.",
        )
    return question.model_copy(update={"max_cost": {**question.max_cost, name: budget_usd}})


# -- the front --------------------------------------------------------------------------------


def _columns(scene: Scene, wanted: Sequence[str]) -> tuple[str, ...]:
    """Objectives of the front, the task score first: it is the one that delta is in."""
    declared = [o.name for o in scene.table.sweep.objectives]
    known = [*declared, *sorted({n for c in scene.table.configurations for n in c.cost})]
    for name in wanted:
        if name not in known:
            raise UserError(
                f"'{name}' is no objective of sweep '{scene.table.sweep.id}'.",
                hint=f"Known: {', '.join(known)}.",
            )
    return tuple(sorted(wanted or declared, key=lambda n: n != scene.task.name))


def _front(scene: Scene, who: Sequence[Configuration], names: Sequence[str]) -> Front:
    kept = {c.trial_id for c in who}
    points = scene.table.points(names)
    points = points.keep(np.array([i in kept for i in points.ids], dtype=bool))
    return front_of(
        points,
        broken={c.trial_id: why for c in who if (why := _broken(scene, c))},
        margin=scene.question.delta if names[0] == scene.task.name else 0.0,
        reference=reference_point(points.objectives, scene.question, scene.table.sweep.models),
    )


def _broken(scene: Scene, who: Configuration) -> str | None:
    check = scene.limit_check(who, CONFIDENCE)
    if check is not None and check.uncertain is not None and not check.holds_at_point:
        value, limit = check.uncertain.value, check.threshold
        return f"{check.subject} {value:.4g} is above {limit:.4g} (max_forgetting)"
    return over_budget(who, scene.question)


def _rows(scene: Scene, front: Front) -> tuple[Row, ...]:
    """Those that count by rank, then those that were left out."""
    table, names = scene.table, [o.name for o in scene.table.sweep.objectives]
    layer = standing_layers(front)
    keys = [
        (layer.get(i, len(table.configurations)), -scene.better(c))
        for i, c in enumerate(table.configurations)
    ]
    ordered = sorted(keys)
    rows = []
    for i, who in enumerate(table.configurations):
        share = None if front.membership is None else float(front.membership[i])
        place = Place(
            field=FIELD,
            on_front=bool(front.on[i]),
            near_front=bool(front.near[i]),
            membership=None if share is None or np.isnan(share) else share,
            rank=1 + bisect.bisect_left(ordered, keys[i]),
            excluded=front.excluded.get(who.trial_id),
        )
        estimates = {n: table.uncertain(who, n).estimate() for n in names}
        rows.append(Row(who, None, place, given=estimates))
    rows.sort(key=lambda r: (r.place.rank or 0 if r.place else 0, r.who.trial_id))
    absent = dict.fromkeys(names, Estimate())
    return (*rows, *(Row(who, None, None, given=absent) for who in table.left_out))


# -- the decision -----------------------------------------------------------------------------


def _decide(scene: Scene, front: Front) -> Decision:
    from keepgain.analysis.given_text import reason

    question = scene.question
    verdict = _judge(scene, question)
    pool = _offered(scene, scene.table.configurations)
    if verdict.sizes:
        chosen = verdict.pick.candidate if verdict.pick else None
        pool = [c for c in pool if chosen is not None and c.model == chosen.model]
    else:
        chosen = _candidate(scene, pool) if verdict.outcome == "recommended" else None
    tied = _tied(scene, chosen, pool) if chosen else ()
    sized = {
        s.model: p
        for s in verdict.sizes
        if s.candidate is not None and (p := _adequate(scene, s, verdict.sizes)) is not None
    }
    flips = _delta_flips(scene, verdict) if len(verdict.sizes) <= MAX_POOL_FOR_FLIPS else ()
    return Decision(
        status="provisional",
        model=(chosen.model or None) if chosen else None,
        trial=chosen.trial_id if chosen else None,
        probability=sized.get(verdict.pick.model) if verdict.pick else None,
        reason=reason(scene, verdict, front, chosen, tied, sized),
        tied_with=tuple(c.trial_id for c in tied),
        flips=flips,
        guards=(),
        split="validation",
        verdict=verdict,
        probabilities=sized,
    )


def _judge(scene: Scene, question: Question) -> Verdict:
    """The size rule where sizes are known, else whether any row is within the limits."""
    scene = Scene(scene.table, question, scene.task, scene.forgetting)
    offered = _offered(scene, scene.table.configurations)
    if not offered:
        return Verdict("infeasible", None, (), None, {})
    costs = model_costs(scene)
    if costs is None:
        within = [c for c in offered if _broken(scene, c) is None]
        return Verdict("recommended" if within else "infeasible", None, (), None, {})
    sizes = _ladder(scene, offered, costs)
    reached = [s for s in sizes if s.reached]
    outcome: Outcome = "recommended"
    if not reached:
        open_ = any(all(c.holds_at_point for c in s.checks) for s in sizes if s.candidate)
        outcome = "not_resolved" if open_ else "infeasible"
    return Verdict(outcome, reached[-1] if reached else None, sizes, None, {})


def model_costs(scene: Scene) -> dict[str, float] | None:
    """Model → its cost, of its rows the largest; None where there is no question of size: a single
    model, or one whose cost is not known."""
    found: dict[str, float] = {}
    for who in scene.table.configurations:
        cost = who.cost.get(scene.question.cost)
        if not who.model or cost is None:
            return None
        found[who.model] = max(cost, found.get(who.model, cost))
    return found if len(found) > 1 else None


def _offered(scene: Scene, who: Sequence[Configuration]) -> list[Configuration]:
    return [c for c in who if over_budget(c, scene.question) is None]


def _candidate(scene: Scene, pool: Sequence[Configuration]) -> Configuration | None:
    """The best task score within the limit, else the least forgetting. Ties: the first by id."""
    rows = sorted(pool, key=lambda c: c.trial_id)
    within = [c for c in rows if _broken(scene, c) is None]
    if within or not rows or scene.forgetting is None:
        return max(within, key=scene.better, default=None)
    name = scene.forgetting.name
    return min(rows, key=lambda c: scene.table.figures[c.trial_id][name].value)


def _ladder(
    scene: Scene, offered: Sequence[Configuration], costs: dict[str, float]
) -> tuple[Size, ...]:
    parameters = {m.name: m.parameters for m in scene.table.sweep.models}
    sizes = [
        Size(m, parameters.get(m), _candidate(scene, [c for c in offered if c.model == m]))
        for m in costs
    ]
    sizes.sort(
        key=lambda s: (-costs[s.model], -scene.better(s.candidate) if s.candidate else 0.0, s.model)
    )
    largest = next(s.candidate for s in sizes if s.candidate)

    def checks(who: Configuration, confidence: float) -> tuple[Check, ...]:
        task = None
        if who.trial_id != largest.trial_id:
            distance = scene.difference(who, largest)
            task = _check("task_score", largest.label, distance, -scene.question.delta, confidence)
        return tuple(c for c in (task, scene.limit_check(who, confidence)) if c is not None)

    return descend(sizes, checks, by_point=True)


def _check(claim: str, subject: str, u: Uncertain, threshold: float, confidence: float) -> Check:
    """A task score must be above its threshold, forgetting at most its limit."""
    at_least = claim == "task_score"
    bound = u.lower(confidence) if at_least else u.upper(confidence)

    def clears(value: float) -> bool:
        return value > threshold if at_least else value <= threshold

    return Check(
        claim="task_score" if at_least else "forgetting",
        subject=subject,
        uncertain=u,
        bound=bound,
        threshold=threshold,
        scorer="",
        holds=bound is not None and clears(bound),
        holds_at_point=clears(u.value),
        confidence=confidence,
        side="above" if at_least else "at_most",
    )


def _tied(
    scene: Scene, chosen: Configuration, pool: Sequence[Configuration]
) -> tuple[Configuration, ...]:
    """Rows within the limit that cannot be told from the chosen one, in task score and forgetting,
    by intervals that hold for all of them together (Bonferroni)."""
    rivals = [c for c in pool if c.trial_id != chosen.trial_id and _broken(scene, c) is None]
    one_sided = 1 - (1 - CONFIDENCE) / (2 * max(1, len(rivals)))
    names = [scene.task.name, *([scene.forgetting.name] if scene.forgetting else [])]
    tied = []
    for rival in rivals:
        found = [scene.table.difference(rival, chosen, n) for n in names]
        bounds = [(u.lower(one_sided), u.upper(one_sided)) for u in found]
        if all(lo is not None and hi is not None and lo <= 0 <= hi for lo, hi in bounds):
            tied.append(rival)
    return tuple(sorted(tied, key=lambda c: c.trial_id))


def _adequate(scene: Scene, size: Size, sizes: Sequence[Size]) -> float | None:
    """Chance that all conditions hold, each a t variable around its figure, independently."""
    largest = next(s.candidate for s in sizes if s.candidate)
    who = size.candidate
    assert who is not None
    known = scene.table.uncertain(who, scene.task.name).known
    chance = 1.0
    for check in size.checks:
        u = check.uncertain
        if u is None or not u.known:
            return None
        side = 1.0 if check.claim == "task_score" else -1.0
        distance = side * (u.value - check.threshold)
        if u.variance == 0:
            chance *= float(distance >= 0)
        else:
            z = distance / u.variance**0.5
            chance *= float(special.ndtr(z) if u.df > 1e6 else special.stdtr(u.df, z))
    return chance if known or who.trial_id != largest.trial_id else None


def _delta_flips(scene: Scene, now: Verdict) -> tuple[Flip, ...]:
    """Every margin at which another model is the answer; see `judge.flips`."""
    found = [c.uncertain for s in now.sizes for c in s.checks if c.claim == "task_score"]
    levels = levels_of(now.sizes, CONFIDENCE)
    return tuple(
        scan(
            "delta",
            scene.question.delta,
            [-v for u in found if u for v in (u.value, *map(u.lower, levels)) if v is not None],
            lambda x: _judge(scene, scene.question.model_copy(update={"delta": x})).answer,
        )
    )


def _size_rows(
    scene: Scene, decision: Decision, wanted: Sequence[str]
) -> tuple[tuple[SizeRow, ...], Front | None]:
    """Models by their candidates, and the front of those in the objectives and the cost."""
    sizes = decision.verdict.sizes
    candidates = [s.candidate for s in sizes if s.candidate is not None]
    if not candidates:
        return (), None
    names = _columns(scene, wanted)
    cost = scene.question.cost
    levels = _front(scene, candidates, names if cost in names else (*names, cost))
    names = tuple(o.name for o in scene.table.sweep.objectives)
    rows = tuple(
        SizeRow(
            size=s,
            estimates={n: scene.table.uncertain(s.candidate, n).estimate() for n in names}
            if s.candidate
            else {},
            probability_adequate=decision.probabilities.get(s.model),
            on_front=s.candidate is not None and s.candidate.trial_id in levels.ids,
        )
        for s in sizes
    )
    return rows, levels
