"""What the tables and notes of a report hold, as plain strings; `render` lays them out."""

from collections.abc import Sequence

from keepgain.analysis import words
from keepgain.analysis.analyze import Analysis, Row, SizeRow
from keepgain.analysis.edges import Edge
from keepgain.analysis.grid import Grid
from keepgain.analysis.judge import Flip
from keepgain.analysis.objectives import SINCE_PREVIOUS
from keepgain.analysis.overfitting_text import said as overfitting_lines
from keepgain.analysis.rung_check import said as rung_line
from keepgain.analysis.served_text import HEADER as SERVED_HEADER
from keepgain.analysis.served_text import TITLE as SERVED_TITLE
from keepgain.analysis.served_text import said as served_lines
from keepgain.analysis.served_text import served_row
from keepgain.analysis.slices import SliceEstimate
from keepgain.analysis.stats import Estimate
from keepgain.core.items import MIN_SLICE_ITEMS
from keepgain.core.record import LookRecord
from keepgain.core.units import human_count, human_seconds, human_usd

MAX_ROWS = 60
"""Longer tables are cut, with a line that says so; JSON and CSV have all rows."""
MAX_EXCLUDED = 5
TITLES = {
    "recommended": "RECOMMENDED",
    "tied": "RECOMMENDED (settings tied)",
    "provisional": "PROVISIONAL",
    "infeasible": "INFEASIBLE",
    "not_resolved": "NOT RESOLVED",
    "do_not_fine_tune": "DO NOT FINE-TUNE",
}


def headline(analysis: Analysis) -> str:
    """Which sweep, which split, how often its test items were looked at, which store."""
    sweep, split = analysis.sweep, analysis.decision.split
    parts = [words.clean(sweep.id), f"decided on {split}"]
    if split == "test" and sweep.test_opened:
        times = "once" if sweep.test_opened == 1 else f"{sweep.test_opened} times"
        parts.append(f"test items opened {times}")
    if sweep.store:
        parts.append(words.clean(sweep.store))
    return " · ".join(parts)


