"""The panels as plotly's traces: plain data, which `templates/report.js` has drawn by plotly.

Where a trial stands is told by its shape, colour only repeats it (Okabe & Ito's palette).
"""

import html
from collections.abc import Sequence
from typing import Any

from keepgain.analysis.plots import BLACK, BLUE, GREY, ORANGE, VERMILLION
from keepgain.analysis.report.links import Links
from keepgain.analysis.report.marks import Frame, Limit, Mark, Panel

SYMBOLS = {
    ("trial", True, "on"): ("diamond", BLUE, 11, "◆", "trial on the front"),
    ("trial", True, "near"): ("diamond-open", BLUE, 11, "◇", "trial within delta of the front"),
    ("trial", True, "behind"): ("circle-open", BLUE, 9, "○", "trial behind the front"),
    ("trial", False, "on"): ("triangle-up", GREY, 9, "▲", "validation only, on its front"),
    ("trial", False, "near"): ("triangle-up-open", GREY, 9, "△", "validation only, near its front"),
    ("trial", False, "behind"): ("triangle-down-open", GREY, 8, "▽", "validation only, behind"),
    ("base", True, ""): ("square", BLACK, 9, "■", "untouched base"),
    ("reference", True, ""): ("cross", ORANGE, 10, "✚", "reference arm (prompt alone)"),
}
"""(kind, of the decision's split, standing) → plotly's symbol, colour, size, the same as a
character, what it means."""
_MARGIN = 0.08


def legend(shared: Frame, panels: Sequence[Panel]) -> list[tuple[str, str, str]]:
    """(character, colour, meaning) of the symbols and lines in use."""
    used = {symbol_of(m) for p in panels for m in p.marks}
    found = [(s[3], s[1], s[4]) for key, s in SYMBOLS.items() if key in used]
    if any(m.chosen for p in panels for m in p.marks):
        found.append(("◯", VERMILLION, "the decision's choice"))
    found.append(("━", BLUE, "front of the point estimates"))
    return found + [("┅", VERMILLION, limit.told) for limit in shared.limits]


def figures(shared: Frame, panels: Sequence[Panel], links: Links) -> list[dict[str, Any]]:
    """Per panel: `traces`, `layout`, and `order`: [trace, point] from the left to the right.

    Every point's `customdata` is its text and the address of its run, empty if there is none.
    """
    return [
        {
            "traces": (traces := _traces(p, links)),
            "layout": _layout(shared),
            "order": _order(traces),
        }
        for p in panels
    ]


def symbol_of(mark: Mark) -> tuple[str, bool, str]:
    """Key of `SYMBOLS`."""
    if mark.kind != "trial":
        return mark.kind, True, ""
    return "trial", mark.decided, mark.standing


def _traces(panel: Panel, links: Links) -> list[dict[str, Any]]:
    traces = []
    for key, (symbol, colour, size, _, name) in reversed(SYMBOLS.items()):
        marks = [m for m in panel.marks if symbol_of(m) == key]
        if marks:
            traces.append(_trace(marks, symbol, colour, size, name, links, faint=not key[1]))
    front = panel.front
    if len(front) > 1:
        steps = {"x": [m.x for m in front], "y": [m.y for m in front], "mode": "lines"}
        line = {"color": BLUE, "width": 1.2, "shape": "hv"}
        traces.insert(0, {**steps, "line": line, "opacity": 0.5, "hoverinfo": "skip"})
    chosen = [m for m in panel.marks if m.chosen]
    if chosen:
        ring = {"symbol": "circle-open", "size": 22, "color": VERMILLION, "line": {"width": 2.5}}
        place = {"x": [m.x for m in chosen], "y": [m.y for m in chosen], "mode": "markers"}
        traces.append({**place, "marker": ring, "hoverinfo": "skip"})
    return traces


def _trace(
    marks: Sequence[Mark],
    symbol: str,
    colour: str,
    size: int,
    name: str,
    links: Links,
    *,
    faint: bool,
) -> dict[str, Any]:
    def bars(halves: Sequence[float | None]) -> dict[str, Any]:
        array = [h or 0 for h in halves]
        faded = _faded(colour, 0.25 if faint else 0.6)
        return {"type": "data", "array": array, "color": faded, "thickness": 1, "width": 0}

    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [m.x for m in marks],
        "y": [m.y for m in marks],
        "error_x": bars([m.x_half for m in marks]),
        "error_y": bars([m.y_half for m in marks]),
        "marker": {
            "symbol": symbol,
            "size": size,
            "color": colour,
            "line": {"width": 1.5, "color": colour},
        },
        # plotly reads a few HTML tags in hover texts: what users named is made plain first.
        "hovertext": ["<br>".join(html.escape(t, quote=False) for t in m.told) for m in marks],
        "hoverinfo": "text",
        "customdata": [[" · ".join(m.told), links.trial(m.row.who) or ""] for m in marks],
    }


def _order(traces: Sequence[dict[str, Any]]) -> list[list[int]]:
    points = [
        (x, t, n)
        for t, trace in enumerate(traces)
        if "customdata" in trace
        for n, x in enumerate(trace["x"])
    ]
    return [[t, n] for _, t, n in sorted(points)]


def _line(limit: Limit) -> dict[str, Any]:
    along, other = ("x", "y") if limit.vertical else ("y", "x")
    return {
        "type": "line",
        f"{along}0": limit.at,
        f"{along}1": limit.at,
        f"{other}0": 0,
        f"{other}1": 1,
        f"{other}ref": "paper",
        "layer": "below",
        "line": {"color": VERMILLION, "width": 1.3, "dash": "dash"},
    }


def _layout(frame: Frame) -> dict[str, Any]:
    line = {"gridcolor": "#E6E6E6", "zerolinecolor": "#BBBBBB", "fixedrange": True}
    across = {"title": {"text": _plain(frame.across.title)}, "range": list(frame.x_range)}
    up = {"title": {"text": _plain(frame.up.title)}, "range": list(frame.y_range)}
    return {
        "showlegend": False,
        "hovermode": "closest",
        "dragmode": False,
        "margin": {"l": 54, "r": 12, "t": 10, "b": 58},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "font": {"color": "#222222", "size": 12, "family": "system-ui, sans-serif"},
        "hoverlabel": {
            "align": "left",
            "bgcolor": "white",
            "font": {"color": "#222222", "size": 11},
        },
        "xaxis": across | line,
        "yaxis": up | line,
        "shapes": [_line(limit) for limit in frame.limits],
    }


def _plain(text: str) -> str:
    return html.escape(text, quote=False)


def _faded(colour: str, opacity: float) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"
