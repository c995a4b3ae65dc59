"""Hypervolume against tokens and against virtual wall time. Computed elsewhere, drawn here."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measure import LEVEL, Compared, at

GRID_POINTS = 400
LOWEST = 0.5
"""Hypervolume at the bottom of a panel: below it, hardly anything has been tried."""
MAIN_SLOTS = 4
BAND = ("random", "ours")
"""Arms whose quartiles are shown; more bands would hide each other."""
STYLES: dict[str, tuple[str, str, float]] = {
    "random": ("#222222", "-", 1.8),
    "tpe": ("#8C8C8C", "-", 1.4),
    "asha": ("#E69F00", "-", 1.4),
    "moasha": ("#009E73", "-", 1.4),
    "moasha-proxy": ("#009E73", "--", 1.4),
    "ours": ("#0072B2", "-", 2.4),
    "ours-exact": ("#0072B2", "--", 1.8),
    "ours-async": ("#56B4E9", "-", 1.8),
}
"""Colour (Okabe & Ito), line and width; what uses the proxies is dashed."""


def save_plots(compared: Compared, folder: Path) -> list[Path]:
    """Writes `hypervolume-DOMAIN.png` and `.svg`; returns them."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "keepgain"  # the same figures give the same file
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(11, 7.6), sharey=True)
    panels: list[tuple[int, bool]] = [
        (MAIN_SLOTS, False),
        *((slots, True) for slots in compared.slots),
    ]
    for axis, (slots, seconds) in zip(axes.flat, panels, strict=True):
        _panel(axis, compared, slots, seconds=seconds)
    for axis in axes[:, 0]:
        axis.set_ylabel("hypervolume / that of the table")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=4, frameon=False, fontsize=9)
    figure.suptitle(
        f"Searching the recorded grid '{compared.domain.name}': median of {compared.seeds} seeds "
        f"(band: quartiles; dot: median cost of {LEVEL:.0%})",
        fontsize=11,
        x=0.02,
        ha="left",
    )
    figure.tight_layout(rect=(0, 0.07, 1, 0.99))
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"hypervolume-{compared.domain.name}.{kind}" for kind in ("png", "svg")]
    for path in paths:
        figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)
    return paths


def _panel(axis: Any, compared: Compared, slots: int, *, seconds: bool) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    costs = _costs(compared, slots, seconds=seconds)
    scale = 1.0 if seconds else 1e-6
    for arm, label in compared.arms.items():
        colour, line, width = STYLES[arm]
        rows = np.array([at(c, costs, seconds=seconds) for c in compared.of(arm, slots)])
        shown = np.array(costs) * scale
        if arm in BAND:
            low, high = np.quantile(rows, (0.25, 0.75), axis=0)
            axis.fill_between(shown, low, high, step="post", color=colour, alpha=0.16, linewidth=0)
        middle = np.median(rows, axis=0)
        axis.plot(
            shown, middle, line, color=colour, linewidth=width, label=label, drawstyle="steps-post"
        )
        cost = compared.costs(arm, slots, seconds=seconds)
        dot = sorted(cost)[len(cost) // 2] * scale  # infinite ones are not drawn
        axis.plot(dot, LEVEL, "o", color=colour, markersize=6, markeredgecolor="white", zorder=3)
    axis.axhline(LEVEL, color="#666666", linewidth=0.8, linestyle=":")
    axis.annotate(
        f"{LEVEL:.0%} of the table", (0.01, LEVEL), xycoords=("axes fraction", "data"), fontsize=8,
        color="#444444", ha="left", va="bottom",
    )  # fmt: skip
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda cost, _: f"{cost:,.10g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_ylim(LOWEST, 1.005)
    axis.set_xlim(costs[0] * scale, costs[-1] * scale)
    many = "1 slot" if slots == 1 else f"{slots} slots"
    axis.set_title(f"{'Virtual wall time' if seconds else 'Tokens trained'}, {many}", fontsize=10)
    axis.set_xlabel("virtual seconds" if seconds else "million tokens, all base models together")
    axis.grid(True, which="major", color="#EEEEEE", linewidth=0.8)
    axis.set_axisbelow(True)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def _costs(compared: Compared, slots: int, *, seconds: bool) -> Sequence[float]:
    """From a fiftieth of the costliest sweep to its end, evenly on a logarithmic axis."""
    outcomes = [o for (_, s, _), o in compared.outcomes.items() if s == slots]
    end = max(o.ended if seconds else float(o.tokens) for o in outcomes)
    return [float(x) for x in np.geomspace(end / 50, end, GRID_POINTS)]
