"""Reads the spool's new lines in order and remembers how far they were shipped. No MLflow here."""

import heapq
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHIPPED_NAME = ".shipped.json"
LINES_PER_FILE = 2000
"""Lines of one file read at a time: bounds memory, and what a crash makes us send again."""


@dataclass(frozen=True)
class Line:
    """One complete line of a spool file."""

    file: str
    end: int
    """Offset behind the line."""
    event: dict[str, Any] | None
    """None: not an event, e.g. the torn last line of a writer that was killed."""
    text: str


class SpoolTail:
    """The unshipped lines of a spool folder.

    Offsets belong to one parent run in one store: they count for nothing in another.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.offsets: dict[str, int] = {}
        self.owner = ""

    def load(self, owner: str) -> None:
        """Takes up the offsets that were shipped to `owner`, or starts from the beginning."""
        self.owner = owner
        self.offsets = {}
        saved = read_shipped(self.folder)
        if saved.get("owner") == owner:
            self.offsets = {str(k): int(v) for k, v in saved["offsets"].items()}

    def read(self) -> list[Line]:
        """New lines: in each file's order, and between files by their times."""
        merged = heapq.merge(
            *(_timed(self._file(p)) for p in self._files()), key=lambda pair: pair[0]
        )
        return [line for _, line in merged]

    def commit(self, lines: list[Line]) -> None:
        """Notes that `lines` are shipped; on disk when it returns."""
        for line in lines:
            self.offsets[line.file] = max(line.end, self.offsets.get(line.file, 0))
        path = self.folder / SHIPPED_NAME
        temporary = path.with_suffix(".tmp")
        with temporary.open("w", encoding="utf-8") as handle:
            json.dump({"owner": self.owner, "offsets": self.offsets}, handle)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)

    def complete_sizes(self) -> dict[str, int]:
        """File → offset behind its last complete line: what shipping everything means now."""
        return {p.name: _complete_size(p, self.offsets.get(p.name, 0)) for p in self._files()}

    def _files(self) -> list[Path]:
        return sorted(p for p in self.folder.glob("*.jsonl") if not p.name.startswith("."))

    def _file(self, path: Path) -> list[Line]:
        offset = self.offsets.get(path.name, 0)
        size = path.stat().st_size
        if size < offset:
            offset = 0  # made anew: sending it all again adds nothing twice
        if size == offset:
            return []
        lines: list[Line] = []
        with path.open("rb") as handle:
            handle.seek(offset)
            while len(lines) < LINES_PER_FILE and (raw := handle.readline()).endswith(b"\n"):
                offset += len(raw)
                text = raw.decode("utf-8", "replace").strip()
                lines.append(Line(path.name, offset, _event(text), text))
        return lines


def read_shipped(folder: Path) -> dict[str, Any]:
    """The content of `.shipped.json`; empty if nothing was shipped, or it is damaged.

    Losing it costs a second shipment of every line, and no fault.
    """
    try:
        saved = json.loads((folder / SHIPPED_NAME).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    good = isinstance(saved, dict) and isinstance(saved.get("offsets"), dict)
    return saved if good else {}


def _timed(lines: list[Line]) -> Iterator[tuple[int, Line]]:
    """Lines with times that never go back, so that merging keeps each file's order."""
    latest = 0
    for line in lines:
        moment = line.event.get("time_ms") if line.event else None
        latest = max(latest, moment if isinstance(moment, int) else 0)
        yield latest, line


def _event(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _complete_size(path: Path, shipped: int) -> int:
    """Offset behind the last newline; `shipped` saves reading what lies before it."""
    with path.open("rb") as handle:
        end = handle.seek(0, os.SEEK_END)
        floor = min(shipped, end)
        while end > floor:
            start = max(floor, end - 65536)
            handle.seek(start)
            cut = handle.read(end - start).rfind(b"\n")
            if cut >= 0:
                return start + cut + 1
            end = start
    return floor
