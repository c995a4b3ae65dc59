"""The spool: what happened, appended to local files that survive the loss of any process.

Workers and the driver write here and never call MLflow, so that a slow or dead server cannot stall
training. The one shipper of the driver (`shipper.py`) sends the lines on, in order, once.
"""

import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keepgain.core.store.datasets import DatasetInfo


class Spool:
    """Appends events to `folder/<writer>.jsonl`; one writer name per process and run.

    Each event is one JSON object: `event`, `run_key`, `time_ms` (set once, here, so that a
    repeated shipment is the same point) and the fields of the method that wrote it. Lines are on
    disk (fsync) when a method returns, except `metrics`, which are on disk after `flush`,
    after any other event, or a second later at the next call.
    """

    def __init__(self, folder: Path, writer: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{writer}.jsonl"
        self._file = path.open("a", encoding="utf-8")
        if _is_torn(path):
            # The last writer was killed within a line; ours must not be glued to it.
            self._file.write("\n")
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
        """Puts every line on disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def close(self) -> None:
        """Flushes and closes; the object cannot be used afterwards."""
        self.flush()
        self._file.close()

    def _write(self, event: str, run_key: str, *, sync: bool = True, **fields: Any) -> None:
        line = {"event": event, "run_key": run_key, "time_ms": int(time.time() * 1000), **fields}
        self._file.write(json.dumps(line, allow_nan=False) + "\n")
        if sync or time.monotonic() - self._synced > 1.0:
            self.flush()


def _is_torn(path: Path) -> bool:
    with path.open("rb") as handle:
        if handle.seek(0, os.SEEK_END) == 0:
            return False
        handle.seek(-1, os.SEEK_END)
        return handle.read(1) != b"\n"
