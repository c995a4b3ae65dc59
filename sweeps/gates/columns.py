"""Fields of rows that nobody trains on (annotator, date, source, language, ...), held by column."""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

MAX_DISTINCT = 200_000
"""A column with more values than this (an address, a hash) is given up: it groups nothing."""

Codes = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Column:
    """One field of all rows of a set."""

    values: Sequence[str]
    """Each value once, in the order of its first row."""
    codes: Codes
    """Index into `values` of each row, of shape [rows]; -1: the row lacks the field."""

    def __len__(self) -> int:
        return len(self.codes)

    def __iter__(self) -> Iterator[str | None]:
        return (self.values[c] if c >= 0 else None for c in self.codes.tolist())

    def where(self, chosen: npt.NDArray[np.bool_]) -> "Column":
        """The rows where `chosen` is true; values stay, whether used or not."""
        return Column(self.values, self.codes[chosen])


Columns = Mapping[str, Column]
"""Key of the file → its column."""


@dataclass
class _Growing:
    values: dict[str, int] = field(default_factory=dict)
    codes: "array[int]" = field(default_factory=lambda: array("i"))


class ColumnsBuilder:
    """Takes the fields of one row after the other."""

    def __init__(self) -> None:
        self._rows = 0
        self._growing: dict[str, _Growing] = {}
        self._given_up: set[str] = set()

    def add(self, fields: Mapping[str, str]) -> None:
        """Of the next row."""
        for name, value in fields.items():
            if name in self._given_up:
                continue
            column = self._growing.setdefault(name, _Growing())
            column.codes.extend([-1] * (self._rows - len(column.codes)))
            column.codes.append(column.values.setdefault(value, len(column.values)))
            if len(column.values) > MAX_DISTINCT:
                self._given_up.add(name)
                del self._growing[name]
        self._rows += 1

    def columns(self) -> dict[str, Column]:
        """All columns so far."""
        found = {}
        for name, column in self._growing.items():
            column.codes.extend([-1] * (self._rows - len(column.codes)))
            found[name] = Column(tuple(column.values), np.array(column.codes, dtype=np.int32))
        return found
