"""Figures that need no script: for print, for readers without JavaScript, and the size ladder."""

import base64
import io
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from keepgain.analysis import cells, words
from keepgain.analysis.plots import BLACK, BLUE, GREY, VERMILLION
from keepgain.analysis.report.front import SYMBOLS, symbol_of
from keepgain.analysis.report.marks import Frame, Panel
from keepgain.analysis.result import Analysis, SizeRow
from keepgain.analysis.sizes import lost_level
from keepgain.analysis.stats import Estimate
from keepgain.core.units import human_count

STYLE: dict[str, Any] = {
    "font.size": 10,
    "font.family": "DejaVu Sans",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "keepgain",
}


_MARKERS = {
    "diamond": "D", "circle": "o", "triangle-up": "^", "triangle-down": "v", "square": "s",
    "cross": "P",
}  # fmt: skip
"""plotly's symbols as matplotlib's."""


def static_panels(shared: Frame, panels: Sequence[Panel]) -> list[str]:
    """The panels of the front as SVG addresses, with the same marks as plotly's."""
    return [_svg(partial(_draw_panel, shared=shared, panel=panel)) for panel in panels]


def _draw_panel(axis: Any, shared: Frame, panel: Panel) -> None:
    front = panel.front
    if len(front) > 1:
        axis.step([m.x for m in front], [m.y for m in front], where="post", color=BLUE, alpha=0.5)
    for key, (symbol, colour, size, _, _) in SYMBOLS.items():
        marks = [m for m in panel.marks if symbol_of(m) == key]
        if not marks:
            continue
        x, y = [m.x for m in marks], [m.y for m in marks]
        halves = {"xerr": [m.x_half or 0 for m in marks], "yerr": [m.y_half or 0 for m in marks]}
        faint = 0.6 if key[1] else 0.25
        axis.errorbar(x, y, **halves, fmt="none", ecolor=colour, alpha=faint, elinewidth=0.8)
        face = "white" if symbol.endswith("-open") else colour
        marker = _MARKERS[symbol.removesuffix("-open")]
        axis.scatter(
            x, y, s=3.2 * size, marker=marker, facecolors=face, edgecolors=colour, zorder=3
        )
    for m in (m for m in panel.marks if m.chosen):
        axis.scatter(m.x, m.y, s=190, facecolors="none", edgecolors=VERMILLION, lw=2, zorder=4)
    for limit in shared.limits:
        line = axis.axvline if limit.vertical else axis.axhline
        line(limit.at, color=VERMILLION, lw=1.2, linestyle=(0, (5, 4)), zorder=1)
    axis.set_xlim(shared.x_range)
    axis.set_ylim(shared.y_range)
    axis.set_xlabel(_literal(shared.across.title))
    axis.set_ylabel(_literal(shared.up.title))
    axis.grid(color="#EBEBEB", linewidth=0.8)
    axis.set_axisbelow(True)