def grids(analysis: Analysis) -> tuple[Grid, ...]:
    """All tables, in their order."""
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
            rows.append((*start, *["–"] * (len(header) - 4), why))
            continue
        chance = row.probability_adequate
        price = _cost(analysis, size.candidate.cost.get(analysis.question.cost))
        rows.append(
            (
                *start,
                size.candidate.trial_id[:6],
                _level(e["task_score"]),
                _signed(e["gain"]),
                _short(e["max_forgetting"]),
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
    names = [_tail(p) if [_tail(q) for q in params].count(_tail(p)) == 1 else p for p in params]
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
        price = _cost(analysis, who.cost.get(analysis.question.cost))
        rows.append(
            (
                "►" if chosen else "",
                words.clean(who.label) + where,
                words.clean(who.params.get("method", "–")),
                *(words.plain(who.params[p]) if p in who.params else "–" for p in params),
                f"{e['task_score'].n_items:,} × {e['task_score'].n_seeds}",
                _level(e["task_score"]),
                _signed(e["gain"]),
                _signed(e["forgetting"]),
                *([_signed(e.get(SINCE_PREVIOUS, Estimate()))] if rounds else []),
                *([price] if cost else []),
                _front(row),
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
    chosen = _chosen(analysis)
    rows = [
        (
            words.clean(row.who.model),
            words.clean(row.who.trial_id)[:6],
            words.clean(c.suite),
            c.measures,
            f"{c.lost.n_items:,}",
            _level(c.lost),
            _level(c.won),
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
    shown = _sliced(analysis)
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
                words.clean(row.who.trial_id)[:6],
                words.clean(s.of.suite),
                words.clean(f"{s.of.field}={s.of.value}"),
                f"{s.score.n_items:,}",
                _level(base.score) if base else "–",
                _level(s.score),
                _signed(s.gain),
            )
        )
    header = ("size", "trial", "suite", "slice", "items", "base", "score", "gain")
    return Grid("Slices", header, tuple(rows), (False,) * len(rows), ("size", "trial", "base"))


def _sliced(analysis: Analysis) -> list[tuple[Row, SliceEstimate]]:
    chosen = _chosen(analysis)
    return [(row, s) for row in analysis.rows if row.who.trial_id in chosen for s in row.slices]


def _chosen(analysis: Analysis) -> set[str]:
    """The decision's trial; without one, every size's candidate."""
    if analysis.decision.trial is not None:
        return {analysis.decision.trial}
    return {size.size.candidate.trial_id for size in analysis.sizes if size.size.candidate}


def _front(row: Row) -> str:
    place = row.place
    if place is None:
        return ""
    if row.estimates["gain"].value is None or row.estimates["forgetting"].value is None:
        return ""
    mark = "●" if place.on_front else "○" if place.near_front else "·"
    return mark if place.membership is None else f"{mark} {place.membership:.2f}"


def notes(analysis: Analysis) -> list[str]:
    """How to read the tables, what would change the answer, warnings, and what was left out."""
    shown = [r for r in analysis.rows if r.split is not None]
    units = {n: u for n in ("gain", "forgetting") if (u := _unit(analysis, n))}
    said = [
        "".join(f"{n.capitalize()} in {u}. " for n, u in units.items())
        + "± is half a 95 % interval (items, and seed variance pooled within a size; ±? unknown). "
        "● on the front of gain and forgetting of its base model, ○ within delta of it; the number "
        "is the share of resampled draws on the front, not a calibrated probability.",
    ]
    if any(SINCE_PREVIOUS in r.estimates for r in shown):
        said.append(
            "Gain and forgetting are against the original base; since previous: forgetting against "
            "the model that this round started from."
        )
    if any(r.split != analysis.decision.split for r in shown):
        said.append("(val.): validation scores of unconfirmed trials; never compared with test.")
    if slices := _sliced(analysis):
        unseen = len(slices) - MAX_ROWS
        said.append(
            "Slices: gain against the base on the same items, up is good on every suite; no "
            f"interval below {MIN_SLICE_ITEMS} items or where no item differs"
            + (f"; {unseen} more: --format json." if unseen > 0 else ".")
        )
    if len(shown) > MAX_ROWS:
        said.append(f"{len(shown) - MAX_ROWS} more rows: --format csv or json.")
    said += [_flip(analysis, f) for f in _nearest(analysis.decision.flips)]
    said += [_look(look, len(analysis.sweep.planned_looks)) for look in analysis.sweep.looks]
    said += [f"Rung check, {words.clean(rung_line(c))}" for c in analysis.rung_checks]
    said += [_edge(e) for e in analysis.edges]
    said += served_lines(analysis.served)
    said += overfitting_lines(
        analysis.overfitting, analysis.sweep, analysis.decision.trial, _chosen(analysis)
    )
    said += [f"Warning: {words.clean(w)}" for w in analysis.warnings]
    if analysis.excluded:
        first = "; ".join(
            f"{words.clean(e.trial)[:6]} {words.clean(e.reason)}"
            for e in analysis.excluded[:MAX_EXCLUDED]
        )
        rest = len(analysis.excluded) - MAX_EXCLUDED
        more = f"; and {rest} more (--format json)" if rest > 0 else ""
        said.append(f"Left out ({len(analysis.excluded)}): {first}{more}.")
    return said


def _look(look: LookRecord, looks: int) -> str:
    """A look of the confirmation, and who got more seeds after it."""
    more = words.count(len(look.more), "trial")
    then = f"; {more} to {max(look.more.values())} seeds" if look.more else "; confirmation ends"
    return words.clean(f"Confirmation, look {look.look} of {looks}: {look.reason}{then}.")


def _edge(edge: Edge) -> str:
    end = "lower" if edge.side == "low" else "upper"
    return words.clean(
        f"Warning: the best trial of {edge.model} ({edge.trial[:6]}) lies at the {end} edge of "
        f"{edge.name} ({words.plain(edge.value)}): the optimum may be beyond. Wider: {edge.wider}"
    )


def _nearest(flips: Sequence[Flip]) -> list[Flip]:
    """The first flip of the margin and of the limit in either direction; JSON has all."""
    kept: dict[tuple[str, bool], Flip] = {}
    for flip in flips:
        if flip.what != "min_gain":
            kept.setdefault((flip.what, flip.current is not None and flip.to > flip.current), flip)
    return list(kept.values())


def _flip(analysis: Analysis, flip: Flip) -> str:
    scorer = analysis.scorers["forgetting" if flip.what == "max_forgetting" else "gain"]
    side = "below" if flip.current is None or flip.to <= flip.current else "above"
    now = "none" if flip.current is None else words.amount(flip.current, scorer)
    answer = flip.answer.replace("_", " ")
    change = f"{flip.what} {side} {words.amount(flip.to, scorer)} (now {now})"
    return f"With {change} the answer would be: {words.clean(answer)}."


# -- cells ------------------------------------------------------------------------------------


def _level(e: Estimate) -> str:
    """`0.857 ±0.017`: t intervals are symmetric. `±?` where the interval is unknown."""
    return "–" if e.value is None else f"{e.value:.3f} {_half(e)}"


def _signed(e: Estimate) -> str:
    """A difference, with its sign."""
    return "–" if e.value is None else f"{_plus(e.value)} {_half(e)}"


def _half(e: Estimate) -> str:
    if e.value is None or e.high is None:
        return "±?"
    return f"±{e.high - e.value:.3f}"


def _short(e: Estimate) -> str:
    return "–" if e.value is None else _plus(e.value)


def _plus(value: float) -> str:
    said = f"{value:+.3f}"
    return "0.000" if said in ("+0.000", "-0.000") else said


def _unit(analysis: Analysis, name: str) -> str:
    unit = next(o.unit for o in analysis.objectives if o.name == name)
    return "" if unit == "suite unit" else unit


def _cost_name(analysis: Analysis) -> str:
    """Header of the cost column; empty for parameters, which stand beside every size anyway."""
    cost = analysis.question.cost
    if cost == "parameters":
        return ""
    price, _, quantile = cost.partition("_per_answer_")
    if quantile:
        return f"{'$' if price == 'usd' else 's'}/answer {quantile}"
    return {"usd_per_million_tokens": "$/1M tokens"}.get(cost, _tail(cost))


def _cost(analysis: Analysis, value: float | None) -> str:
    if value is None:
        return "–"
    if "usd" in analysis.question.cost:
        return human_usd(value)
    if analysis.question.cost.startswith("seconds_per_answer"):
        return f"{value:.3g}"
    if analysis.question.cost.endswith("seconds"):
        return human_seconds(value)
    return human_count(value)


def _tail(name: str) -> str:
    """`mixture.general` as `general`."""
    return words.clean(name).rpartition(".")[2].replace("learning_rate", "lr")
