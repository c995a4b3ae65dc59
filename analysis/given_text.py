"""What is said of a table from elsewhere: the paragraph, the tables and the notes."""

from collections.abc import Mapping, Sequence

from keepgain.analysis import cells, words
from keepgain.analysis.checks import Check
from keepgain.analysis.fronts import Front
from keepgain.analysis.given_question import SHARES, task_of
from keepgain.analysis.given_scene import Scene
from keepgain.analysis.given_table import BINOMIAL, GIVEN, SEEDS
from keepgain.analysis.grid import Grid
from keepgain.analysis.judge import Verdict
from keepgain.analysis.result import Analysis
from keepgain.analysis.sizes import Size
from keepgain.analysis.stats import Estimate
from keepgain.analysis.table import Configuration
from keepgain.core.record import GivenObjective

MAX_ROWS = 60
MAX_NAMED = 8
MAX_EXCLUDED = 8


# -- the paragraph ----------------------------------------------------------------------------


def reason(
    scene: Scene,
    verdict: Verdict,
    front: Front,
    chosen: Configuration | None,
    tied: Sequence[Configuration],
    sized: Mapping[str, float],
) -> str:
    """The decision, what it rests on, and what such a table cannot tell."""
    said = [
        "Provisional, since these are figures from a table: the rows are judged on the very "
        "figures by which the best of them stand out, so those flatter.",
        _certainty(scene),
        *(_sized(scene, verdict, sized) if verdict.sizes else _unsized(scene, chosen)),
        *_alike(scene, chosen, tied),
        _front_line(scene, front),
        "No row is known to be an untouched base, so whether fine-tuning pays is not answered.",
    ]
    return " ".join(words.clean(s) for s in said if s)


def _certainty(scene: Scene) -> str:
    """What is known of the uncertainty, of the task score."""
    table, name = scene.table, scene.task.name
    found = [table.uncertain(c, name) for c in table.configurations]
    known = [u for u in found if u.known]
    if not known:
        return (
            f"It gives no standard error of {name} and no number of items, so nothing can be told "
            "apart; what follows goes by the figures as they stand."
        )
    how = {
        GIVEN: "the standard errors that the table gives",
        BINOMIAL: "the number of items behind each share",
        SEEDS: "the spread between rows that are seeds of one configuration",
    }
    methods = {part for u in known for part in how if part in u.method}
    rests = words.join([how[m] for m in how if m in methods])
    lacking = len(found) - len(known)
    alone = ", and says nothing of what other items would have given" if methods == {SEEDS} else ""
    rest = f" {words.count(lacking, 'row')} lack{'s' * (lacking == 1)} it." if lacking else ""
    return (
        f"Its uncertainty rests on {rests}{alone}; rows are taken for independent, which is too "
        f"cautious where they were scored on the same items.{rest}"
    )


def _unsized(scene: Scene, chosen: Configuration | None) -> list[str]:
    if chosen is None:
        return [f"Every row breaks a limit: {_limits(scene)}."]
    models = {c.model for c in scene.table.configurations}
    why = ""
    if len(models) > 1:
        why = f" Which size is enough is not asked: not every model has a {scene.question.cost}."
    within = f" within the limits ({_limits(scene)})" if _limits(scene) else ""
    return [
        f"So far: the best {scene.task.name}{within} has {_named(scene, chosen)}.{why}",
        _forgetting(scene, chosen),
    ]


def _limits(scene: Scene) -> str:
    limit = scene.question.max_forgetting
    said = []
    if limit is not None and scene.forgetting is not None:
        said.append(f"{scene.forgetting.name} at most {amount(scene.forgetting, limit)}")
    said += [f"{n} at most {v:.6g}" for n, v in scene.question.max_cost.items()]
    return ", ".join(said)


def _sized(scene: Scene, verdict: Verdict, sized: Mapping[str, float]) -> list[str]:
    standing = [s for s in verdict.sizes if s.candidate is not None]
    pick = verdict.pick
    if pick is None or pick.candidate is None:
        open_ = verdict.outcome == "not_resolved"
        first = "no size is shown to qualify" if open_ else "every size breaks a condition"
        broken = [
            f"{s.model}: {'; '.join(_broken(scene, c) for c in s.checks if not c.passes(True))}"
            for s in standing
            if any(not c.passes(True) for c in s.checks)
        ]
        return [f"So far, {first}: {'. '.join(broken)}."]
    told = [f"So far: use {_size(scene, pick)}, {_named(scene, pick.candidate)}."]
    chance = sized.get(pick.model)
    adequate = f" Probability that it is adequate: {chance:.2f}." if chance is not None else ""
    against = next((c for c in pick.checks if c.claim == "task_score"), None)
    if against is None:
        told.append(f"It is the largest of {len(standing)} models.{adequate}")
    else:
        margin = amount(scene.task, scene.question.delta)
        told.append(
            f"Its {scene.task.name} is {_distance(scene, against)}; {margin} (delta) were allowed."
            f"{adequate}"
        )
    told.append(_forgetting(scene, pick.candidate))
    for s in standing[: standing.index(pick)]:
        if not s.reached:
            said = "; ".join(_broken(scene, c) for c in s.failing("forgetting", by_point=True))
            told.append(f"{_size(scene, s)} does not qualify itself: {said}.")
    smaller = standing[standing.index(pick) + 1 :]
    failing = [c for c in smaller[0].checks if not c.passes(True)] if smaller else []
    if failing:
        said = "; ".join(_broken(scene, c) for c in failing)
        told.append(f"The next smaller one, {_size(scene, smaller[0])}, does not qualify: {said}.")
    return told


