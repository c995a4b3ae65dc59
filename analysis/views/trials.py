"""`analyze ID trials`: every trial, base and arm with its figures, and what was left out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from keepgain.analysis import cells, objectives, words
from keepgain.analysis.contract import trial_part
from keepgain.analysis.find import find_name
from keepgain.analysis.fronts import WITHIN
from keepgain.analysis.grid import Grid, View
from keepgain.analysis.result import Analysis, Row
from keepgain.analysis.views.decision import origin
from keepgain.core.record import short_id

NAMES = {
    "task_score": "task score",
    "general_score": "general score",
    "relative_forgetting": "relative forgetting",
    "max_forgetting": "worst drop",
}
_LEVELS = ("task_score", "general_score")
_WITHIN = ("gain", "forgetting", "relative_forgetting", "max_forgetting")
"""Compare within a base model alone."""


@dataclass(frozen=True)
class Selection:
    """Which rows, and in which order."""

    model: str | None = None
    sort: str | None = None
    """An objective, cost or setting; best first, settings ascending. None: by base model and
    rank."""
    top: int | None = None
    objectives: tuple[str, ...] = ()
    """Columns; empty: the usual ones."""


def trials_view(analysis: Analysis, asked: Selection) -> View:
    """The table of trials.

    Raises:
        UserError: An unknown base model, or nothing of that name to sort by.
    """
    rows = [r for r in analysis.rows if r.split is not None]
    if asked.model is not None:
        known = list(dict.fromkeys(r.who.model for r in analysis.rows))
        find_name("base model", asked.model, known)
        rows = [r for r in rows if r.who.model == asked.model]
    if asked.sort is not None:
        rows = _sorted(analysis, rows, asked.sort)
    shown = rows[: asked.top]
    excluded = _excluded(analysis, asked.model)
    grids = [_grid(analysis, shown, asked)]
    if excluded:
        table = tuple((words.clean(name), words.clean(why)) for name, why in excluded)
        grids.append(
            Grid(f"Left out ({len(table)})", ("run", "reason"), table, (False,) * len(table))
        )
    off = [(r, r.place.excluded) for r in shown if r.place and r.place.excluded]
    if off:
        table = tuple((words.clean(r.who.label), words.clean(why)) for r, why in off)
        title = f"On no front ({len(table)})"
        grids.append(Grid(title, ("trial", "reason"), table, (False,) * len(table)))
    return View(
        name="trials",
        title=f"{origin(analysis, analysis.decision.split)} · trials",
        paragraphs=(_summary(rows, shown, asked),),
        grids=tuple(grids),
        notes=_notes(analysis, shown, asked),
        data={
            "rows": [trial_part(r).model_dump(mode="json") for r in shown],
            "of": len(rows),
            "off_front": [{"trial": r.who.trial_id, "reason": why} for r, why in off],
            "excluded": [
                {"trial": e.trial, "reason": e.reason}
                for e in analysis.excluded
                if asked.model is None or _model_of(analysis, e.trial) == asked.model
            ],
        },
    )


def _summary(rows: Sequence[Row], shown: Sequence[Row], asked: Selection) -> str:
    trials = sum(r.who.kind == "trial" for r in rows)
    confirmed = sum(r.who.kind == "trial" and r.who.confirmed for r in rows)
    said = f"{words.count(trials, 'trial')} with scores, {confirmed} of them confirmed with fresh "
    said += f"seeds; {len(rows) - trials} bases and reference arms."
    if asked.sort is not None:
        said += f" Sorted by {words.clean(asked.sort)}."
    if len(shown) < len(rows):
        said += f" The first {len(shown)} of {len(rows)} rows."
    return said


def _grid(analysis: Analysis, rows: Sequence[Row], asked: Selection) -> Grid:
    columns = list(asked.objectives) or _usual(analysis)
    params = [n for n in words.varying_params([r.who for r in rows]) if n != "method"]
    settings = cells.tails(params)
    header = ["", "trial", "method", *settings, "items × seeds"]
    names = [column_name(c) for c in columns]
    header += [*names, "rank", "front"]
    body = []
    for row in rows:
        who = row.who
        where = "" if row.split == analysis.decision.split else " (val.)"
        first = row.estimates["task_score"]
        if first.value is None:
            first = row.estimates["general_score"]
        body.append(
            (
                "►" if who.trial_id == analysis.decision.trial else "",
                words.clean(who.label) + where,
                words.clean(who.params.get("method", "–")),
                *(words.plain(who.params[p]) if p in who.params else "–" for p in params),
                f"{first.n_items:,} × {first.n_seeds}",
                *(_figure(row, c) for c in columns),
                str(row.place.rank) if row.place and row.place.rank is not None else "",
                cells.front(row),
            )
        )
    marked = tuple(r.who.trial_id == analysis.decision.trial for r in rows)
    droppable = (*reversed(settings[4:]), "rank", "items × seeds")
    droppable = (*droppable, *reversed(settings[:4]), "method", *reversed(names[2:]))
    return Grid("Trials", tuple(header), tuple(body), marked, droppable)


def _usual(analysis: Analysis) -> list[str]:
    cost = analysis.question.cost
    return ["task_score", "gain", "forgetting", *([cost] if cost != "parameters" else [])]


def column_name(name: str) -> str:
    """Header of an objective or cost."""
    return NAMES.get(name) or (name if name in objectives.NAMES else cells.cost_name(name))


def _figure(row: Row, name: str) -> str:
    if name not in objectives.NAMES:
        return cells.cost(name, row.who.cost.get(name))
    e = row.estimates[name]
    if name == "max_forgetting":
        return cells.short(e)
    return cells.level(e) if name in _LEVELS else cells.signed(e)


# -- order ------------------------------------------------------------------------------------


def _sorted(analysis: Analysis, rows: Sequence[Row], by: str) -> list[Row]:
    """Best first among the rows of one split, those of the decision's split before the others;
    rows without the figure come last."""
    value = _key(analysis, rows, by)

    def place(row: Row) -> tuple[bool, bool, float, str]:
        found = value(row)
        number = 0.0 if found is None or isinstance(found, str) else found
        text = found if isinstance(found, str) else ""
        return (row.split != analysis.decision.split, found is None, number, text)

    return sorted(rows, key=place)


def _key(analysis: Analysis, rows: Sequence[Row], by: str) -> Callable[[Row], float | str | None]:
    """What to sort by, small first."""
    directions = {o.name: o.direction for o in analysis.objectives}
    if by in directions:
        sign = -1.0 if directions[by] == "maximize" else 1.0
        return lambda r: None if (v := r.estimates[by].value) is None else sign * v
    if by == "rank":
        return lambda r: r.place.rank if r.place else None
    costs = sorted({c for r in rows for c in r.who.cost})
    if by in costs:
        return lambda r: r.who.cost.get(by)
    params = sorted({p for r in rows for p in r.who.params})
    short: Mapping[str, str] = dict(zip(cells.tails(params), params, strict=True))
    name = short.get(by, by)
    known = [*directions, "rank", *costs, *params, *short]
    find_name("objective, cost or setting", name, known)
    return lambda r: _sortable(r.who.params.get(name))


def _sortable(value: object) -> float | str | None:
    if value is None or isinstance(value, str):
        return value
    return float(value) if isinstance(value, int | float) else str(value)


# -- what was left out, and how to read it ----------------------------------------------------


def _excluded(analysis: Analysis, model: str | None) -> list[tuple[str, str]]:
    labels = {r.who.trial_id: r.who.label for r in analysis.rows}
    return [
        (labels.get(e.trial, short_id(e.trial)), e.reason)
        for e in analysis.excluded
        if model is None or _model_of(analysis, e.trial) == model
    ]


def _model_of(analysis: Analysis, trial: str) -> str | None:
    return next((r.who.model for r in analysis.rows if r.who.trial_id == trial), None)


def _notes(analysis: Analysis, rows: Sequence[Row], asked: Selection) -> tuple[str, ...]:
    of = words.join([column_name(n) for n in asked.objectives or WITHIN])
    said = [
        "± is half a 95 % interval (items, and seed variance pooled within a size; ±? unknown). "
        f"● on the front of {of} of its base model, ○ within delta of it; the number is the share "
        "of resampled draws on the front, not a calibrated probability."
    ]
    if any(r.split != analysis.decision.split for r in rows):
        said.append("(val.): validation scores of unconfirmed trials; never compared with test.")
    if asked.sort in _WITHIN and len({r.who.model for r in rows}) > 1:
        said.append(
            f"{words.clean(asked.sort)} is against the own base of each model, so it compares "
            "within a base model; across sizes compare task score and general score."
        )
    if asked.sort in objectives.NAMES:
        said.append(
            "Sorted by the figures alone: neighbours are often not told apart. `compare A B` says "
            "whether two are."
        )
    said.append("All digits, costs and settings: --format csv or json.")
    return tuple(said)