def _svg(draw: Callable[[Any], None]) -> str:
    """One drawing of its own, as an address."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    with pyplot.rc_context(STYLE):
        figure, axis = pyplot.subplots(figsize=(4.4, 3.6), layout="constrained")
        draw(axis)
        out = io.BytesIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
        pyplot.close(figure)
    return f"data:image/svg+xml;base64,{base64.b64encode(out.getvalue()).decode('ascii')}"


def _literal(text: str) -> str:
    """Without what matplotlib takes for mathematics."""
    return words.clean(text).replace("$", r"\$")


def ladder(analysis: Analysis) -> tuple[list[str], str]:
    """Task score of every size's candidate, against its size and against its cost.

    Returns:
        SVG addresses, none where no size has a candidate; and what they show, in words.
    """
    rows = [s for s in reversed(analysis.sizes) if s.size.candidate and _task(s).value is not None]
    costs = list(dict.fromkeys(["parameters", analysis.question.cost]))
    costs = [c for c in costs if any(_cost(s, c) is not None for s in rows)]
    if not rows:
        return [], ""
    drawn = [_svg(partial(_draw, analysis=analysis, rows=rows, cost=cost)) for cost in costs]
    return drawn, _finding(analysis, rows)


def level(analysis: Analysis) -> tuple[float, float] | None:
    """Task score of the largest confirmed size, and the worst that is within delta of it."""
    if lost_level([s.size for s in analysis.sizes]) is not None:
        return None
    largest = next((s for s in analysis.sizes if s.size.candidate), None)
    value = _task(largest).value if largest else None
    if value is None:
        return None
    objective = next((o for o in analysis.objectives if o.name == "task_score"), None)
    sign = -1.0 if objective is not None and objective.direction == "minimize" else 1.0
    return value, value - sign * analysis.question.delta


def _draw(axis: Any, analysis: Analysis, rows: Sequence[SizeRow], cost: str) -> None:
    found = level(analysis)
    if found is not None:
        top, bottom = found
        axis.axhspan(min(found), max(found), color=BLUE, alpha=0.10, lw=0, label="within delta")
        axis.axhline(top, color=BLUE, lw=1, label="largest confirmed size")
        axis.axhline(bottom, color=BLUE, lw=1, linestyle=(0, (5, 4)))
    for label, marker, face, edge, wanted in (
        ("chosen", "D", VERMILLION, VERMILLION, "chosen"),
        ("adequate", "o", BLUE, BLUE, "reached"),
        ("not shown to be adequate", "X", "white", GREY, "failed"),
    ):
        chosen = [s for s in rows if _standing(analysis, s) == wanted and _cost(s, cost)]
        for at, s in enumerate(chosen):
            e = _task(s)
            low, high = (0.0 if end is None else abs(end - (e.value or 0)) for end in _ends(e))
            axis.errorbar(
                _cost(s, cost), e.value, yerr=[[low], [high]], fmt=marker, markersize=8,
                markerfacecolor=face, markeredgecolor=edge, ecolor=edge, color=edge, elinewidth=1.4,
                label=None if at else label,
            )  # fmt: skip
            axis.annotate(
                _literal(s.size.model), (_cost(s, cost), e.value),
                xytext=(9, 4), textcoords="offset points", fontsize=9, color=BLACK,
            )  # fmt: skip
    given = [v for s in rows if (v := _cost(s, cost)) is not None]
    if given and min(given) > 0 and max(given) > 3 * min(given):
        axis.set_xscale("log")
        axis.set_xticks(given, [_told(cost, v) for v in given])
        axis.minorticks_off()
    else:
        axis.xaxis.set_major_formatter(lambda v, _: _told(cost, v))
        axis.locator_params(axis="x", nbins=4)
    axis.margins(x=0.22, y=0.12)
    axis.grid(color="#EBEBEB", linewidth=0.8)
    axis.set_axisbelow(True)
    axis.set_xlabel(_literal(cells.cost_name(cost)))
    axis.set_ylabel("task score (95 % interval)")
    axis.legend(loc="best", frameon=False, fontsize=8)


def _told(cost: str, value: float) -> str:
    said = human_count(value) if cost == "parameters" else cells.cost(cost, value)
    return _literal(said)


def _finding(analysis: Analysis, rows: Sequence[SizeRow]) -> str:
    parts = []
    for s in rows:
        name, e = words.clean(s.size.model), _task(s)
        level_told = words.interval(e, analysis.scorers["gain"])
        parts.append(f"{name} {level_told}, {_SAID[_standing(analysis, s)]}")
    found = level(analysis)
    said = (
        f"The level to hold is {found[0]:.3f}; with delta {analysis.question.delta:g} a size may "
        f"go to {found[1]:.3f}. "
        if found
        else "The largest size has no scores, so there is no level to hold. "
    )
    return (
        f"{said}{'; '.join(parts)}. The rule tests paired differences, item by item, and limits on "
        "forgetting too, so whether intervals overlap does not decide."
    )


_SAID = {"chosen": "chosen", "reached": "adequate", "failed": "not shown to be adequate"}


def _standing(analysis: Analysis, row: SizeRow) -> str:
    pick = analysis.decision.verdict.pick
    if pick is not None and pick.model == row.size.model:
        return "chosen"
    return "reached" if row.size.reached else "failed"


def _task(row: SizeRow) -> Estimate:
    return row.estimates.get("task_score", Estimate())


def _ends(e: Estimate) -> tuple[float | None, float | None]:
    return e.low, e.high


def _cost(row: SizeRow, name: str) -> float | None:
    if name == "parameters" and row.size.parameters is not None:
        return float(row.size.parameters)
    return row.size.candidate.cost.get(name) if row.size.candidate else None
