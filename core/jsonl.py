"""JSON Lines as strictly as people can bear: one object a line, and every fault has its line.

Blank lines, CRLF and a UTF-8 byte order mark are accepted, and files compressed with gzip or
Zstandard if their name ends with .gz or .zst; duplicate keys, NaN, NUL bytes, half characters,
other encodings, pipes and devices are not.
"""

import difflib
import io
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from keepgain.core.errors import UserError

MAX_LINE_BYTES = 4_000_000
_HALVES = re.compile(r"\\u[dD][89a-fA-F]")
"""How half a character is escaped; a line that is UTF-8 has none of its own."""

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
"""End of a file's name → what pyarrow calls its compression."""

_MAGIC = {
    b"\x1f\x8b": ("gzip-compressed", "Let its name end with .gz, or `gunzip` it."),
    b"\x28\xb5\x2f\xfd": ("Zstandard-compressed", "Let its name end with .zst, or `unzstd` it."),
    b"PK\x03\x04": ("a zip archive", "Unpack it first."),
    b"PAR1": ("a Parquet file", "Let its name end with .parquet."),
    b"\xff\xfe": ("UTF-16", "Save it as UTF-8: `iconv -f UTF-16 -t UTF-8 FILE`."),
    b"\xfe\xff": ("UTF-16", "Save it as UTF-8: `iconv -f UTF-16 -t UTF-8 FILE`."),
}


def read_records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line numbers and JSON objects of the lines that are not blank.

    Raises:
        UserError: The first line that is not one JSON object in UTF-8, as `file:line: ...`.
    """
    for number, line in text_lines(path):
        if not line.strip():
            continue
        record = _parse(line, f"{path}:{number}")
        if not isinstance(record, dict):
            hint = "One JSON object a line."
            if isinstance(record, list):
                hint += " A JSON array is unrolled by `jq -c '.[]' FILE`."
            raise UserError(
                f"{json_name(record)} instead of an object.", where=f"{path}:{number}", hint=hint
            )
        yield number, record


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Line numbers and lines with their ends; a line ends with a line feed, as `wc -l` counts.

    Raises:
        UserError: No regular file, or a line that is not UTF-8 text, as `file:line: ...`.
    """
    with _open(path) as handle:
        number = 0
        while line := _read_line(handle, f"{path}:{number + 1}"):
            number += 1
            where = f"{path}:{number}"
            if len(line) > MAX_LINE_BYTES:
                raise UserError(
                    f"the line is longer than {MAX_LINE_BYTES:,} bytes.",
                    where=where,
                    hint="Cut the row into several, one row a line.",
                )
            if number == 1:
                _refuse_magic(line, where)
                line = line.removeprefix(b"\xef\xbb\xbf")
            if b"\0" in line:
                raise UserError(
                    f"NUL byte at byte {line.index(0) + 1}: not a text file, or UTF-16.",
                    where=where,
                    hint="Save it as UTF-8 text.",
                )
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise UserError(
                    f"not UTF-8 at byte {error.start + 1} of the line.",
                    where=where,
                    hint="Save the file as UTF-8.",
                ) from None
            yield number, text


def _read_line(handle: BinaryIO, where: str) -> bytes:
    try:
        return handle.readline(MAX_LINE_BYTES + 1)
    except OSError as error:  # what pyarrow raises for compressed files that are cut or damaged
        raise UserError(f"cannot be read ({error}).", where=where) from None


def _open(path: Path) -> BinaryIO:
    refuse_no_file(path)
    compression = COMPRESSIONS.get(path.suffix.lower())
    try:
        if compression is None:
            return path.open("rb")
        from pyarrow import input_stream

        return io.BufferedReader(input_stream(str(path), compression=compression))
    except PermissionError:
        raise UserError("permission denied.", where=str(path)) from None


def refuse_no_file(path: Path) -> None:
    """Raises UserError for what is missing, a directory, a pipe or a device."""
    if not path.exists():
        near = difflib.get_close_matches(path.name, _names(path.parent), n=1)
        hint = f"Is it {path.parent / near[0]}?" if near else None
        raise UserError("no such file.", where=str(path), hint=hint)
    if not path.is_file():
        kind = "a directory" if path.is_dir() else "a pipe or device"
        raise UserError(f"{kind}, not a regular file.", where=str(path))


def _names(folder: Path) -> list[str]:
    try:
        return [p.name for p in folder.iterdir()]
    except OSError:
        return []


def _refuse_magic(line: bytes, where: str) -> None:
    for magic, (kind, hint) in _MAGIC.items():
        if line.startswith(magic):
            raise UserError(f"the file is {kind}, not text.", where=where, hint=hint)


def parse_json(text: str) -> Any:
    """One JSON text, with duplicate keys and numbers that are none refused.

    Raises:
        ValueError: With what is wrong; `json.JSONDecodeError` where it is no JSON at all.
        RecursionError: Nested too deeply.
    """
    return json.loads(
        text, object_pairs_hook=_no_duplicates, parse_constant=_no_constant, parse_float=_finite
    )


def _parse(line: str, where: str) -> Any:
    try:
        value = parse_json(line)
        if _HALVES.search(line):
            _refuse_half(value)
        return value
    except RecursionError:
        raise UserError("nested too deeply.", where=where) from None
    except json.JSONDecodeError as error:
        cut = not line.endswith("\n")
        hint = "The file ends in the middle of this line: was it cut off?" if cut else None
        if line.strip() in ("[", "[{", "{"):
            hint = "The file is one JSON text over several lines; unroll it: `jq -c '.[]' FILE`."
        problem = f"not JSON at column {error.colno}: {error.msg}."
        raise UserError(problem, where=where, hint=hint or "One JSON object a line.") from None
    except ValueError as error:
        raise UserError(f"{error}.", where=where) from None


def _refuse_half(value: Any) -> None:
    """A lone surrogate, in a key or in a text, can be written to no file."""
    for key, part in value.items() if isinstance(value, dict) else [("", value)]:
        text = json.dumps([key, part], ensure_ascii=False)
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            code = f"\\u{ord(text[error.start]):04x}"
            name = key.encode("utf-8", "backslashreplace").decode()
            raise ValueError(
                f"'{name}' holds the lone surrogate {code}, half a character"
            ) from None


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        seen: set[str] = set()
        twice = next(k for k, _ in pairs if k in seen or seen.add(k))  # type: ignore[func-returns-value]
        raise ValueError(f"the key '{twice}' is given twice; keep one of them")
    return result


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON; use null or leave the key out")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:20]} is too large for a float")
    return value


def json_name(value: Any) -> str:
    """A value in words, for a message; tables hold types that JSON has not (dates, bytes)."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"the boolean {str(value).lower()}"
    if isinstance(value, int | float):
        return f"the number {str(value)[:20]}"
    if isinstance(value, str):
        return f"the text {value[:20]!r}"
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    return f"of type {type(value).__name__}"
