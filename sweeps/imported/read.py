"""Rows of a table from elsewhere, each with where it stands; a bad row does not lose the others.

CSV and TSV with a header, JSON Lines, a JSON file (one object, or a list of them), or a folder
whose JSON files are a row each. A table that cannot be read as a whole (no such file, an open
quote, a header that names a column twice) is refused.
"""

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keepgain.core.errors import UserError
from keepgain.core.jsonl import COMPRESSIONS, MAX_LINE_BYTES, json_name, refuse_no_file, text_lines

FILE = "file"
"""Column of every row of a folder that has none of that name: the file's path without its end."""


@dataclass(frozen=True)
class TableRow:
    """One row as read."""

    where: str
    """`runs.csv:5` (the line that it begins on), or the file of a folder."""
    cells: Mapping[str, Any] = field(default_factory=dict)
    fault: str | None = None
    """Why it could not be read; then it has no cells."""
    time: float = 0.0
    """Of a file in a folder, when it was last written; else 0."""


def read_table(path: Path) -> list[TableRow]:
    """All rows, in the order of the file; of a folder, by the files' paths.

    Raises:
        UserError: Nothing to read there, or a file that is broken as a whole.
    """
    if path.is_dir():
        rows = [row for file in _json_files(path) for row in _file_of(path, file)]
        if not rows:
            raise UserError(
                "the folder holds no .json file.",
                where=str(path),
                hint="Name a CSV or JSON Lines file, or the folder of the JSON files.",
            )
        return rows
    refuse_no_file(path)
    name = path.name.lower()
    for end in COMPRESSIONS:
        name = name.removesuffix(end)
    if name.endswith((".csv", ".tsv")):
        rows = list(_csv(path, "\t" if name.endswith(".tsv") else ","))
    elif name.endswith((".jsonl", ".ndjson")):
        rows = list(_json_lines(path))
    elif name.endswith(".json"):
        rows = list(_json_rows(path, path.name, 0.0, {}))
        if len(rows) == 1 and rows[0].fault:
            hint = "One object a line is JSON Lines: let its name end with .jsonl."
            raise UserError(f"{rows[0].fault}.", where=str(path), hint=hint)
    else:
        raise UserError(
            "cannot tell what kind of table this is by its name.",
            where=str(path),
            hint="Allowed: .csv, .tsv, .jsonl, .json, or a folder of .json files.",
        )
    if not rows:
        raise UserError("the table has no rows.", where=str(path))
    return rows


def _csv(path: Path, delimiter: str) -> Iterator[TableRow]:
    csv.field_size_limit(MAX_LINE_BYTES)
    reader = csv.reader((line for _, line in text_lines(path)), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    while True:
        begins = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise UserError(
                f"not CSV from this line on: {error}.",
                where=f"{path}:{begins}",
                hint="A quote within a quoted cell is doubled, and every quote is closed.",
            ) from None
        if cells is None:
            return
        if not any(c.strip() for c in cells):
            continue  # a blank line, or one of delimiters alone: no row
        if header is None:
            header = [c.strip() for c in cells]
            _refuse_repeated(header, f"{path}:{begins}")
            continue
        where = f"{path.name}:{begins}"
        if len(cells) == len(header):
            yield TableRow(where, dict(zip(header, cells, strict=True)))
        else:
            yield TableRow(where, fault=f"{len(cells)} cells, but the header has {len(header)}")


def _refuse_repeated(header: list[str], where: str) -> None:
    twice = next((n for n in header if n and header.count(n) > 1), None)
    if twice is not None:
        raise UserError(
            f"two columns are named {twice!r}.", where=where, hint="Rename one of them."
        )


def _json_lines(path: Path) -> Iterator[TableRow]:
    for number, line in text_lines(path):
        if line.strip():
            yield _json_row(line, f"{path.name}:{number}")


def _json_row(text: str, where: str) -> TableRow:
    # NaN is read here, other than in training data: it stands in many a log beside good figures,
    # and the row is faulty only if one of the named columns holds it.
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        return TableRow(where, fault=f"not JSON ({error})")
    if not isinstance(value, dict):
        return TableRow(where, fault=f"{json_name(value)} instead of an object")
    return TableRow(where, value)


def _json_files(folder: Path) -> list[Path]:
    return sorted(
        p
        for p in folder.rglob("*.json")
        if p.is_file() and not any(part.startswith(".") for part in p.relative_to(folder).parts)
    )


def _file_of(folder: Path, file: Path) -> Iterator[TableRow]:
    name = file.relative_to(folder)
    extra = {FILE: name.with_suffix("").as_posix()}
    yield from _json_rows(file, name.as_posix(), file.stat().st_mtime, extra)


def _json_rows(file: Path, name: str, time: float, extra: Mapping[str, Any]) -> Iterator[TableRow]:
    """One object, or a list of them; `extra` are columns that an object may lack."""
    try:
        value = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        yield TableRow(name, fault=f"not JSON ({error})", time=time)
        return
    entries = value if isinstance(value, list) else [value]
    for number, entry in enumerate(entries, 1):
        where = f"{name}:{number}" if isinstance(value, list) else name
        if isinstance(entry, dict):
            yield TableRow(where, {**extra, **entry}, time=time)
        else:
            yield TableRow(where, fault=f"{json_name(entry)} instead of an object", time=time)
