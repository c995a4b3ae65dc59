"""A part of `analyze ID why`: what was found in words, then in a table."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from keepgain.analysis import words
from keepgain.analysis.grid import Grid
from keepgain.core.scorers import in_points

MAX_ROWS = 24
"""Longer tables are cut, with a note; JSON has all rows."""


@dataclass(frozen=True)
class Section:
    """One question."""

    name: str
    """Key in JSON."""
    heading: str
    said: str
    """The answer, for a reader who knows no statistics."""
    data: object
    """For JSON: dicts, lists, numbers, strings and None."""
    grid: Grid | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def paragraph(self) -> str:
        """The answer with what it answers."""
        return words.clean(f"{self.heading}: {self.said}")


def table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Grid | None:
    """A table without marked rows, cut where it is long; None without rows."""
    kept = [tuple(words.clean(cell) for cell in row) for row in rows]
    if not kept:
        return None
    if len(kept) > MAX_ROWS:
        title += f" (the first {MAX_ROWS} of {len(kept)}; all: --format json)"
    shown = tuple(kept[:MAX_ROWS])
    return Grid(title, tuple(header), shown, (False,) * len(shown))


def refusals(reasons: Mapping[str, str]) -> str:
    """`Not assessed: xs and s: 12 trials with scores, 20 are needed.`; empty without any.

    Args:
        reasons: What → why.
    """
    by_reason: dict[str, list[str]] = {}
    for what, why in reasons.items():
        by_reason.setdefault(why, []).append(what)
    told = [f"{words.join(list(dict.fromkeys(w)))}: {why}" for why, w in by_reason.items()]
    return f"Not assessed: {'; '.join(told)}." if told else ""


def spread(
    value: float | None, low: float | None, high: float | None, digits: int, factor: float = 1.0
) -> str:
    """`+3.1 [+1.0, +5.2]`."""
    if value is None:
        return "–"
    said = f"{factor * value + 0.0:+.{digits}f}"
    if low is None or high is None:
        return f"{said} [?]"
    return f"{said} [{factor * low + 0.0:+.{digits}f}, {factor * high + 0.0:+.{digits}f}]"


def scaled(scorer: str) -> tuple[float, int, str]:
    """Factor, digits and unit in which differences of a suite are told."""
    return (100.0, 1, "points") if in_points(scorer) else (1.0, 3, "(suite unit)")
