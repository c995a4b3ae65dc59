"""Text, Markdown and CSV of an analysis. Everything is computed before; this only lays it out."""

import csv
import io
import re
import shutil
import textwrap

from rich import box
from rich.console import Console, Group
from rich.measure import Measurement
from rich.panel import Panel
from rich.table import Table as RichTable
from rich.text import Text

from keepgain.analysis import objectives, words
from keepgain.analysis.analyze import Analysis
from keepgain.analysis.grid import Grid
from keepgain.analysis.tables import TITLES, grids, headline, notes

PIPED_WIDTH = 120
MIN_WIDTH = 60

_COLOURS = {"recommended": "green", "tied": "green", "provisional": "yellow"}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_LEFT = {
    "",
    "size",
    "candidate",
    "verdict",
    "trial",
    "method",
    "front",
    "suite",
    "slice",
    "measures",
}


def text(analysis: Analysis, *, width: int | None = None, colour: bool = False) -> str:
    """The decision, the sizes, the trials and what was left out, for a terminal or a pipe.

    Args:
        width: Columns; columns of the tables that do not fit are left out. None: 120.
        colour: With escape codes, for a terminal.
    """
    wide = max(MIN_WIDTH, width or PIPED_WIDTH)
    out = io.StringIO()
    console = Console(
        file=out, width=wide, force_terminal=colour, no_color=not colour, highlight=False
    )
    console.print(Text(headline(analysis), style="bold"))
    console.print(_panel(analysis))
    for grid in grids(analysis):
        console.print(_fitted(grid, console))
    for line in notes(analysis):
        console.print(Text(textwrap.fill(line, wide, subsequent_indent="  "), style="dim"))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def terminal_width() -> int:
    """Columns of the terminal."""
    return shutil.get_terminal_size((PIPED_WIDTH, 24)).columns


def markdown(analysis: Analysis) -> str:
    """The same for a pull request or a wiki page."""
    parts = [
        f"# {_md(headline(analysis))}",
        f"**{TITLES[analysis.decision.status]}.** {_md(analysis.decision.reason)}",
        *(f"## {grid.title}\n\n{_md_table(grid)}" for grid in grids(analysis)),
        "\n".join(f"- {_md(line)}" for line in notes(analysis)),
    ]
    return "\n\n".join(parts) + "\n"


def csv_table(analysis: Analysis) -> str:
    """One row a configuration, all digits; empty cells are absent values."""
    params = sorted({k for r in analysis.rows for k in r.who.params})
    costs = sorted({k for r in analysis.rows for k in r.who.cost})
    header = ["id", "label", "model", "kind", "stage", "split", "replicates", "status"]
    header += ["rank", "rank_group", "on_front", "near_front", "front_membership"]
    for name in objectives.NAMES:
        header += [name, f"{name}_low", f"{name}_high", f"{name}_interval_method"]
    header += [f"cost.{c}" for c in costs] + [f"params.{p}" for p in params]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([_cell(h) for h in header])
    for row in analysis.rows:
        who, place = row.who, row.place
        cells: list[object] = [who.trial_id, who.label, who.model, who.kind, who.stage.value]
        cells += [row.split, who.seeds(row.split) if row.split else 0, who.status.value]
        cells += [place.rank, place.field] if place else [None, None]
        cells += [place.on_front, place.near_front] if place else [False, False]
        cells.append(place.membership if place else None)
        for name in objectives.NAMES:
            e = row.estimates[name]
            cells += [e.value, e.low, e.high, e.interval_method]
        cells += [who.cost.get(c) for c in costs] + [who.params.get(p) for p in params]
        writer.writerow([_cell(c) for c in cells])
    return out.getvalue()


def _cell(value: object) -> str:
    """A cell that no spreadsheet takes for a formula (OWASP, CSV injection)."""
    if value is None:
        return ""
    said = words.clean(value)
    dangerous = said.lstrip()[:1] in ("=", "+", "-", "@") and not _NUMBER.fullmatch(said)
    return f"'{said}" if dangerous else said


# -- layout -----------------------------------------------------------------------------------


def _panel(analysis: Analysis) -> Panel:
    """The decision: its first sentence stands out."""
    status = analysis.decision.status
    first, _, rest = analysis.decision.reason.partition(": ")
    said = Text()
    said.append(f"{first}: " if rest else first, style="bold")
    said.append(rest)
    return Panel(
        Group(said),
        title=Text(TITLES[status]),
        title_align="left",
        border_style=_COLOURS.get(status, "red"),
        box=box.ROUNDED,
    )


def _fitted(grid: Grid, console: Console) -> RichTable:
    """The grid without the columns that the console has no room for."""
    while True:
        table = _table(grid)
        needed = Measurement.get(console, console.options.update(width=10_000), table).maximum
        if needed <= console.width or not grid.droppable:
            return table
        grid = grid.without(grid.droppable[0])


def _table(grid: Grid) -> RichTable:
    table = RichTable(
        title=f"\n{grid.title}",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for name in grid.header:
        justify = "left" if name in _LEFT else "right"
        table.add_column(Text(name), justify=justify, overflow="fold")  # type: ignore[arg-type]
    for row, marked in zip(grid.rows, grid.marked, strict=True):
        table.add_row(*(Text(cell) for cell in row), style="bold" if marked else None)
    return table


def _md(said: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>|])", r"\\\1", words.clean(said))


def _md_table(grid: Grid) -> str:
    lines = ["| " + " | ".join(_md(h) for h in grid.header) + " |"]
    lines += ["|" + " --- |" * len(grid.header)]
    lines += ["| " + " | ".join(_md(c) for c in row) + " |" for row in grid.rows]
    return "\n".join(lines)
