"""Files of rows as users have them, read as `core.rows.Row` or refused with their line.

The kind of a file follows from its name: CSV, TSV, Parquet, a folder saved by `datasets`, else
JSON Lines. The format of its rows is detected from the first one unless declared; all rows of a
file have the same one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keepgain.core.errors import UserError
from keepgain.core.formats import FormatName, detect
from keepgain.core.jsonl import COMPRESSIONS, read_records
from keepgain.core.record_reader import RecordReader
from keepgain.core.rows import Row


@dataclass(frozen=True)
class RowFile:
    """The rows of one file and where they stand in it."""

    path: Path
    format: str
    rows: tuple[Row, ...]
    lines: tuple[int, ...]
    """Line that each row begins on, from 1; of Parquet and saved datasets, the row's number."""


@dataclass(frozen=True)
class FoundRow:
    """A row and where it stands."""

    row: Row
    line: int
    """As in `RowFile.lines`."""
    format: str
    """Of the file."""
    beside: Mapping[str, str] = field(default_factory=dict)
    """Keys of the file whose values are short texts, numbers or booleans and are neither content
    nor id, with their values as text: annotator, date, label, ..."""


def read_row_file(
    path: Path,
    *,
    format: FormatName = "auto",
    fields: Mapping[str, str] | None = None,
    limit: int | None = None,
    slices: Sequence[str] = (),
    choices: bool = False,
    facts: Sequence[str] = (),
) -> RowFile:
    """All rows of a file in memory; arguments and errors as of `iterate_rows`."""
    found = list(
        iterate_rows(
            path,
            format=format,
            fields=fields,
            limit=limit,
            slices=slices,
            choices=choices,
            facts=facts,
        )
    )
    return RowFile(
        path=path,
        format=found[0].format,
        rows=tuple(f.row for f in found),
        lines=tuple(f.line for f in found),
    )


def iterate_rows(
    path: Path,
    *,
    format: FormatName = "auto",
    fields: Mapping[str, str] | None = None,
    limit: int | None = None,
    slices: Sequence[str] = (),
    choices: bool = False,
    prompts: bool = False,
    facts: Sequence[str] = (),
) -> Iterator[FoundRow]:
    """Reads a file of any kind that `records` knows; keeps the ids in memory, not the rows.

    Row ids are the rows' own, else a hash of the content (equal rows get `-2`, `-3`, ...); slices
    are not in it, so that naming one leaves the ids alone.

    Args:
        fields: Our name of a field → its key in the file.
        limit: Read only so many rows.
        slices: Keys of the file whose values are kept; a row may lack them.
        choices: Each row must have choices, and its answer be one of them, as text or as index
            from 0. Without it choices are not read, and ids are those of rows without them.
        prompts: Answers are not read, and need not be there: those of the rows are empty.
        facts: Keys of the file whose values, of any kind, are kept for the scorer; a row may lack
            them. Like slices they are not in the ids.

    Raises:
        UserError: The first fault, as `file:line: given, allowed, what to do`; or no rows.
    """
    fields = fields or {}
    first_line: dict[str, int] = {}
    copies: dict[str, int] = {}
    kind: str | None = None if format == "auto" else format
    for count, (number, record) in enumerate(records(path), 1):
        where = f"{path}:{number}"
        kind = kind or detect(record, fields, where, prompts)
        reader = RecordReader(record, fields, where, slices, choices, prompts, facts)
        row = reader.row(kind, given_id := reader.identifier())
        if row.id in first_line:
            if given_id is not None:
                raise UserError(
                    f"the id {row.id!r} stands on line {first_line[row.id]} already.",
                    where=where,
                    hint="Ids must be unique within a file; leave them out to use content hashes.",
                )
            copies[row.id] = copies.get(row.id, 1) + 1
            row = reader.row(kind, f"{row.id}-{copies[row.id]}")
        first_line[row.id] = number
        yield FoundRow(row, number, kind, reader.beside(kind))
        if count == limit:
            break
    if not first_line:
        raise UserError("the file has no rows.", where=str(path))


def records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows as plain objects, with the number that messages name: a line, or a row from 1.

    Raises:
        UserError: The first fault, as `file:number: ...`.
    """
    name = path.name.lower()
    for end in COMPRESSIONS:
        name = name.removesuffix(end)
    delimiter = {".csv": ",", ".tsv": "\t"}.get(Path(name).suffix)
    if not (delimiter or path.suffix.lower() == ".parquet" or path.is_dir()):
        return read_records(path)
    from keepgain.core import tables  # pyarrow takes a second to import

    if path.is_dir():
        return tables.read_saved_dataset(path)
    return tables.read_csv(path, delimiter) if delimiter else tables.read_parquet(path)
