"""All rows that a finding is about, as numbers: what is said of one is made when it is asked for.

A million rows are 8 MB here, 16 of pairs; their texts would be a hundred times as much.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from keepgain.core.lazy import LazySequence
from keepgain.core.rows import Row

Ints = npt.NDArray[np.int64]


class Placed(Protocol):
    """Rows with their places: a `RowSet`, or the rows of a file."""

    @property
    def rows(self) -> Sequence[Row]:
        """Read from the disk when they are asked for."""

    @property
    def places(self) -> Sequence[str]:
        """`file:line` of each row."""


@dataclass(frozen=True, eq=False)
class RowList(LazySequence[str]):
    """Rows of one set; as a sequence the texts that a finding shows of them."""

    of: Placed
    indices: Ints
    """Of the rows in `of`, in the order in which they are to be read."""
    beside: tuple[Placed, Ints] | None = None
    """Rows that these stand beside, one each: what they repeat, contradict or give away."""
    says: Callable[[int], str] | None = None
    """What is said of the k-th row alone."""
    form: str = "{row}"
    """Of its text, out of the places `row` and `other` and of what `says` says."""

    def __len__(self) -> int:
        return len(self.indices)

    def at(self, index: int) -> str:
        other = ""
        if self.beside is not None:
            rows, indices = self.beside
            other = rows.places[int(indices[index])]
        return self.form.format(
            row=self.of.places[int(self.indices[index])],
            other=other,
            says=self.says(index) if self.says is not None else "",
        )

    def entry(self, index: int) -> dict[str, Any]:
        """`file`, `line` and `id` of a row, with `other` (the same of the row that it stands
        beside) and `message` where there are any."""
        entry = _located(self.of, int(self.indices[index]))
        if self.beside is not None:
            rows, indices = self.beside
            entry["other"] = _located(rows, int(indices[index]))
        if self.says is not None:
            entry["message"] = self.says(index)
        return entry


def found_in(
    of: Placed,
    indices: npt.NDArray[np.int64] | Sequence[int],
    *,
    beside: tuple[Placed, Ints] | None = None,
    says: Callable[[int], str] | None = None,
    form: str | None = None,
) -> tuple[RowList, ...]:
    """Rows for `Finding.all_rows`; those of several sets are added. Arguments as of `RowList`."""
    usual = "{row}" if says is None else "{row} {says}"
    usual = usual if beside is None else "{other} ~ {row}"
    rows = np.asarray(indices, dtype=np.int64)
    return (RowList(of, rows, beside, says, form or usual),) if len(rows) else ()


def _located(of: Placed, index: int) -> dict[str, Any]:
    file, _, line = of.places[index].rpartition(":")
    return {"file": file, "line": int(line), "id": of.rows[index].id}
