"""`analyze ID --report out.html`: one file that opens anywhere, offline, on a phone and in print.

Everything is in it: the styles, the figures, plotly's own script (4.8 MB, the size of the file).
Its security policy lets it load nothing and run only the two scripts that are named by their
digests, so neither a user's text nor plotly can fetch or send anything. All but the pointer's texts
reads without a script.
"""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from markupsafe import Markup

from keepgain.analysis.grid import Grid
from keepgain.analysis.report import content, drawings, front
from keepgain.analysis.report.links import NO_LINKS, Links, by_name
from keepgain.analysis.report.marks import frame, panels
from keepgain.analysis.result import Analysis
from keepgain.core.pages import environment, save
from keepgain.core.record import Evidence

TEMPLATES = Path(__file__).parent / "templates"
_NAMES = ("trial", "candidate", "run", "configuration")
"""Columns whose cells name a configuration."""


@dataclass(frozen=True)
class Cell:
    """As shown; `href` where it names what MLflow has."""

    text: str
    number: bool = False
    href: str | None = None


@dataclass(frozen=True)
class HtmlTable:
    """A grid with its links; the column that marks the choice has become a property of the row."""

    title: str
    header: tuple[Cell, ...]
    rows: tuple[tuple[bool, tuple[Cell, ...]], ...]


def write_report(
    evidence: Evidence,
    analysis: Analysis,
    path: Path,
    links: Links = NO_LINKS,
    source: Sequence[str] = (),
) -> None:
    """Writes the report, or nothing.

    Args:
        links: Where MLflow shows the runs (`links.links_of`).
        source: Words that name the sweep to `analyze`; empty: its id and its store.

    Raises:
        UserError: The file cannot be written.
    """
    save(path, to_html(evidence, analysis, links, source))


def to_html(
    evidence: Evidence, analysis: Analysis, links: Links = NO_LINKS, source: Sequence[str] = ()
) -> str:
    """The report as text; see `write_report`."""
    from plotly.offline import get_plotlyjs

    drawn = panels(analysis)
    named = by_name(analysis, links)
    script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    plotly = get_plotlyjs() if drawn else ""
    told = content.content(evidence, analysis, links, source)
    shared = frame(analysis, drawn)
    ladder, ladder_told = drawings.ladder(analysis)
    return (
        environment(TEMPLATES)
        .get_template("report.html")
        .render(
            told=told,
            tables={key: [table(g, named) for g in grids] for key, grids in told.grids.items()},
            panels=list(zip(drawn, drawings.static_panels(shared, drawn), strict=True)),
            legend=front.legend(shared, drawn),
            figures=front.figures(shared, drawn, links),
            ladder=ladder,
            ladder_told=ladder_told,
            style=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
            script=Markup(script),
            plotly=Markup(plotly),
            digests=" ".join(f"'sha256-{_digest(s)}'" for s in (script, plotly) if s),
        )
    )


def table(grid: Grid, named: dict[str, str]) -> HtmlTable:
    """A grid for HTML. Args: `named` as of `links.by_name`."""
    if grid.header and grid.header[0] == "":
        rows = tuple(r[1:] for r in grid.rows)
        grid = replace(grid, header=grid.header[1:], rows=rows)
    numbers = [not any(_is_word(row[at]) for row in grid.rows) for at in range(len(grid.header))]
    body = [
        tuple(
            Cell(text, number, _href(named, name, text))
            for text, number, name in zip(row, numbers, grid.header, strict=True)
        )
        for row in grid.rows
    ]
    header = tuple(Cell(h, n) for h, n in zip(grid.header, numbers, strict=True))
    return HtmlTable(grid.title, header, tuple(zip(grid.marked, body, strict=True)))


def _href(named: dict[str, str], column: str, text: str) -> str | None:
    return named.get(text.removesuffix(" (val.)")) if column in _NAMES else None


def _is_word(text: str) -> bool:
    return text[:1].isalpha() and text not in ("unknown", "none")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
