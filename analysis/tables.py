"""The tables of a decision, as plain strings; `render` lays them out."""

from keepgain.analysis import cells, given_text, words
from keepgain.analysis.grid import Grid
from keepgain.analysis.objectives import SINCE_PREVIOUS
from keepgain.analysis.result import Analysis, Row, SizeRow
from keepgain.analysis.served_text import HEADER as SERVED_HEADER
from keepgain.analysis.served_text import TITLE as SERVED_TITLE
from keepgain.analysis.served_text import served_row
from keepgain.analysis.slices import SliceEstimate
from keepgain.analysis.stats import Estimate
from keepgain.core.record import short_id
from keepgain.core.units import human_count

MAX_ROWS = 60
"""Longer tables are cut, with a line that says so; JSON and CSV have all rows."""


def grids(analysis: Analysis) -> tuple[Grid, ...]:
    """All tables, in their order."""
    if analysis.given is not None:
        return given_text.grids(analysis)
    optional = (churn_grid(analysis), served_grid(analysis), slice_grid(analysis))
    return (size_grid(analysis), trial_grid(analysis), *(g for g in optional if g is not None))


def size_grid(analysis: Analysis) -> Grid:
    """One row a base model, by its candidate."""
    cost = _cost_name(analysis)
    header = ["", "size", "parameters", "candidate", "task score", "gain", "worst drop"]
    header += [*([cost] if cost else []), "P(adequate)", "verdict"]
    picked = analysis.decision.verdict.pick
    rows, marked = [], []
    for row in analysis.sizes:
        size, e = row.size, row.estimates
        chosen = picked is not None and picked.model == size.model
        marked.append(chosen)
        count = human_count(size.parameters) if size.parameters is not None else "–"
        start = ["►" if chosen else "", words.clean(size.model), count]
        if size.candidate is None:
            why = f"no {analysis.decision.split} scores" if size.unscored else "nothing to judge"
            why = "over budget" if size.over_budget else why
            rows.append((*start, *["–"] * (len(header) - 4), why))
            continue
        chance = row.probability_adequate
        price = cells.cost(analysis.question.cost, size.candidate.cost.get(analysis.question.cost))
        rows.append(
            (
                *start,
                short_id(size.candidate.trial_id),
                cells.level(e["task_score"]),
                cells.signed(e["gain"]),
                cells.short(e["max_forgetting"]),
                *([price] if cost else []),
                "unknown" if chance is None else f"{chance:.2f}",
                _verdict(analysis, row),
            )
        )
    droppable = tuple(c for c in (cost, "gain", "candidate", "parameters") if c)
    title = "Sizes, each by its candidate"
    if analysis.unequal_effort:
        title += f" (unequal effort: {words.clean(analysis.unequal_effort)})"
    return Grid(title, tuple(header), tuple(rows), tuple(marked), droppable)


def _verdict(analysis: Analysis, row: SizeRow) -> str:
    """What the rule found for one size, in three words."""
    size, verdict = row.size, analysis.decision.verdict
    if verdict.pick is not None and verdict.pick.model == size.model:
        return "chosen"
    if size.reached:
        return "adequate"
    failed = [c for c in size.checks if not c.holds]
    names = {"task_score": "task score", "forgetting": "forgetting"}
    claims = list(dict.fromkeys(names[c.claim] for c in failed if c.claim in names))
    if not claims:
        return "not reached"
    sure = any(not c.holds_at_point for c in failed)
    return f"{'fails' if sure else 'not shown'}: {', '.join(claims)}"


