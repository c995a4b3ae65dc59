"""Rows as every part of Keepgain sees them: a chat, a prompt with its answer, or plain text.

`row_files.py` turns what users have (field mappings, Alpaca, ShareGPT, ...) into these.
"""

import json
import os
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import numpy.typing as npt

from keepgain.core.errors import UserError
from keepgain.core.lazy import LazySequence

RowKind = Literal["chat", "pair", "text"]


@dataclass(frozen=True, slots=True)
class Row:
    """One training row or suite item.

    A chat ends with an assistant turn, which is the answer. A pair is joined by the tokenizer's
    chat template if it has one, else as prompt + answer + end-of-sequence, nothing between.
    Text has no answer: every token is trained on or scored.
    """

    id: str
    kind: RowKind
    messages: tuple[dict[str, str], ...] = ()
    """kind chat: `{"role": system|user|assistant, "content": ...}` in order."""
    prompt: str = ""
    answer: str = ""
    """kind chat: the last assistant turn; kind pair: the answer; kind text: empty."""
    text: str = ""
    context: str | None = None
    """A retrieved passage, for the `context` reference arm; never shown otherwise."""
    group: str | None = None
    """For worst-group figures."""
    cluster: str | None = None
    """Items of one cluster (template, passage) are resampled together."""
    choices: tuple[str, ...] = ()
    """Of a multiple-choice item; the answer is one of them."""
    slices: tuple[tuple[str, str], ...] = ()
    """(field, value) of the fields that the spec names as slices, where the row has them."""
    facts: tuple[tuple[str, str], ...] = ()
    """(key, value as JSON text) of the further keys that the item's scorer reads, where the row has
    them; see `fact`."""

    def fact(self, name: str) -> Any:
        """The value, as JSON has it, of a further key that the scorer reads; None without it."""
        found = dict(self.facts).get(name)
        return None if found is None else json.loads(found)

    def question(self) -> str:
        """Everything that comes before the answer, as one text: what splits and leaks go by."""
        if self.kind == "chat":
            return "\n".join(f"{m['role']}: {m['content']}" for m in self.messages[:-1])
        return self.prompt if self.kind == "pair" else self.text

    def answered(self, text: str) -> "Row":
        """The row with another answer; not of a text."""
        if self.kind == "pair":
            return replace(self, answer=text)
        last = {**self.messages[-1], "content": text}
        return replace(self, answer=text, messages=(*self.messages[:-1], last))

    def to_json(self) -> dict[str, Any]:
        """Only what the kind needs, so that the files stay readable."""
        data: dict[str, Any] = {"id": self.id}
        if self.kind == "chat":
            data["messages"] = list(self.messages)
        elif self.kind == "pair":
            data |= {"prompt": self.prompt, "answer": self.answer}
        else:
            data["text"] = self.text
        for name in ("context", "group", "cluster"):
            if (value := getattr(self, name)) is not None:
                data[name] = value
        if self.choices:
            data["choices"] = list(self.choices)
        if self.slices:
            data["slices"] = dict(self.slices)
        if self.facts:
            data["facts"] = {name: json.loads(text) for name, text in self.facts}
        return data


def row_from_json(data: dict[str, Any]) -> Row:
    """The reverse of `Row.to_json`."""
    extra: dict[str, Any] = {k: data.get(k) for k in ("context", "group", "cluster")}
    extra["choices"] = tuple(data.get("choices", ()))
    extra["slices"] = tuple(data.get("slices", {}).items())
    extra["facts"] = facts_of(data.get("facts", {}))
    if "messages" in data:
        messages = tuple(data["messages"])
        return Row(data["id"], "chat", messages, answer=messages[-1]["content"], **extra)
    if "text" in data:
        return Row(data["id"], "text", text=data["text"], **extra)
    return Row(data["id"], "pair", prompt=data["prompt"], answer=data["answer"], **extra)


