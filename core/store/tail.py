"""Reads the spool's new lines in order and remembers how far they were shipped. No MLflow here.

A file that was opened again has lines of several attempts. Of these
- what an earlier attempt wrote behind the first line of a later one is left out: its writer was
  given up, and whatever it says contradicts the one that counts;
- points of an earlier attempt at or beyond the step from where a later one has gone on are left
  out: that attempt was killed after its last checkpoint, and the later one has its own.
A point that was shipped before its attempt was superseded stays in MLflow, which deletes none.
"""

import heapq
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from keepgain.core.store.names import PARENT
from keepgain.core.store.spool import attempt_of

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
    superseded: bool = False
    """A later attempt has taken its place: not to be sent."""


class SpoolTail:
    """The unshipped lines of a spool folder.

    Offsets belong to one parent run in one store: they count for nothing in another.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.offsets: dict[str, int] = {}
        self.attempts: dict[str, int] = {}
        """File → the highest attempt among its shipped lines."""
        self.owner = ""

    def load(self, owner: str) -> None:
        """Takes up the offsets that were shipped to `owner`, or starts from the beginning."""
        self.owner = owner
        self.offsets, self.attempts = {}, {}
        saved = read_shipped(self.folder)
        if saved.get("owner") == owner:
            self.offsets = {str(k): int(v) for k, v in saved["offsets"].items()}
            self.attempts = {str(k): int(v) for k, v in saved.get("attempts", {}).items()}

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
            if not line.superseded:
                known = self.attempts.get(line.file, 0)
                self.attempts[line.file] = max(known, _attempt(line.event))
        path = self.folder / SHIPPED_NAME
        temporary = path.with_suffix(".tmp")
        with temporary.open("w", encoding="utf-8") as handle:
            content = {"owner": self.owner, "offsets": self.offsets, "attempts": self.attempts}
            json.dump(content, handle)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)

    def complete_sizes(self) -> dict[str, int]:
        """File → offset behind its last complete line: what shipping everything means now."""
        return {p.name: _complete_size(p, self.offsets.get(p.name, 0)) for p in self._files()}

    def is_shipped(self, run_key: str) -> bool:
        """True if nothing is left of the file of a run's own writer; of `parent`: of any file."""
        sizes = self.complete_sizes() if run_key == PARENT else self._size_of(run_key)
        return all(self.offsets.get(name, 0) >= size for name, size in sizes.items())

    def left(self) -> int:
        """Lines that are not shipped."""
        count = 0
        for path in self._files():
            with path.open("rb") as handle:
                handle.seek(min(self.offsets.get(path.name, 0), path.stat().st_size))
                count += sum(1 for _ in handle)
        return count

    def _size_of(self, writer: str) -> dict[str, int]:
        path = self.folder / f"{writer}.jsonl"
        done = self.offsets.get(path.name, 0)
        return {path.name: _complete_size(path, done)} if path.exists() else {}

    def _files(self) -> list[Path]:
        return sorted(p for p in self.folder.glob("*.jsonl") if not p.name.startswith("."))

    def _file(self, path: Path) -> list[Line]:
        offset = self.offsets.get(path.name, 0)
        size = path.stat().st_size
        if size < offset:
            # Made anew: sending it all again adds nothing twice.
            offset = self.offsets[path.name] = self.attempts[path.name] = 0
        if size == offset:
            return []
        lines: list[Line] = []
        with path.open("rb") as handle:
            handle.seek(offset)
            while len(lines) < LINES_PER_FILE and (raw := handle.readline()).endswith(b"\n"):
                offset += len(raw)
                text = raw.decode("utf-8", "replace").strip()
                lines.append(Line(path.name, offset, _event(text), text))
            lines = _without_strays(lines, self.attempts.get(path.name, 0))
            return _without_replaced(lines, handle)


def _without_strays(lines: list[Line], highest: int) -> list[Line]:
    """Marks lines of attempts that were given up before they wrote them."""
    marked = []
    for line in lines:
        attempt = _attempt(line.event)
        highest = max(highest, attempt)
        marked.append(replace(line, superseded=0 < attempt < highest))
    return marked


def _without_replaced(lines: list[Line], rest: BinaryIO) -> list[Line]:
    """Leaves out points that a later attempt has its own for, here or in the rest of the file."""
    mine = [line for line in lines if line.event is not None and not line.superseded]
    lowest = min((_attempt(line.event) for line in mine), default=0)
    events = [line.event for line in mine]
    events += [_event(r.decode("utf-8", "replace")) for r in rest if attempt_of(r) > lowest]
    begun: dict[int, dict[tuple[str, str], int]] = {}
    for event in events:
        starts = begun.setdefault(_attempt(event), {})
        for point, step in _points(event).items():
            starts[point] = min(step, starts.get(point, step))
    if len(begun) < 2:
        return lines
    return [line if line.superseded else _left(line, begun) for line in lines]


def _left(line: Line, begun: dict[int, dict[tuple[str, str], int]]) -> Line:
    """The line without the points at or beyond which a later attempt has begun."""
    points = _points(line.event)
    later = [starts for attempt, starts in begun.items() if attempt > _attempt(line.event)]
    left = {
        name
        for (key, name), step in points.items()
        if not any(step >= starts.get((key, name), step + 1) for starts in later)
    }
    if len(left) == len(points):
        return line
    if not left:
        return replace(line, superseded=True)
    assert line.event is not None
    values = {k: v for k, v in line.event["values"].items() if k in left}
    return replace(line, event={**line.event, "values": values})


def _points(event: dict[str, Any] | None) -> dict[tuple[str, str], int]:
    """(run key, metric) → step of the points of an event; whatever is malformed has none."""
    if event is None or event.get("event") != "metrics":
        return {}
    key, step, values = event.get("run_key"), event.get("step"), event.get("values")
    if not isinstance(key, str) or not isinstance(step, int) or not isinstance(values, dict):
        return {}
    return {(key, name): step for name in values} if _attempt(event) else {}


def _attempt(event: dict[str, Any] | None) -> int:
    found = None if event is None else event.get("attempt")
    return found if isinstance(found, int) else 0


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


def forget_shipped(folder: Path) -> None:
    """Everything is shipped again by the next shipper."""
    (folder / SHIPPED_NAME).unlink(missing_ok=True)


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
