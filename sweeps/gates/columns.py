"""Fields of rows that nobody trains on (annotator, date, source, language, ...), held by column."""

import re
from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from keepgain.sweeps.gates.values import epoch_day

MAX_DISTINCT = 200_000
"""A column with more values than this (an address, a hash) is given up: it groups nothing. Of
moments (`2026-01-31T12:00:00`; in a field of dates also seconds since 1970) the days are kept."""

DATE_FIELDS = (
    "date", "created", "created_at", "timestamp", "datetime", "time", "published", "published_at",
    "updated", "updated_at", "last_modified", "created_utc", "creation_date", "year",
)  # fmt: skip
"""Usual names of fields with dates, in the order in which they are looked for."""

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
    has_dates: bool = False
    """Then a large number is a moment."""

    def add(self, value: str) -> None:
        """Of the next row."""
        if self.by_day:
            value = self._day(value) or value
        self.codes.append(self.values.setdefault(value, len(self.values)))

    def fold_days(self) -> None:
        """Moments become their days."""
        names = [] if self.by_day else [d for d in map(self._day, self.values) if d is not None]
        if len(names) < len(self.values):
            return
        self.by_day, self.values = True, {}
        days = [self.values.setdefault(name, len(self.values)) for name in names]
        self.codes = array("i", (days[c] if c >= 0 else -1 for c in self.codes))

    def _day(self, value: str) -> str | None:
        if moment := _MOMENT.fullmatch(value):
            return moment[1]
        day = epoch_day(value) if self.has_dates else None
        return day.isoformat() if day is not None else None


class ColumnsBuilder:
    """Takes the fields of one row after the other.

    Args:
        whole: Fields that are kept however many values they have.
        dates: Fields with dates, besides those of `DATE_FIELDS`.
    """

    def __init__(self, whole: Collection[str] = (), dates: Collection[str] = ()) -> None:
        self._whole = whole
        self._dates = (*DATE_FIELDS, *dates)
        self._rows = 0
        self._growing: dict[str, _Growing] = {}
        self._given_up: set[str] = set()

    def add(self, fields: Mapping[str, str]) -> None:
        """Of the next row."""
        for name, value in fields.items():
            if name in self._given_up:
                continue
            column = self._growing.setdefault(name, _Growing(has_dates=name in self._dates))
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
