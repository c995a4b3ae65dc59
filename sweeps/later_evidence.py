"""Adds evidence to a sweep that is decided: see `core.later`, which reads it back."""

import fcntl
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from keepgain.core.later import FILE_NAME, LaterEvidence
from keepgain.core.store.location import StoreLocation
from keepgain.sweeps.overview import find_sweep


def append(
    location: StoreLocation, sweep_id: str, kind: str, data: Mapping[str, Any]
) -> LaterEvidence:
    """Records one entry; it is on disk when this returns.

    Args:
        location: The store; the entry lies in the sweep's folder beside it, and stays there.
        sweep_id: Id, or `last`.
        kind: `outcomes`, `review`, ...
        data: JSON values, of any form that the kind's owner can read.

    Raises:
        UserError: No such sweep.
        ValueError: A number that is not finite, or a value that is no JSON.
    """
    folder = find_sweep(location, sweep_id)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    entry = LaterEvidence(kind=kind, time=now, data=dict(data))
    # Not as pydantic writes it: that makes null of a number that is not finite.
    line = json.dumps(dict(entry), allow_nan=False, ensure_ascii=False)
    # A sweep of a server need not have one here.
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _append_line(folder / FILE_NAME, line)
    return entry


def _append_line(path: Path, line: str) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "r+b") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)  # given free when the file is closed
        data = handle.read()
        handle.truncate(data.rfind(b"\n") + 1)  # what a crash has torn would spoil our line
        handle.write(line.encode() + b"\n")
        handle.flush()
        os.fsync(handle.fileno())
