"""Rows of tables as plain objects: CSV and TSV, Parquet, and datasets saved by `datasets`.

Each reader yields (number, object); the number is what messages name: the line that a CSV row
begins on, else the row, from 1.
"""

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from keepgain.core.errors import UserError
from keepgain.core.jsonl import MAX_LINE_BYTES, refuse_no_file, text_lines

_BATCH_ROWS = 1_000

Numbered = Iterator[tuple[int, dict[str, Any]]]


def read_csv(path: Path, delimiter: str) -> Numbered:
    """Rows of a file with a header, quoted as RFC 4180 says; every cell is text.

    Raises:
        UserError: A header that names a column twice, a row with another number of cells than the
            header, a quote that does not close.
    """
    csv.field_size_limit(MAX_LINE_BYTES)  # of the whole process; only ever set here
    lines = (line for _, line in text_lines(path))
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    header: list[str] | None = None
    while True:
        number = reader.line_num + 1
        where = f"{path}:{number}"
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise UserError(f"not CSV: {error}.", where=where, hint=_csv_hint(str(error))) from None
        if cells is None:
            return
        if not cells:  # a blank line
            continue
        if header is None:
            header = cells
            _refuse_repeated(header, where)
            continue
        if len(cells) != len(header):
            raise UserError(
                f"the row has {_cells(len(cells))} and the header {len(header)}.",
                where=where,
                hint="A cell that holds the delimiter, quotes or line breaks goes in double "
                "quotes, and quotes within it are doubled.",
            )
        yield number, dict(zip(header, cells, strict=True))


def read_parquet(path: Path) -> Numbered:
    """Rows of a Parquet file, read in batches.

    Raises:
        UserError: The file is no Parquet file, is damaged, or names a column twice.
    """
    refuse_no_file(path)
    try:
        file = pq.ParquetFile(path)
        _refuse_repeated(file.schema_arrow.names, str(path))
        yield from _numbered(file.iter_batches(batch_size=_BATCH_ROWS), path)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"not readable as Parquet ({error}).", where=str(path)) from None


def read_saved_dataset(folder: Path) -> Numbered:
    """Rows of a folder that `datasets.Dataset.save_to_disk` wrote: Arrow streams and `state.json`.

    Raises:
        UserError: The folder holds several splits, or its files are missing or damaged.
    """
    splits = folder / "dataset_dict.json"
    if splits.is_file():
        names = ", ".join(f"{folder.name}/{name}" for name in _json(splits).get("splits", ()))
        raise UserError(
            "the folder holds several splits.", where=str(folder), hint=f"Name one of: {names}."
        )
    if not (folder / "state.json").is_file():
        raise UserError(
            "a directory, not a regular file.",
            where=str(folder),
            hint="A folder must be one that `datasets.Dataset.save_to_disk` wrote.",
        )
    state = _json(folder / "state.json")
    if state.get("_indices_data_files"):
        raise UserError(
            "the rows are saved with an index beside them, as old versions of `datasets` did.",
            where=str(folder),
            hint="Save it again with a version of `datasets` from 2.0 on.",
        )
    try:
        files = [str(entry["filename"]) for entry in state["_data_files"]]
    except (KeyError, TypeError):
        raise UserError("names no data files.", where=str(folder / "state.json")) from None
    yield from _numbered(_streamed(folder, files), folder)


def _streamed(folder: Path, files: Iterable[str]) -> Iterator[pa.RecordBatch]:
    for name in files:
        path = folder / name
        refuse_no_file(path)
        try:
            with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as reader:
                _refuse_repeated(reader.schema.names, str(path))
                yield from reader
        except (OSError, pa.ArrowException) as error:
            problem = f"not readable as an Arrow stream ({error})."
            raise UserError(problem, where=str(path)) from None


def _numbered(batches: Iterable[pa.RecordBatch], path: Path) -> Numbered:
    number = 0
    for batch in batches:
        for record in _objects(batch, path, number):
            number += 1
            yield number, record


def _objects(batch: pa.RecordBatch, path: Path, before: int) -> list[dict[str, Any]]:
    """The batch's rows, of which `before` stand in front of; a row that Python cannot hold (bytes
    that are no UTF-8, a date beyond its calendar) is named."""
    try:
        return list(batch.to_pylist())
    except (ValueError, OverflowError):
        for row in range(batch.num_rows):
            try:
                batch.slice(row, 1).to_pylist()
            except (ValueError, OverflowError) as error:
                where = f"{path}:{before + row + 1}"
                raise UserError(f"the row cannot be read ({error}).", where=where) from None
        raise


def _refuse_repeated(names: list[str], where: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise UserError(
                f"two columns are named {name!r}.", where=where, hint="Rename one of them."
            )
        seen.add(name)


def _cells(count: int) -> str:
    return f"{count} cell" + "s" * (count != 1)


def _csv_hint(problem: str) -> str | None:
    if "unexpected end" in problem:
        return "The row begins here; a double quote in it is never closed."
    if "new-line" in problem:
        return "A carriage return ends a line by itself: save the file with LF or CRLF line ends."
    if "expected after" in problem:
        return "A quote within a quoted cell is doubled."
    return None


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"not readable as JSON ({error}).", where=str(path)) from None
    return value if isinstance(value, dict) else {}