def _forgetting(scene: Scene, who: Configuration) -> str:
    if scene.forgetting is None:
        return "Forgetting is not in the table." if scene.task.direction == "maximize" else ""
    limit = scene.question.max_forgetting
    estimate = scene.table.uncertain(who, scene.forgetting.name).estimate()
    said = f"Its {scene.forgetting.name} is {level(scene.forgetting, estimate)}"
    if limit is None:
        return f"{said}; no limit was set."
    return f"{said}; the limit is {amount(scene.forgetting, limit)}."


def _broken(scene: Scene, check: Check) -> str:
    if check.claim == "task_score":
        delta = amount(scene.task, -check.threshold)
        return f"its {scene.task.name} is {_distance(scene, check)} (delta {delta})"
    assert check.uncertain is not None and scene.forgetting is not None
    bound = ""
    if check.bound is not None:
        sure = words.confidence(check.confidence)
        bound = f"up to {amount(scene.forgetting, check.bound)} at {sure} confidence; "
    limit = amount(scene.forgetting, check.threshold)
    value = amount(scene.forgetting, check.uncertain.value)
    return f"its {check.subject} is {value} ({bound}limit {limit})"


def _distance(scene: Scene, check: Check) -> str:
    """`1.9 points worse than that of m, at most 2.4 points with 95 % confidence`."""
    u = check.uncertain
    assert u is not None
    side = "worse" if u.value < 0 else "better"
    said = f"{amount(scene.task, abs(u.value))} {side} than that of {check.subject}"
    if check.bound is not None:
        worst = "worse" if check.bound < 0 else "better"
        how = "possibly" if check.bound < 0 else "at least"
        said += (
            f" ({how} {amount(scene.task, abs(check.bound))} {worst}, at "
            f"{words.confidence(check.confidence)} confidence)"
        )
    return said


def _alike(scene: Scene, chosen: Configuration | None, tied: Sequence[Configuration]) -> list[str]:
    if chosen is None or not scene.table.uncertain(chosen, scene.task.name).known:
        return []
    of = f" of {chosen.model}" if chosen.model and len({c.model for c in tied}) == 1 else ""
    if not tied:
        return []
    return [
        f"It cannot be told from {_names([c.label for c in tied])}{of}, by intervals that hold for "
        "all of these comparisons together at 95 %: those are tied."
    ]


def _front_line(scene: Scene, front: Front) -> str:
    on = [n for n, yes in zip(front.points.labels, front.on, strict=True) if yes]
    if len(front.points.names) < 2 or not on:
        return ""
    return (
        f"On the front of {words.join(front.points.names)}: {_names(on)} "
        f"({len(on)} of {words.count(len(front.points.ids), 'row')})."
    )


def _names(labels: Sequence[str]) -> str:
    shown = [*labels[:MAX_NAMED]]
    rest = len(labels) - len(shown)
    return words.join([*shown, *([f"{rest} more"] if rest > 0 else [])])


def _size(scene: Scene, size: Size) -> str:
    assert size.candidate is not None
    cost = scene.question.cost
    value = size.candidate.cost.get(cost)
    return size.model if value is None else f"{size.model} ({cells.cost(cost, value)} {cost})"


def _named(scene: Scene, who: Configuration) -> str:
    e = scene.table.uncertain(who, scene.task.name).estimate()
    return f"row {who.label}: {scene.task.name} {level(scene.task, e)}"


# -- figures ----------------------------------------------------------------------------------


def amount(objective: GivenObjective, value: float) -> str:
    """A difference: points of a hundred for shares, else in the objective's unit."""
    scale = SHARES.get(objective.unit)
    if scale is not None:
        return f"{100 / scale * value + 0.0:.1f} points".replace("-0.0 ", "0.0 ")
    return f"{value:.4g}{f' {objective.unit}' if objective.unit else ''}"


def level(objective: GivenObjective, e: Estimate) -> str:
    """A figure with its interval, or with the word that there is none."""
    unit = f" {objective.unit}" if objective.unit and objective.unit != "share" else ""
    if e.low is None or e.high is None:
        return f"{e.value:.4g}{unit} (interval unknown)"
    return f"{e.value:.4g}{unit} [{e.low:.4g}, {e.high:.4g}]"


def _cell(e: Estimate) -> str:
    """`0.677 ±0.012`."""
    if e.value is None:
        return "–"
    return f"{e.value:.4g} " + ("±?" if e.high is None else f"±{e.high - e.value:.2g}")


# -- tables and notes -------------------------------------------------------------------------


