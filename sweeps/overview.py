"""What there is to say of one sweep, from its ledger: nothing is contacted."""

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keepgain.core.errors import UserError
from keepgain.core.status import TrialStatus
from keepgain.core.store.location import StoreLocation
from keepgain.core.store.names import check_id
from keepgain.core.store.reader import unknown_sweep
from keepgain.core.store.summary import SweepSummary, list_sweeps
from keepgain.sweeps.reuse import LEDGER_NAME
from keepgain.sweeps.search.ledger import read_events
from keepgain.sweeps.search.replay import RunState, replay

RESOLVED_SPEC = "spec.resolved.json"


@dataclass(frozen=True)
class Failure:
    """A run that failed."""

    run_key: str
    model: str
    stage: str
    cause: str | None
    reason: str | None


def failures(runs: Iterable[RunState]) -> list[Failure]:
    """Failed runs, in the order in which they were asked for."""
    return [
        Failure(
            r.run_key,
            r.asked.model,
            str(r.asked.stage),
            str(r.cause) if r.cause else None,
            r.reason,
        )
        for r in runs
        if r.status is TrialStatus.FAILED
    ]


def read_runs(folder: Path) -> list[RunState]:
    """All runs of the sweep."""
    return list(replay(read_events(folder / LEDGER_NAME)).runs.values())


def read_resolved_spec(folder: Path) -> dict[str, Any]:
    """The spec of a sweep as it was run, out of the sweep's folder.

    Raises:
        UserError: It is not there, or no JSON.
    """
    path = folder / RESOLVED_SPEC
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"the sweep's spec cannot be read ({error}).", where=str(path)) from None
    return found


def find_sweep(location: StoreLocation, sweep_id: str) -> Path:
    """The folder of a sweep; `last` is the newest.

    Raises:
        UserError: No such sweep here; the message names the store and the nearest known ids.
    """
    return location.sweep_folder(find_summary(location, sweep_id).id)


def find_summary(location: StoreLocation, sweep_id: str) -> SweepSummary:
    """What `sweep list` says of a sweep; `last` is the newest.

    Raises:
        UserError: As `find_sweep`.
    """
    known = list_sweeps(location)
    if sweep_id == "last":
        if not known:
            raise UserError(
                f"store {location.display} holds no sweep.", hint="`sweep run` makes one."
            )
        return known[0]
    check_id(sweep_id)
    found = next((s for s in known if s.id == sweep_id), None)
    if found is None:
        raise unknown_sweep(location, sweep_id, [s.id for s in known])
    return found


def counts(runs: Iterable[RunState]) -> dict[str, dict[str, int]]:
    """Stage → status → runs."""
    found: dict[str, dict[str, int]] = {}
    for run in runs:
        stage = found.setdefault(str(run.asked.stage), {})
        stage[str(run.status)] = stage.get(str(run.status), 0) + 1
    return found


def ago(moment: float) -> str:
    """`3 min 20 s ago`."""
    from keepgain.core.units import human_seconds

    return f"{human_seconds(max(0.0, time.time() - moment))} ago"
