"""How often test items were opened, over all sweeps of a store: each look spends some of them."""

import fcntl
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from keepgain.core.config import SuiteRef
from keepgain.core.identity import fingerprint
from keepgain.sweeps.search.ledger import TestOpened

FILE_NAME = "test-openings.jsonl"


def opening(candidates: list[str], suites: tuple[SuiteRef, ...]) -> TestOpened:
    """The event for the ledger."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return TestOpened(candidates=tuple(candidates), items_hash=_items_hash(suites), time=now)


def note_opening(
    work: Path, sweep_id: str, opened: TestOpened, suites: tuple[SuiteRef, ...]
) -> None:
    """Appends to the store-wide list, once a sweep and set of items; on disk when it returns."""
    line = {"sweep": sweep_id, **opened.model_dump(mode="json"), "suites": _digests(suites)}
    descriptor = os.open(work / FILE_NAME, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "r+b") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)  # given free when the file is closed
        data = handle.read()
        same = ("sweep", "suites")
        if any(all(known[k] == line[k] for k in same) for known in _lines(data)):
            return
        handle.truncate(data.rfind(b"\n") + 1)  # what a crash has torn would spoil our line
        handle.write(json.dumps(line).encode() + b"\n")
        handle.flush()
        os.fsync(handle.fileno())


def count_openings(work: Path, suites: tuple[SuiteRef, ...]) -> int:
    """Openings by any sweep of the suite whose items were opened most often.

    Suites are known by their items, whatever they are called and whichever others they stand with.
    """
    path = work / FILE_NAME
    noted = _lines(path.read_bytes()) if path.exists() else []
    return max((sum(d in n["suites"] for n in noted) for d in _digests(suites)), default=0)


def _lines(data: bytes) -> list[dict[str, Any]]:
    """Without a last line that is torn, or being written."""
    return [json.loads(line) for line in data[: data.rfind(b"\n") + 1].splitlines()]


def _digests(suites: tuple[SuiteRef, ...]) -> list[str]:
    return sorted({s.digest for s in suites})


def _items_hash(suites: tuple[SuiteRef, ...]) -> str:
    """Identity of all test items together, whatever the suites are called."""
    return fingerprint(_digests(suites))