def headline(analysis: Analysis) -> str:
    """Which sweep, from which table, in which store."""
    sweep = analysis.sweep
    table = sweep.provenance.get("table", "a table")
    parts = [sweep.id, f"figures of {table}", *([sweep.store] if sweep.store else [])]
    return " · ".join(words.clean(p) for p in parts)


def grids(analysis: Analysis) -> tuple[Grid, ...]:
    """Models by their best rows, where sizes are compared; and all rows that count."""
    return (*([_size_grid(analysis)] if analysis.sizes else []), _row_grid(analysis))


def _size_grid(analysis: Analysis) -> Grid:
    names = [o.name for o in analysis.objectives]
    cost = analysis.question.cost
    pick = analysis.decision.verdict.pick
    rows, marked = [], []
    for row in analysis.sizes:
        size, who = row.size, row.size.candidate
        chosen = pick is not None and pick.model == size.model
        marked.append(chosen)
        start = ("►" if chosen else "", words.clean(size.model))
        if who is None:
            rows.append((*start, *["–"] * (len(names) + 3), "nothing to judge"))
            continue
        chance = row.probability_adequate
        failed = [c.claim.replace("_", " ") for c in size.checks if not c.passes(True)]
        verdict = "chosen" if chosen else "adequate" if size.reached else "not reached"
        rows.append(
            (
                *start,
                cells.cost(cost, who.cost.get(cost)),
                words.clean(who.label),
                *(_cell(row.estimates[n]) for n in names),
                "unknown" if chance is None else f"{chance:.2f}",
                f"fails: {', '.join(failed)}" if failed else verdict,
            )
        )
    header = ("", "size", cells.cost_name(cost), "row", *map(words.clean, names), "P(adequate)",
              "verdict")  # fmt: skip
    title = "Models, largest first, each by its best row"
    return Grid(title, header, tuple(rows), tuple(marked), ("row",))


def _row_grid(analysis: Analysis) -> Grid:
    shown = [r for r in analysis.rows if r.place is not None]
    names = [o.name for o in analysis.objectives]
    models = any(r.who.model and r.who.model != r.who.label for r in shown)
    counts = [max(e.n_seeds for e in r.estimates.values()) for r in shown]
    seeds = any(c > 1 for c in counts)
    cost = analysis.question.cost
    priced = any(cost in r.who.cost for r in shown)
    header = ["", "row", *(["model"] if models else []), *(["seeds"] if seeds else [])]
    header += [*map(words.clean, names), *([cells.cost_name(cost)] if priced else []), "front"]
    rows, marked = [], []
    for row, count in zip(shown[:MAX_ROWS], counts, strict=False):
        chosen = row.who.trial_id == analysis.decision.trial
        marked.append(chosen)
        place = row.place
        assert place is not None
        mark = "●" if place.on_front else "○" if place.near_front else "·"
        mark = "" if place.excluded else mark
        rows.append(
            (
                "►" if chosen else "",
                words.clean(row.who.label),
                *([words.clean(row.who.model)] if models else []),
                *([str(count)] if seeds else []),
                *(_cell(row.estimates[n]) for n in names),
                *([cells.cost(cost, row.who.cost.get(cost))] if priced else []),
                mark if place.membership is None else f"{mark} {place.membership:.2f}",
            )
        )
    return Grid("Rows", tuple(header), tuple(rows), tuple(marked), ("model", "seeds"))


def notes(analysis: Analysis) -> list[str]:
    """How to read it, what would change the answer, and what was left out."""
    ways = {"maximize": "up is good", "minimize": "down is good"}
    said = [
        "; ".join(
            words.clean(f"{o.name}{f' in {o.unit}' if o.unit else ''}: {ways[o.direction]}")
            for o in analysis.objectives
        )
        + ". ± is half a 95 % interval, ±? unknown. ● on the front of the objectives, ○ within "
        "delta of it; the number is the share of draws on the front, not a calibrated probability."
    ]
    task = next((o for o in analysis.sweep.objectives if o.name == _task(analysis)), None)
    if task is not None:
        for flip in analysis.decision.flips:
            side = "above" if flip.current is not None and flip.to > flip.current else "below"
            now = amount(task, analysis.question.delta)
            answer = words.clean(flip.answer.replace("_", " "))
            said.append(
                f"With delta {side} {amount(task, flip.to)} (now {now}) the answer would be: "
                f"{answer}."
            )
    if (hidden := sum(r.place is not None for r in analysis.rows) - MAX_ROWS) > 0:
        said.append(f"{hidden} more rows: --format csv or json.")
    said += [f"Warning: {words.clean(w)}" for w in analysis.warnings]
    if analysis.excluded:
        first = "; ".join(words.clean(e.reason) for e in analysis.excluded[:MAX_EXCLUDED])
        rest = len(analysis.excluded) - MAX_EXCLUDED
        more = f"; and {rest} more (--format json)" if rest > 0 else ""
        said.append(f"Left out ({len(analysis.excluded)}): {first}{more}.")
    return said


def _task(analysis: Analysis) -> str:
    return task_of(analysis.sweep.objectives).name
