"""`analyze ID --report out.md`: the decision for a pull request, short."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from keepgain.analysis import tables, words
from keepgain.analysis.grid import Grid, View
from keepgain.analysis.render import view_markdown
from keepgain.analysis.report.content import commands, excluded
from keepgain.analysis.report.thin import top_rows
from keepgain.analysis.result import Analysis
from keepgain.analysis.views.decision import TITLES, flip_lines, headline, notes, reading
from keepgain.core.pages import save
from keepgain.core.record import Evidence

TOP_ROWS = 12


def write_markdown(
    evidence: Evidence, analysis: Analysis, path: Path, source: Sequence[str] = ()
) -> None:
    """Writes the short report; arguments and errors as of `html.write_report`."""
    save(path, to_markdown(evidence, analysis, source))


def to_markdown(evidence: Evidence, analysis: Analysis, source: Sequence[str] = ()) -> str:
    """Decision, sizes, the best rows, how many were left out, and the command to see it all."""
    given = analysis.given is not None
    view = View(
        name="report",
        title=f"{TITLES[analysis.decision.status]} · {headline(analysis)}",
        paragraphs=(analysis.decision.reason, *(() if given else flip_lines(analysis))),
        grids=tables.grids(analysis) if given else _grids(analysis),
        notes=tuple(notes(analysis)) if given else _notes(analysis),
        data={},
    )
    again = commands(evidence, analysis, source)[0]
    return view_markdown(view) + f"\nThe whole report: `{words.clean(again).replace('`', '')}`\n"


def _grids(analysis: Analysis) -> tuple[Grid, ...]:
    rows = top_rows(analysis, TOP_ROWS)
    whole = sum(r.split is not None for r in analysis.rows)
    best = tables.trial_grid(replace(analysis, rows=tuple(rows)))
    more = f" ({len(rows)} of {whole:,})" if len(rows) < whole else ""
    sizes = (tables.size_grid(analysis),) if analysis.sizes else ()
    return (*sizes, replace(best, title=best.title + more))


def _notes(analysis: Analysis) -> tuple[str, ...]:
    warnings = (f"Warning: {w}" for w in analysis.warnings)
    return (*reading(analysis)[:2], *warnings, excluded(analysis))