def trial_grid(analysis: Analysis) -> Grid:
    """One row a base, reference arm or trial that has figures."""
    shown = [r for r in analysis.rows if r.split is not None]
    params = [n for n in words.varying_params([r.who for r in shown]) if n != "method"]
    names = cells.tails(params)
    cost = _cost_name(analysis)
    rounds = any(SINCE_PREVIOUS in r.estimates for r in shown)
    header = ["", "trial", "method", *names, "items × seeds", "task score", "gain", "forgetting"]
    header += [*(["since previous"] if rounds else []), *([cost] if cost else []), "front"]
    rows, marked = [], []
    for row in shown[:MAX_ROWS]:
        who, e = row.who, row.estimates
        chosen = who.trial_id == analysis.decision.trial
        marked.append(chosen)
        where = "" if row.split == analysis.decision.split else " (val.)"
        price = cells.cost(analysis.question.cost, who.cost.get(analysis.question.cost))
        rows.append(
            (
                "►" if chosen else "",
                words.clean(who.label) + where,
                words.clean(who.params.get("method", "–")),
                *(words.plain(who.params[p]) if p in who.params else "–" for p in params),
                f"{e['task_score'].n_items:,} × {e['task_score'].n_seeds}",
                cells.level(e["task_score"]),
                cells.signed(e["gain"]),
                cells.signed(e["forgetting"]),
                *([cells.signed(e.get(SINCE_PREVIOUS, Estimate()))] if rounds else []),
                *([price] if cost else []),
                cells.front(row),
            )
        )
    droppable = (*reversed(names[4:]), "items × seeds", *reversed(names[:4]))
    droppable = (*droppable, *([cost] if cost else []), "method")
    return Grid(
        "Bases, reference arms and trials", tuple(header), tuple(rows), tuple(marked), droppable
    )


def churn_grid(analysis: Analysis) -> Grid | None:
    """Answers that flipped against the base, of the decision's choice, else of every size's
    candidate; None where no suite is scored by 0 and 1."""
    chosen = chosen_trials(analysis)
    rows = [
        (
            words.clean(row.who.model),
            words.clean(short_id(row.who.trial_id)),
            words.clean(c.suite),
            c.measures,
            f"{c.lost.n_items:,}",
            cells.level(c.lost),
            cells.level(c.won),
        )
        for row in analysis.rows
        if row.who.trial_id in chosen
        for c in row.churn
    ]
    header = ("size", "trial", "suite", "measures", "items", "right → wrong", "wrong → right")
    title = "Churn: shares of items whose answer flipped against the base"
    marked = (False,) * len(rows)
    return Grid(title, header, tuple(rows), marked, ("measures", "size", "trial")) if rows else None


def served_grid(analysis: Analysis) -> Grid | None:
    """One row a finalist or base and form in which it may be served; None without."""
    if not analysis.served:
        return None
    rows = tuple(served_row(s) for s in analysis.served)
    marked = tuple(s.trial == analysis.decision.trial for s in analysis.served)
    return Grid(SERVED_TITLE, SERVED_HEADER, rows, marked, ("s/answer", "size", "weights"))


def slice_grid(analysis: Analysis) -> Grid | None:
    """One row a slice of the decision's choice, else of every size's candidate; None without."""
    shown = sliced(analysis)
    if not shown:
        return None
    bases = {
        (row.who.model, s.of): s
        for row in analysis.rows
        if row.who.kind == "base"
        for s in row.slices
    }
    rows = []
    for row, s in shown[:MAX_ROWS]:
        base = bases.get((row.who.model, s.of))
        rows.append(
            (
                words.clean(row.who.model),
                words.clean(short_id(row.who.trial_id)),
                words.clean(s.of.suite),
                words.clean(f"{s.of.field}={s.of.value}"),
                f"{s.score.n_items:,}",
                cells.level(base.score) if base else "–",
                cells.level(s.score),
                cells.signed(s.gain),
            )
        )
    header = ("size", "trial", "suite", "slice", "items", "base", "score", "gain")
    return Grid("Slices", header, tuple(rows), (False,) * len(rows), ("size", "trial", "base"))


def sliced(analysis: Analysis) -> list[tuple[Row, SliceEstimate]]:
    """What the table of slices shows, of the trials that it shows."""
    chosen = chosen_trials(analysis)
    return [(row, s) for row in analysis.rows if row.who.trial_id in chosen for s in row.slices]


def chosen_trials(analysis: Analysis) -> set[str]:
    """The decision's trial; without one, every size's candidate."""
    if analysis.decision.trial is not None:
        return {analysis.decision.trial}
    return {size.size.candidate.trial_id for size in analysis.sizes if size.size.candidate}


def _cost_name(analysis: Analysis) -> str:
    """Header of the cost column; empty for parameters, which stand beside every size anyway."""
    name = analysis.question.cost
    return "" if name == "parameters" else cells.cost_name(name)