def facts_of(values: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """As `Row.facts` has them."""
    return tuple((name, json.dumps(v, ensure_ascii=False)) for name, v in values.items())


def slice_columns(
    rows: Sequence[Row], facts: Sequence[str] = ()
) -> dict[str, tuple[str | None, ...]]:
    """Field → its value for each row; None where a row lacks it. Empty if no row has slices.

    Args:
        rows: Of a suite.
        facts: Those that count as slices too.
    """
    by_row = [
        {
            **dict(row.slices),
            **{name: _shown(v) for name in facts if (v := row.fact(name)) is not None},
        }
        for row in rows
    ]
    names = dict.fromkeys(name for found in by_row for name in found)
    return {name: tuple(found.get(name) for found in by_row) for name in names}


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def write_rows(path: Path, rows: Iterable[Row]) -> int:
    """Writes normalised JSONL and returns the number of rows."""
    count = 0
    with path.open("wb") as handle:
        for row in rows:
            handle.write(_line(row))
            count += 1
    return count


def _line(row: Row) -> bytes:
    return (json.dumps(row.to_json(), ensure_ascii=False) + "\n").encode()


def read_rows(path: Path) -> Iterator[Row]:
    """Reads what `write_rows` wrote.

    Raises:
        UserError: A line that is not such a row (the file was changed by hand).
    """
    with path.open(encoding="utf-8") as handle:
        for number, line in enumerate(handle, 1):
            try:
                yield row_from_json(json.loads(line))
            except (ValueError, KeyError, IndexError, TypeError, AttributeError):
                raise UserError("not a normalised row.", where=f"{path}:{number}") from None


def parse_line(line: bytes) -> Row:
    """The row of a line of `StoredRows`."""
    # Decoded first: of bytes, json would guess the encoding each time.
    return row_from_json(json.loads(line.decode()))


class StoredRows(LazySequence[Row]):
    """Rows in a normalised file, parsed when they are asked for; in memory are 8 bytes a row.

    Args:
        file: Read by position, so that its readers do not disturb one another.
        ends: Where each line ends; int64 of shape [lines].
        chosen: Lines that are meant, in their order; None: all.
    """

    def __init__(
        self,
        file: IO[bytes],
        ends: npt.NDArray[np.int64],
        chosen: npt.NDArray[np.int64] | None = None,
    ) -> None:
        self._file = file
        self._ends = ends
        self._chosen = chosen

    def __len__(self) -> int:
        return len(self._ends if self._chosen is None else self._chosen)

    def at(self, index: int) -> Row:
        return parse_line(self.line(index))

    def lines(self) -> Iterator[bytes]:
        """The lines of the rows, as `write_rows` writes them."""
        return map(self.line, range(len(self)))

    def where(self, chosen: npt.NDArray[np.int64]) -> "StoredRows":
        """The rows with these indices."""
        places = chosen if self._chosen is None else self._chosen[chosen]
        return StoredRows(self._file, self._ends, places)

    def line(self, index: int) -> bytes:
        """The line of the row at 0 <= `index` < len."""
        place = index if self._chosen is None else int(self._chosen[index])
        begin = int(self._ends[place - 1]) if place else 0
        return os.pread(self._file.fileno(), int(self._ends[place]) - begin, begin)


@contextmanager
def _room() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        folder = tempfile.tempdir or "a temporary folder"
        raise UserError(
            f"rows cannot be put aside in {folder} ({error.strerror}).",
            hint="Set TMPDIR to a folder with more room.",
        ) from None


class RowSpool:
    """Puts rows aside in a file without a name: it is gone with its last reader, however the
    process ends. It lies where `TMPDIR` says.

    Raises:
        UserError: There is no room for it, at any call.
    """

    def __init__(self) -> None:
        with _room():
            self._file = tempfile.TemporaryFile()
        self._ends = array("q")
        self._end = 0

    def add(self, row: Row) -> None:
        """Puts it after the others."""
        with _room():
            self._end += self._file.write(_line(row))
        self._ends.append(self._end)

    def rows(self) -> StoredRows:
        """All rows so far."""
        with _room():
            self._file.flush()
        return StoredRows(self._file, np.array(self._ends, dtype=np.int64))
