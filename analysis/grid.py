"""Tables of strings and the views made of them; `render` lays them out, and computes nothing."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Grid:
    """A table of strings."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    marked: tuple[bool, ...]
    """Per row: the decision's choice."""
    droppable: tuple[str, ...] = ()
    """Columns that may go where there is no room, the first one first."""

    def without(self, column: str) -> "Grid":
        """The same without one column."""
        at = self.header.index(column)
        rows = tuple(r[:at] + r[at + 1 :] for r in self.rows)
        header = self.header[:at] + self.header[at + 1 :]
        rest = tuple(c for c in self.droppable if c != column)
        return Grid(self.title, header, rows, self.marked, rest)


@dataclass(frozen=True)
class View:
    """What one question of a reader gets for an answer: `analyze ID sizes`, `why`, `curves`, ..."""

    name: str
    """`sizes`, `why`, ...: what it is called on the command line."""
    title: str
    """One line."""
    paragraphs: tuple[str, ...]
    """The answer in words, before the tables."""
    grids: tuple[Grid, ...]
    notes: tuple[str, ...]
    """How to read it, and what was left out and why; after the tables."""
    data: Mapping[str, object]
    """The same for `--format json`, all digits: numbers, strings, None, lists and dicts alone."""
    csv: str = "rows"
    """Key of the list in `data` that `--format csv` prints, if it is there."""
