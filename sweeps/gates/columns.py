"""Fields of rows that nobody trains on (annotator, date, source, language, ...), held by column."""

import re
from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

MAX_DISTINCT = 200_000
"""A column with more values than this (an address, a hash) is given up: it groups nothing. Of
moments (`2026-01-31T12:00:00`) the days are kept."""

_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)[T ]\d\d:\d\d.*")
"""ISO 8601."""

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
    by_day: bool = False

    def add(self, value: str) -> None:
        """Of the next row."""
        if self.by_day and (moment := _MOMENT.fullmatch(value)):
            value = moment[1]
        self.codes.append(self.values.setdefault(value, len(self.values)))

    def fold_days(self) -> None:
        """Moments become their days."""
        if self.by_day or not all(map(_MOMENT.fullmatch, self.values)):
            return
        self.by_day, given = True, self.values
        self.values = {}
        days = [self.values.setdefault(value[:10], len(self.values)) for value in given]
        self.codes = array("i", (days[c] if c >= 0 else -1 for c in self.codes))


class ColumnsBuilder:
    """Takes the fields of one row after the other.

    Args:
        whole: Fields that are kept however many values they have.
    """

    def __init__(self, whole: Collection[str] = ()) -> None:
        self._whole = whole
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
            column.add(value)
            if name in self._whole:
                continue
            if len(column.values) > MAX_DISTINCT:
                column.fold_days()
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
