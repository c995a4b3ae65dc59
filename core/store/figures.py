"""How far a sweep is by its MLflow runs alone, for who cannot see its folder."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keepgain.core.store.heartbeat import clock_ahead_ms
from keepgain.core.store.location import StoreLocation
from keepgain.core.store.names import (
    TAG_HEARTBEAT,
    TAG_RUN_KEY,
    TAG_STAGE,
    TAG_SWEEP,
    check_id,
)
from keepgain.core.store.reader import mlflow_sweeps, search_all

_ENDED = {"FINISHED": "completed", "FAILED": "failed", "KILLED": "interrupted"}


@dataclass(frozen=True)
class FailedRun:
    """A run that failed, as its tags have it."""

    run_key: str
    model: str
    reason: str


@dataclass(frozen=True)
class SweepFigures:
    """What the sweep's MLflow runs say."""

    status: str
    """Of its own run: RUNNING, FINISHED, FAILED or KILLED."""
    stage: str | None
    """The last one that finished."""
    created_ms: float
    silent_seconds: float | None
    """Since the driver's last sign of life; None: none is known."""
    runs: Mapping[str, Mapping[str, int]]
    """Stage → status → runs."""
    failures: tuple[FailedRun, ...]


def read_figures(location: StoreLocation, sweep_id: str) -> SweepFigures | None:
    """Reads them; None if the store does not know the sweep (yet).

    Raises:
        UserError: The store cannot be reached.
    """
    check_id(sweep_id)
    parents = mlflow_sweeps(location, sweep_id)
    if not parents:
        return None
    from keepgain.core.store.client import new_client, store_errors

    _, created, parent = max(parents, key=lambda p: p[1])
    condition = f"tags.`{TAG_SWEEP}` = '{sweep_id}'"
    with store_errors(location):
        found = search_all(new_client(location), [parent.info.experiment_id], condition)
    counts: dict[str, dict[str, int]] = {}
    failures = []
    for run in found:
        tags = run.data.tags
        if TAG_RUN_KEY not in tags or run.info.run_id == parent.info.run_id:
            continue
        stage = counts.setdefault(tags.get(TAG_STAGE, "?"), {})
        status = _status(run)
        stage[status] = stage.get(status, 0) + 1
        if status == "failed":
            reason = tags.get("keepgain.reason", "no reason is recorded")
            failures.append(FailedRun(tags[TAG_RUN_KEY], tags.get("keepgain.model", "?"), reason))
    return SweepFigures(
        status=parent.info.status,
        stage=parent.data.tags.get(TAG_STAGE),
        created_ms=created,
        silent_seconds=_silent_seconds(parent.data.tags.get(TAG_HEARTBEAT), location),
        runs=counts,
        failures=tuple(failures),
    )


def _silent_seconds(heartbeat: str | None, location: StoreLocation) -> float | None:
    """By the store's clock, which is also the driver's."""
    try:
        at = float(json.loads(heartbeat or "{}")["at_ms"])
    except (ValueError, KeyError, TypeError):
        return None
    return max(0.0, time.time() + (clock_ahead_ms(location) - at) / 1000)


def _status(run: Any) -> str:
    """As Keepgain's record has it; MLflow knows no pruned runs."""
    if run.info.status == "RUNNING":
        return "running"
    return str(run.data.tags.get("keepgain.status", _ENDED.get(run.info.status, "?")))
