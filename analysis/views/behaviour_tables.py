"""Tables of `analyze ID behaviour`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from keepgain.analysis import cells, words
from keepgain.analysis.behaviour.figure import Figure
from keepgain.analysis.behaviour.guards import GuardFound
from keepgain.analysis.behaviour.moved import Change, SuiteMoved
from keepgain.analysis.behaviour.outcomes import OutcomeFound
from keepgain.analysis.grid import Grid
from keepgain.analysis.stats import Estimate
from keepgain.analysis.table import Configuration
from keepgain.analysis.views.texts import Texts, texts_of
from keepgain.core.config import Split

ORDER = {"worse": 0, "changed": 1, "not_resolved": 2, "better": 3}
_SAID = {"not_resolved": "not resolved"}
FORM = ("empty_share", "truncated_share")


@dataclass(frozen=True)
class Shown:
    """One configuration with all that is known of its behaviour."""

    who: Configuration
    """Of the table that decides."""
    suites: tuple[SuiteMoved, ...]
    guards: tuple[GuardFound, ...]
    form: tuple[tuple[str, dict[str, tuple[float | None, float]]], ...]
    """Suite → figure of its answers → (base, tuned)."""
    judged: tuple[tuple[str, Figure], ...] = ()
    """(suite, figure) of what a judge model said."""


def rank(change: Change) -> tuple[int, float]:
    """The worse first, the surer first."""
    return ORDER[change.verdict], change.adjusted if change.adjusted is not None else 2.0


def grids_of(one: Shown, split: Split, folders: Mapping[str, Path]) -> list[Grid]:
    """All tables of one configuration; those without rows too."""
    label = words.clean(one.who.label)
    wholes = [s.whole for s in one.suites]
    parts = sorted((p for s in one.suites for p in s.slices), key=rank)
    figures = [(s.whole.name, f) for s in one.suites for f in s.figures]
    return [
        _changes(f"Behaviours of {label}", "suite", wholes),
        _changes(f"Slices of {label}", "slice", parts),
        _figures(f"Further figures of {label}", figures),
        _figures(f"Judged answers of {label}", one.judged),
        _form_grid(f"Form of the answers of {label}", one),
        _guards(f"Guards on {label}", one.guards),
        _examples(one, split, folders),
    ]


def _changes(title: str, noun: str, changes: Sequence[Change]) -> Grid:
    rows = tuple(
        (
            words.clean(c.name),
            str(c.tuned.n_items),
            "↑" if c.suite.sign > 0 else "↓",
            cells.level(c.base),
            cells.level(c.tuned),
            cells.signed(c.change),
            _SAID.get(c.verdict, c.verdict),
        )
        for c in changes
    )
    header = (noun, "items", "better", "base", "tuned", "change", "")
    return Grid(title, header, rows, (False,) * len(rows), ("better", "items"))


def _figures(title: str, figures: Sequence[tuple[str, Figure]]) -> Grid:
    rows = tuple(
        (
            words.clean(suite),
            f.name,
            "–" if f.base is None else _interval(f.base),
            _interval(f.estimate),
            "–" if f.change is None else _interval(f.change),
            f.unit,
            f.note,
        )
        for suite, f in figures
    )
    header = ("suite", "figure", "base", "tuned", "change", "unit", "note")
    return Grid(title, header, rows, (False,) * len(rows), ("unit", "base"))


def _interval(e: Estimate) -> str:
    return "–" if e.value is None else cells.interval(e.value, e.low, e.high)


def _form_grid(title: str, one: Shown) -> Grid:
    rows = tuple(
        (words.clean(suite), *(_both(figures.get(f)) for f in FORM)) for suite, figures in one.form
    )
    header = ("suite", "empty: base → tuned", "cut short: base → tuned")
    return Grid(title, header, rows, (False,) * len(rows))


def _both(figure: tuple[float | None, float] | None) -> str:
    if figure is None:
        return "–"
    base, tuned = figure
    return f"{'–' if base is None else f'{100 * base:.1f} %'} → {100 * tuned:.1f} %"


def _guards(title: str, guards: Sequence[GuardFound]) -> Grid:
    rows = tuple(
        (
            words.clean(g.guard),
            f"{g.limit_name} {g.limit:g}",
            "–" if g.figure is None else _interval(g.figure.estimate()),
            "unknown" if g.bound is None else f"{g.bound:.3f}",
            _SAID.get(g.answer, g.answer),
        )
        for g in guards
    )
    header = ("guard", "limit", "figure", "bound", "")
    return Grid(title, header, rows, (False,) * len(rows))


def _examples(one: Shown, split: Split, folders: Mapping[str, Path]) -> Grid:
    """Questions of the items that speak against a guard, where texts were kept."""
    rows = []
    for guard in one.guards:
        texts = texts_for(one, guard, split, folders)
        for item in guard.examples if texts and guard.answer != "holds" else ():
            text = texts.items.get(item) if texts else None
            if text is not None:
                rows.append((words.clean(guard.guard), item, words.clean(text.question)))
    header = ("guard", "item", "question")
    return Grid("Items that speak against a guard", header, tuple(rows), (False,) * len(rows))


def texts_for(
    one: Shown, guard: GuardFound, split: Split, folders: Mapping[str, Path]
) -> Texts | None:
    """Of the items of a guard's suite, where they were kept."""
    return texts_of(folders, one.who.runs[split], guard.suite, split)


def outcome_grid(found: OutcomeFound) -> Grid:
    """The arms of a live test."""
    rows = tuple(
        (
            words.clean(a.arm),
            f"{a.level.n_items:,}",
            _interval(a.level),
            "control" if a.improvement is None else _interval(a.improvement),
        )
        for a in found.arms
    )
    title = f"Live: {words.clean(found.record.metric)} ({found.record.direction})"
    header = ("arm", "units", "level", "improvement")
    return Grid(title, header, rows, (False,) * len(rows))
