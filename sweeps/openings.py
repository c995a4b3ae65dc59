"""How often test items were opened, over all sweeps of a store: each look spends some of them."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from keepgain.core.config import SuiteRef
from keepgain.core.identity import fingerprint
from keepgain.sweeps.search.ledger import TestOpened

FILE_NAME = "test-openings.jsonl"


def items_hash(suites: tuple[SuiteRef, ...]) -> str:
    """Identity of the test items, whatever the suites are called."""
    return fingerprint(sorted({s.digest for s in suites}))


def opening(candidates: list[str], suites: tuple[SuiteRef, ...]) -> TestOpened:
    """The event for the ledger."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return TestOpened(candidates=tuple(candidates), items_hash=items_hash(suites), time=now)


def note_opening(work: Path, sweep_id: str, opened: TestOpened) -> None:
    """Appends to the store-wide list, once a sweep and set of items."""
    line = {"sweep": sweep_id, **opened.model_dump(mode="json")}
    same = ("sweep", "items_hash")
    if any(all(known[k] == line[k] for k in same) for known in _noted(work)):
        return
    with (work / FILE_NAME).open("a", encoding="utf-8") as handle:
        handle.write(json.dumps(line) + "\n")


def count_openings(work: Path, suites: tuple[SuiteRef, ...]) -> int:
    """Openings of these items so far, by any sweep."""
    wanted = items_hash(suites)
    return sum(line["items_hash"] == wanted for line in _noted(work))


def _noted(work: Path) -> list[dict[str, Any]]:
    path = work / FILE_NAME
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]
