"""The rule on a table from elsewhere: the same as of a sweep, on the figures that the table gives.

* With a model and a cost of every row there is a question of size: models by their cost, largest
  first, each by its best row; the size rule of `sizes`, its bounds taken where the table says
  anything about uncertainty, and point figures where it does not. Models of one cost go by their
  task score, the better first.
* Without, the answer is the row with the best task score within the limit, with those that cannot
  be told from it.
"""

from collections.abc import Sequence
from dataclasses import replace

from scipy import special

from keepgain.analysis.checks import Check
from keepgain.analysis.given_scene import Scene, broken, figure_check, offered
from keepgain.analysis.judge import Flip, Outcome, Verdict, levels_of, scan
from keepgain.analysis.sizes import Size, descend
from keepgain.analysis.stats import CONFIDENCE
from keepgain.analysis.table import Configuration


def judge_given(scene: Scene) -> Verdict:
    """The size rule where sizes are known, else whether any row is within the limits."""
    pool = offered(scene)
    if not pool:
        return Verdict("infeasible", None, (), None, {})
    costs = _model_costs(scene)
    if costs is None:
        within = [c for c in pool if broken(scene, c) is None]
        return Verdict("recommended" if within else "infeasible", None, (), None, {})
    sizes = _ladder(scene, pool, costs)
    reached = [s for s in sizes if s.reached]
    outcome: Outcome = "recommended"
    if not reached:
        open_ = any(all(c.holds_at_point for c in s.checks) for s in sizes if s.candidate)
        outcome = "not_resolved" if open_ else "infeasible"
    return Verdict(outcome, reached[-1] if reached else None, sizes, None, {})


def _model_costs(scene: Scene) -> dict[str, float] | None:
    """Model → its cost, of its rows the largest; None where there is no question of size: a single
    model, or one whose cost is not known."""
    found: dict[str, float] = {}
    for who in scene.table.configurations:
        cost = who.cost.get(scene.question.cost)
        if not who.model or cost is None:
            return None
        found[who.model] = max(cost, found.get(who.model, cost))
    return found if len(found) > 1 else None


def _ladder(
    scene: Scene, pool: Sequence[Configuration], costs: dict[str, float]
) -> tuple[Size, ...]:
    parameters = {m.name: m.parameters for m in scene.table.sweep.models}
    sizes = [
        Size(m, parameters.get(m), candidate_of(scene, [c for c in pool if c.model == m]))
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
            task = figure_check(
                "task_score", largest.label, distance, -scene.question.delta, confidence
            )
        return tuple(c for c in (task, scene.limit_check(who, confidence)) if c is not None)

    return descend(sizes, checks, by_point=True)


def candidate_of(scene: Scene, pool: Sequence[Configuration]) -> Configuration | None:
    """The best task score within the limit, else the least forgetting. Ties: the first by id."""
    rows = sorted(pool, key=lambda c: c.trial_id)
    within = [c for c in rows if broken(scene, c) is None]
    if within or not rows or scene.forgetting is None:
        return max(within, key=scene.better, default=None)
    name = scene.forgetting.name
    return min(rows, key=lambda c: scene.table.figures[c.trial_id][name].value)


def tied_with(
    scene: Scene, chosen: Configuration, pool: Sequence[Configuration]
) -> tuple[Configuration, ...]:
    """Rows within the limit that cannot be told from the chosen one, in task score and forgetting,
    by intervals that hold for all of them together (Bonferroni)."""
    rivals = [c for c in pool if c.trial_id != chosen.trial_id and broken(scene, c) is None]
    one_sided = 1 - (1 - CONFIDENCE) / (2 * max(1, len(rivals)))
    names = [scene.task.name, *([scene.forgetting.name] if scene.forgetting else [])]
    tied = []
    for rival in rivals:
        found = [scene.table.difference(rival, chosen, n) for n in names]
        bounds = [(u.lower(one_sided), u.upper(one_sided)) for u in found]
        if all(lo is not None and hi is not None and lo <= 0 <= hi for lo, hi in bounds):
            tied.append(rival)
    return tuple(sorted(tied, key=lambda c: c.trial_id))


def probability_adequate(scene: Scene, size: Size, sizes: Sequence[Size]) -> float | None:
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


def delta_flips(scene: Scene, now: Verdict) -> tuple[Flip, ...]:
    """Every margin at which another model is the answer; see `judge.flips`."""
    found = [c.uncertain for s in now.sizes for c in s.checks if c.claim == "task_score"]
    levels = levels_of(now.sizes, CONFIDENCE)
    return tuple(
        scan(
            "delta",
            scene.question.delta,
            [-v for u in found if u for v in (u.value, *map(u.lower, levels)) if v is not None],
            lambda x: judge_given(_with_delta(scene, x)).answer,
        )
    )


def _with_delta(scene: Scene, delta: float) -> Scene:
    return replace(scene, question=scene.question.model_copy(update={"delta": delta}))
