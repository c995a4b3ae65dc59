"""Text, Markdown and CSV of a decision and of views. All is computed before; this lays it out."""

import csv
import io
import re
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console, Group
from rich.measure import Measurement
from rich.panel import Panel
from rich.table import Table as RichTable
from rich.text import Text

from keepgain.analysis import words
from keepgain.analysis.grid import Grid, View
from keepgain.analysis.result import Analysis
from keepgain.analysis.tables import grids
from keepgain.analysis.views.decision import TITLES, headline, notes

PIPED_WIDTH = 120
MIN_WIDTH = 60

_COLOURS = {"recommended": "green", "tied": "green", "provisional": "yellow"}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_WORD = re.compile(r"(?!unknown|none)[^\W\d_]")
_LEFT = {"", "candidate", "trial", "method", "front", "item"}
"""Columns that look like numbers and are names; those that hold words are found by `_WORD`."""


def text(analysis: Analysis, *, width: int | None = None, colour: bool = False) -> str:
    """The decision, the sizes, the trials and what was left out, for a terminal or a pipe.

    Args:
        width: Columns; columns of the tables that do not fit are left out. None: 120.
        colour: With escape codes, for a terminal.
    """
    console = _console(width, colour)
    console.print(Text(headline(analysis), style="bold"))
    console.print(_panel(analysis))
    _print(console, grids(analysis), notes(analysis))
    return _printed(console)


def view_text(view: View, *, width: int | None = None, colour: bool = False) -> str:
    """A view for a terminal or a pipe; `width` and `colour` as of `text`."""
    console = _console(width, colour)
    console.print(Text(words.clean(view.title), style="bold"))
    for said in view.paragraphs:
        console.print(Text(_filled(said, console, indent="")))
    _print(console, view.grids, view.notes)
    return _printed(console)


def view_markdown(view: View) -> str:
    """A view for a pull request or a wiki page."""
    parts = [
        f"# {_md(view.title)}",
        *(_md(said) for said in view.paragraphs),
        *(f"## {_md(grid.title)}\n\n{_md_table(grid)}" for grid in view.grids),
        "\n".join(f"- {_md(line)}" for line in view.notes),
    ]
    return "\n\n".join(p for p in parts if p) + "\n"


def view_csv(view: View) -> str:
    """The rows of a view with all digits (of its data), else its first table as shown.

    Parts of a row have dotted names; empty cells are absent values.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    given = view.data.get(view.csv)
    if isinstance(given, list):
        flat = [_flat(row) for row in given]
        header = list(dict.fromkeys(name for row in flat for name in row))
        writer.writerow([_cell(name) for name in header])
        writer.writerows([_cell(row.get(name)) for name in header] for row in flat)
    elif view.grids:
        writer.writerow([_cell(name) for name in view.grids[0].header])
        writer.writerows([_cell(c) for c in row] for row in view.grids[0].rows)
    return out.getvalue()


def _flat(value: Any, name: str = "") -> dict[str, object]:
    """`{"a": {"b": 1}}` as `{"a.b": 1}`; lists are joined, those of a part by part."""
    if isinstance(value, Mapping):
        parts = (_flat(v, f"{name}.{k}" if name else str(k)) for k, v in value.items())
        return {k: v for part in parts for k, v in part.items()}
    if isinstance(value, list) and value and all(isinstance(v, Mapping) for v in value):
        keys = dict.fromkeys(k for v in value for k in v)
        return {f"{name}.{k}": _joined([v.get(k) for v in value]) for k in keys}
    if isinstance(value, list):
        return {name: _joined(value)}
    return {name: value}


def _joined(values: Sequence[object]) -> str | None:
    """`1; 2`; None where all of them are absent."""
    if all(v is None for v in values):
        return None
    return "; ".join("" if v is None else str(v) for v in values)


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
    names = [o.name for o in analysis.objectives]
    for name in names:
        header += [name, f"{name}_low", f"{name}_high", f"{name}_interval_method"]
    header += [f"cost.{c}" for c in costs] + [f"params.{p}" for p in params]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([_cell(h) for h in header])
    for row in analysis.rows:
        who, place = row.who, row.place
        cells: list[object] = [who.trial_id, who.label, who.model, who.kind, who.stage.value]
        cells += [row.split, row.replicates, who.status.value]
        cells += [place.rank, place.field] if place else [None, None]
        cells += [place.on_front, place.near_front] if place else [False, False]
        cells.append(place.membership if place else None)
        for name in names:
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


def _console(width: int | None, colour: bool) -> Console:
    return Console(
        file=io.StringIO(),
        width=max(MIN_WIDTH, width or PIPED_WIDTH),
        force_terminal=colour,
        no_color=not colour,
        highlight=False,
    )


def _print(console: Console, tables: Sequence[Grid], lines: Sequence[str]) -> None:
    for grid in tables:
        console.print(Text("\n" + _filled(grid.title, console), style="bold"))
        console.print(_fitted(grid, console))
    for line in lines:
        console.print(Text(_filled(line, console), style="dim"))


def _filled(said: str, console: Console, indent: str = "  ") -> str:
    return textwrap.fill(words.clean(said), console.width, subsequent_indent=indent)


def _printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()) + "\n"


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
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for at, name in enumerate(grid.header):
        words_in_it = any(_WORD.match(row[at]) for row in grid.rows)
        justify = "left" if name in _LEFT or words_in_it else "right"
        table.add_column(Text(name), justify=justify, overflow="fold")  # type: ignore[arg-type]
    for row, marked in zip(grid.rows, grid.marked, strict=True):
        table.add_row(*(Text(words.clean(cell)) for cell in row), style="bold" if marked else None)
    return table


def _md(said: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>|])", r"\\\1", words.clean(said))


def _md_table(grid: Grid) -> str:
    lines = ["| " + " | ".join(_md(h) for h in grid.header) + " |"]
    lines += ["|" + " --- |" * len(grid.header)]
    lines += ["| " + " | ".join(_md(c) for c in row) + " |" for row in grid.rows]
    return "\n".join(lines)
