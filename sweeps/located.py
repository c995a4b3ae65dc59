"""Rows of a file with their places, made when they are asked for."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from keepgain.core.lazy import LazySequence
from keepgain.core.rows import Row, StoredRows
from keepgain.sweeps.gates.columns import Columns


@dataclass(frozen=True, eq=False)
class Places(LazySequence[str]):
    """`file:line` of each row."""

    path: Path
    lines: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.lines)

    def at(self, index: int) -> str:
        return f"{self.path}:{self.lines[index]}"


@dataclass(frozen=True)
class Located:
    """Rows with the places that they came from, for findings. Both are made when asked for: a file
    may be larger than memory."""

    rows: StoredRows
    places: Places
    columns: Columns = field(default_factory=dict)
    """Fields of the rows that are not content; they are no part of what is trained on."""

    def placed(self) -> Iterable[tuple[Row, str]]:
        """Each row with its place."""
        return zip(self.rows, self.places, strict=True)

    def where(self, chosen: npt.NDArray[np.bool_]) -> "Located":
        """The rows where `chosen` is true."""
        lines = self.places.lines[chosen]
        columns = {name: column.where(chosen) for name, column in self.columns.items()}
        rows = self.rows.where(np.flatnonzero(chosen))
        return Located(rows, replace(self.places, lines=lines), columns)


def digest_rows(rows: StoredRows) -> str:
    """SHA-256 of the file that `store_rows` would write."""
    digest = hashlib.sha256()
    for line in rows.lines():
        digest.update(line)
    return digest.hexdigest()


def store_rows(path: Path, rows: StoredRows) -> None:
    """Writes normalised rows so that the file is whole or absent."""
    store_lines(path, rows.lines())


def store_lines(path: Path, lines: Iterable[bytes]) -> None:
    """As `store_rows`, of lines with their ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as handle:
            handle.writelines(lines)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
