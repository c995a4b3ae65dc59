"""Gain against forgetting, one panel a base model: what each size offers for what it costs.

Compute, then draw: `panels` collects the points, `save` only draws them. Colours are Okabe & Ito's
(safe for colour blindness), and every kind of point has its own shape as well.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keepgain.analysis import words
from keepgain.analysis.result import Analysis, Row
from keepgain.core.errors import UserError
from keepgain.core.scorers import in_points
from keepgain.core.units import human_count

BLUE, ORANGE, VERMILLION, GREY, BLACK = "#0072B2", "#E69F00", "#D55E00", "#8C8C8C", "#222222"
MAX_COLUMNS = 3

_SHAPES = {
    "confirmed": ("o", BLUE, BLUE, 46, "trial, confirmed"),
    "search": ("o", GREY, "white", 26, "trial, validation only"),
    "reference": ("D", ORANGE, ORANGE, 42, "reference arm"),
    "base": ("s", BLACK, BLACK, 42, "base"),
}


@dataclass(frozen=True)
class Point:
    """One configuration; coordinates and half-widths in plotted units."""

    x: float
    y: float
    x_half: float | None
    y_half: float | None
    kind: str
    """Key of `_SHAPES`."""
    label: str
    on_front: bool
    recommended: bool
    named: bool
    """Reference arms and each size's candidate carry their label."""


@dataclass(frozen=True)
class PanelData:
    """One base model."""

    title: str
    points: tuple[Point, ...]
    paths: tuple[tuple[Point, ...], ...] = ()
    """Points of one training, from nearest the base to the tuned weights."""


def panels(analysis: Analysis) -> tuple[PanelData, ...]:
    """The points of each size, smallest first; shares are shown in points of a hundred.

    Raises:
        UserError: No row has both gain and forgetting.
    """
    found = []
    for size in reversed(analysis.sizes):
        rows = [r for r in analysis.rows if r.who.model == size.size.model]
        drawn = [(r, p) for r in rows if (p := _point(analysis, r)) is not None]
        if drawn:
            count = size.size.parameters
            detail = f" ({human_count(count)} parameters)" if count is not None else ""
            title = words.clean(size.size.model) + detail
            found.append(PanelData(title, tuple(p for _, p in drawn), _paths(analysis, drawn)))
    if not found:
        raise UserError(
            "nothing to plot: no trial has both gain and forgetting.",
            hint="A forgetting suite and scored bases are needed.",
        )
    return tuple(found)


def _paths(analysis: Analysis, drawn: Sequence[tuple[Row, Point]]) -> tuple[tuple[Point, ...], ...]:
    """Of trainings that were scored at several points; confirmed ones are of other seeds."""
    trained = {r.trial_id: r.made_from or r.run_key for r in analysis.sweep.runs}
    found: dict[str, list[tuple[float, Point]]] = defaultdict(list)
    for row, point in drawn:
        if point.kind == "search":
            share = float(str(row.who.params.get("interpolation", 1.0)))
            found[trained[row.who.trial_id]].append((share, point))
    ordered = (sorted(points, key=lambda p: p[0]) for points in found.values() if len(points) > 1)
    return tuple(tuple(point for _, point in points) for points in ordered)


def save(analysis: Analysis, path: Path) -> None:
    """Draws the panels into an SVG or PNG file.

    Raises:
        UserError: Nothing to plot, or the file cannot be written.
    """
    data = panels(analysis)
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    columns = min(MAX_COLUMNS, len(data))
    lines = -(-len(data) // columns)
    style: dict[str, Any] = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}
    style |= {"svg.fonttype": "none", "svg.hashsalt": "keepgain", "font.family": "DejaVu Sans"}
    with pyplot.rc_context(style):
        figure, axes = pyplot.subplots(
            lines,
            columns,
            figsize=(max(5.6, 3.9 * columns), 3.7 * lines + 1.1),
            sharex=True,
            sharey=True,
            squeeze=False,
            layout="constrained",
        )
        flat = list(axes.flat)
        for axis, panel in zip(flat, data, strict=False):
            _draw(axis, panel, analysis)
            axis.set_xlabel(f"forgetting, {_unit(analysis, 'forgetting')} (← less is better)")
        for axis in flat[len(data) :]:
            axis.set_visible(False)
        for row in axes:
            row[0].set_ylabel(f"gain, {_unit(analysis, 'gain')} (more is better →)")
        figure.suptitle(_title(analysis), x=0.01, ha="left", fontsize=11, fontweight="bold")
        handles, names = _legend(flat[: len(data)])
        figure.legend(
            handles,
            names,
            loc="outside lower left",
            ncols=min(3, len(names)) if columns > 1 else 2,
            frameon=False,
            fontsize=9,
            markerscale=0.8,
        )
        try:
            figure.savefig(path, dpi=160, metadata={"Date": None} if _is_svg(path) else None)
        except OSError as error:
            raise UserError(f"the plot cannot be written ({error}).", where=str(path)) from None
        finally:
            pyplot.close(figure)


def _is_svg(path: Path) -> bool:
    return path.suffix.lower() == ".svg"


