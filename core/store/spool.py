"""The spool: what happened, appended to local files that survive the loss of any process.

Workers and the driver write here and never call MLflow, so that a slow or dead server cannot stall
training. The one shipper of the driver (`shipper.py`) sends the lines on, in order, once.
"""

import json
import math
import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keepgain.core.redaction import redact_values
from keepgain.core.store.datasets import DatasetInfo

_TEXTS = ("name", "params", "tags")
"""Fields with texts of users and of exceptions."""
MOST_PENDING = 1 << 16
"""Bytes of metrics that a killed process may lose, beside the limit of a second."""
_HEAD = re.compile(rb'\{"attempt": (\d+), ')
_TIME = re.compile(rb', "time_ms": (\d+), ')


class Spool:
    """Appends events to `folder/<writer>.jsonl`; one writer name per process and run.

    Each event is one JSON object: `attempt`, `event`, `run_key`, `time_ms` and the fields of the
    method that wrote it. The time is set once, here, so that a repeated shipment is the same point;
    in one file it never goes back, whatever the clock does. The attempt counts the openings of the
    file: what a writer that was thought dead writes behind the lines of a later one is not sent,
    nor are points that a later one has replaced (see `tail`).

    Lines are on disk (fsync) when a method returns, except `metrics`, which are on disk after
    `flush`, after any other event, or a second later at the next call.
    """

    def __init__(self, folder: Path, writer: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{writer}.jsonl"
        self._file = path.open("ab", buffering=0)
        attempt, self._latest_ms = _last_written(path)
        self._attempt = attempt + 1
        # The last writer was killed within a line; ours must not be glued to it.
        self._pending = b"\n" if _is_torn(path) else b""
        self._synced = time.monotonic()

    def start(
        self,
        run_key: str,
        name: str,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
    ) -> None:
        """Get or create the child run of `run_key`; safe to repeat."""
        self._write("start", run_key, name=name, params=dict(params), tags=dict(tags))

    def tags(self, run_key: str, tags: Mapping[str, str]) -> None:
        """Sets tags; `run_key` may be `parent` for the sweep's own run, here and below."""
        self._write("tags", run_key, tags=dict(tags))

    def metrics(self, run_key: str, step: int, values: Mapping[str, float]) -> None:
        """One point of each curve at `step` training tokens; all values must be finite."""
        bad = [k for k, v in values.items() if not math.isfinite(v)]
        if bad:
            raise ValueError(f"non-finite metric for {run_key}: {', '.join(bad)}")
        self._write("metrics", run_key, sync=False, step=step, values=dict(values))

    def artifact(self, run_key: str, path: Path, folder: str = "") -> None:
        """Uploads a file, which must stay in place until the sweep has ended."""
        self._write("artifact", run_key, path=str(path), folder=folder)

    def inputs(self, run_key: str, datasets: Sequence[DatasetInfo]) -> None:
        """The datasets that the run uses; safe to repeat."""
        found = [d.model_dump(mode="json") for d in datasets]
        self._write("inputs", run_key, datasets=found)

    def end(self, run_key: str, status: str) -> None:
        """Ends the run: `FINISHED`, `FAILED` or `KILLED` (MLflow's words)."""
        self._write("end", run_key, status=status)

    def flush(self) -> None:
        """Puts every line on disk; whole lines at a time, since another writer may come between.

        Raises:
            OSError: The disk is full, or worse; what was not written is written by the next call.
        """
        while self._pending:
            self._pending = self._pending[self._file.write(self._pending) :]
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def close(self) -> None:
        """Flushes and closes; the object cannot be used afterwards."""
        try:
            self.flush()
        finally:
            self._file.close()

    def _write(self, event: str, run_key: str, *, sync: bool = True, **fields: Any) -> None:
        self._latest_ms = max(int(time.time() * 1000), self._latest_ms)
        head = {"attempt": self._attempt, "event": event, "run_key": run_key}
        line = {**head, "time_ms": self._latest_ms, **fields}
        # Here and not at the shipper alone: the spool stays on disk, and is read by people.
        if texts := {k: line[k] for k in _TEXTS if k in line}:
            line |= redact_values(texts)
        self._pending += json.dumps(line, allow_nan=False).encode() + b"\n"
        if sync or len(self._pending) > MOST_PENDING or time.monotonic() - self._synced > 1.0:
            self.flush()


def attempt_of(line: bytes) -> int:
    """The attempt that a line of the spool begins with; 0 where it says none."""
    head = _HEAD.match(line)
    return int(head[1]) if head else 0


def _last_written(path: Path) -> tuple[int, int]:
    """The highest attempt in a file and the time (ms) for the next line: after the latest one."""
    attempt = latest = 0
    with path.open("rb") as handle:
        for line in handle:
            attempt = max(attempt, attempt_of(line))
            moment = _TIME.search(line)
            latest = max(latest, int(moment[1]) + 1 if moment else 0)
    return attempt, latest


def _is_torn(path: Path) -> bool:
    with path.open("rb") as handle:
        if handle.seek(0, os.SEEK_END) == 0:
            return False
        handle.seek(-1, os.SEEK_END)
        return handle.read(1) != b"\n"