def _point(analysis: Analysis, row: Row) -> Point | None:
    gain, forgetting = row.estimates["gain"], row.estimates["forgetting"]
    if gain.value is None or forgetting.value is None:
        return None
    decision = analysis.decision
    kind: str = row.who.kind
    if kind == "trial":
        kind = "confirmed" if row.who.confirmed and row.split == decision.split else "search"
    x_scale, y_scale = _scale(analysis, "forgetting"), _scale(analysis, "gain")
    recommended = row.who.trial_id == decision.trial
    candidates = {s.candidate.trial_id for s in decision.verdict.sizes if s.candidate}
    return Point(
        x=x_scale * forgetting.value,
        y=y_scale * gain.value,
        x_half=None if forgetting.high is None else x_scale * (forgetting.high - forgetting.value),
        y_half=None if gain.high is None else y_scale * (gain.high - gain.value),
        kind=kind,
        label=words.clean(row.who.arm.replace("_", " ") if row.who.arm else row.who.trial_id[:6]),
        on_front=bool(row.place and row.place.on_front and row.split == decision.split),
        recommended=recommended,
        named=recommended or kind == "reference" or row.who.trial_id in candidates,
    )


def _draw(axis: Any, panel: PanelData, analysis: Analysis) -> None:
    axis.set_title(panel.title, loc="left", fontsize=10)
    axis.grid(color="#EBEBEB", linewidth=0.8)
    axis.set_axisbelow(True)
    axis.margins(x=0.2, y=0.12)  # room for the labels at the left
    _front(axis, [p for p in panel.points if p.on_front])
    for path in panel.paths:
        axis.plot(
            [p.x for p in path],
            [p.y for p in path],
            color=GREY,
            linewidth=0.8,
            label="one training, towards its base",
            zorder=1,
        )
    for kind, (marker, edge, face, area, name) in _SHAPES.items():
        chosen = [p for p in panel.points if p.kind == kind]
        if chosen:
            axis.errorbar(
                [p.x for p in chosen],
                [p.y for p in chosen],
                xerr=[p.x_half or 0.0 for p in chosen],
                yerr=[p.y_half or 0.0 for p in chosen],
                fmt="none",
                ecolor=edge,
                alpha=0.3 if kind == "search" else 0.55,
                elinewidth=1.1,
                zorder=2,
            )
            axis.scatter(
                [p.x for p in chosen],
                [p.y for p in chosen],
                s=area,
                marker=marker,
                facecolors=face,
                edgecolors=edge,
                linewidths=1.2,
                label=name,
                zorder=3,
            )
    for p in panel.points:
        if p.recommended:
            axis.scatter(
                p.x,
                p.y,
                s=230,
                marker="o",
                facecolors="none",
                edgecolors=VERMILLION,
                linewidths=2.2,
                label="the decision's choice",
                zorder=4,
            )
        if p.named:
            axis.annotate(
                p.label,
                (p.x, p.y),
                # The upper left of a point on the front is empty: nothing dominates it.
                xytext=(11, 7) if p.kind == "reference" else (-9, 8),
                ha="left" if p.kind == "reference" else "right",
                textcoords="offset points",
                fontsize=8.5,
                color=VERMILLION if p.recommended else BLACK,
                fontweight="bold" if p.recommended else "normal",
                zorder=5,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.8},
            )
    limit = analysis.question.max_forgetting
    if limit is not None:
        axis.axvline(
            _scale(analysis, "forgetting") * limit,
            color=VERMILLION,
            linestyle=(0, (5, 4)),
            linewidth=1.2,
            label="limit for any one suite",
            zorder=1,
        )


def _front(axis: Any, front: list[Point]) -> None:
    """The staircase of the point-estimate front."""
    if len(front) < 2:
        return
    front = sorted(front, key=lambda p: (p.x, p.y))
    axis.step(
        [p.x for p in front],
        [p.y for p in front],
        where="post",
        color=BLUE,
        alpha=0.45,
        linewidth=1.6,
        label="front (point estimates)",
        zorder=1,
    )


def _legend(axes: list[Any]) -> tuple[list[Any], list[str]]:
    """Each kind of mark once, over all panels."""
    found: dict[str, Any] = {}
    for axis in axes:
        for handle, name in zip(*axis.get_legend_handles_labels(), strict=True):
            found.setdefault(name, handle)
    return list(found.values()), list(found)


def _title(analysis: Analysis) -> str:
    decision = analysis.decision
    answer = decision.status.replace("_", " ")
    model = f": {words.clean(decision.model)}" if decision.model else ""
    return (
        f"{words.clean(analysis.sweep.name)}, {answer}{model} "
        f"({decision.split} split, 95 % intervals)"
    )


def _scale(analysis: Analysis, objective: str) -> float:
    return 100.0 if _is_share(analysis, objective) else 1.0


def _unit(analysis: Analysis, objective: str) -> str:
    if _is_share(analysis, objective):
        return "points"
    return next(o.unit for o in analysis.objectives if o.name == objective)


def _is_share(analysis: Analysis, objective: str) -> bool:
    return in_points(analysis.scorers[objective])
