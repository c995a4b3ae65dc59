"""What sweeps there are, for `sweep list`: quick, and without MLflow where they are local."""

import fcntl
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from keepgain.core.errors import UserError
from keepgain.core.record import SweepRecord
from keepgain.core.status import Stage, TrialStatus
from keepgain.core.store.heartbeat import clock_ahead_ms, is_stale, was_left
from keepgain.core.store.location import StoreLocation
from keepgain.core.store.names import (
    METRIC_COMPLETED,
    METRIC_CPU_HOURS,
    METRIC_FAILED,
    METRIC_GPU_HOURS,
    METRIC_TOKENS,
    METRIC_TRIALS,
    METRIC_USD,
    RECORD_FOLDER,
    RESERVED_TAGS,
    TAG_HEARTBEAT,
    TAG_STAGE,
    TAG_SWEEP_NAME,
    TAG_USER,
    original_key,
)
from keepgain.core.store.reader import mlflow_sweeps
from keepgain.core.store.record_files import RECORD_NAME, load_record
from keepgain.core.store.shipper import LOCK_NAME

SPOOL_FOLDER = "spool"

SweepStatus = Literal["running", "stale", "finished", "stopped", "failed", "unreadable"]
"""stopped: neither decided nor held by a process; `sweep run` continues it. stale: the same, and
its driver was killed; `sweep repair` puts its runs in MLflow in order."""


@dataclass(frozen=True)
class SweepSummary:
    """One line of `sweep list`; None: not known here."""

    id: str
    name: str
    stage: str | None
    """The last stage that finished."""
    status: SweepStatus
    created_ms: float
    completed: int | None
    """Trials scored at their full budget, seeds counted apart."""
    failed: int | None
    where: str
    """The sweep's folder, or the id of its MLflow run."""


def list_sweeps(location: StoreLocation) -> list[SweepSummary]:
    """All sweeps, newest first: the folders beside the store, and what else a server knows.

    Raises:
        UserError: The server cannot be reached.
    """
    found = {s.id: s for s in map(_from_folder, _folders(location.work))}
    if location.is_server or not found:
        ahead = clock_ahead_ms(location)
        for sweep_id, created, run in mlflow_sweeps(location):
            found.setdefault(sweep_id, _from_run(sweep_id, created, run, ahead))
    return sorted(found.values(), key=lambda s: (-s.created_ms, s.id))


@dataclass(frozen=True)
class SweepCosts:
    """What a sweep cost so far, as its parent run says; None: it does not say."""

    id: str
    created_ms: float
    user: str | None
    tags: dict[str, str]
    """Of the spec."""
    trials: int | None
    """Trained, seeds counted apart."""
    tokens: int | None
    """Of training."""
    gpu_hours: float | None
    cpu_hours: float | None
    usd: float | None
    """None also without a price in the spec."""


@dataclass(frozen=True)
class CostTotal:
    """Sums over a group of sweeps, of the figures that are known."""

    group: str
    sweeps: int
    trials: int
    tokens: int
    gpu_hours: float
    cpu_hours: float
    usd: float | None
    """None if no sweep of the group has a price."""
    unpriced: int
    """Sweeps without one that used GPUs: the sum leaves them out."""


NO_GROUP = "(none)"


def list_costs(location: StoreLocation) -> list[SweepCosts]:
    """All sweeps of a store by its parent runs alone, newest first.

    Raises:
        UserError: The store cannot be reached.
    """
    found = [_costs(sweep_id, created, run) for sweep_id, created, run in mlflow_sweeps(location)]
    return sorted(found, key=lambda c: (-c.created_ms, c.id))


def cost_totals(costs: Iterable[SweepCosts], by: str | None) -> list[CostTotal]:
    """Sums by month (UTC), by user, or by the value of a tag; None: one sum of everything.

    Args:
        by: `month`, `user`, `tag:NAME`, or the name of a tag with another name than those.
    """
    groups: dict[str, list[SweepCosts]] = {}
    for one in costs:
        groups.setdefault(_group(one, by), []).append(one)
    return [_total(name, groups[name]) for name in sorted(groups)]


def is_running(sweep_folder: Path) -> bool:
    """True while a process on this machine ships the sweep's spool."""
    lock = sweep_folder / SPOOL_FOLDER / LOCK_NAME
    if not lock.exists():
        return False
    with lock.open("rb") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _folders(work: Path) -> list[Path]:
    """Folders of sweeps that have begun: those with a spool or a record."""
    if not work.is_dir():
        return []
    return [
        folder
        for folder in sorted(work.iterdir())
        if (folder / SPOOL_FOLDER).is_dir() or (folder / RECORD_FOLDER / RECORD_NAME).is_file()
    ]


def _from_folder(folder: Path) -> SweepSummary:
    record: SweepRecord | None = None
    readable = True
    if (folder / RECORD_FOLDER / RECORD_NAME).is_file():
        try:
            record = load_record(folder / RECORD_FOLDER)
        except UserError:
            readable = False  # a list shows the other sweeps; opening this one says what is wrong
    trained = [r for r in record.runs if r.kind == "trial" and not r.made_from] if record else []
    counts = Counter(r.status for r in trained) if record else None
    return SweepSummary(
        id=folder.name,
        name=record.name if record else folder.name.rpartition("-")[0] or folder.name,
        stage=record.stage.value if record else None,
        status=_status(folder, record) if readable else "unreadable",
        created_ms=_created(folder) * 1000,
        completed=counts[TrialStatus.COMPLETED] if counts is not None else None,
        failed=counts[TrialStatus.FAILED] if counts is not None else None,
        where=str(folder),
    )


def _status(folder: Path, record: SweepRecord | None) -> SweepStatus:
    if is_running(folder):
        return "running"
    if record and record.stage == Stage.DECIDED:
        return "finished"
    return "stale" if was_left(folder / SPOOL_FOLDER) else "stopped"


def _created(folder: Path) -> float:
    """When the sweep began: the lock is made then and never written to."""
    lock = folder / SPOOL_FOLDER / LOCK_NAME
    return (lock if lock.exists() else folder).stat().st_mtime


def _from_run(sweep_id: str, created_ms: float, run: Any, ahead_ms: int) -> SweepSummary:
    statuses: dict[str, SweepStatus] = {
        "RUNNING": "running",
        "FINISHED": "finished",
        "FAILED": "failed",
    }
    tags, metrics = run.data.tags, run.data.metrics
    status = statuses.get(run.info.status, "stopped")
    if status == "running" and is_stale(tags.get(TAG_HEARTBEAT), ahead_ms):
        status = "stale"
    return SweepSummary(
        id=sweep_id,
        name=tags.get(TAG_SWEEP_NAME, sweep_id),
        stage=tags.get(TAG_STAGE),
        status=status,
        created_ms=created_ms,
        completed=_count(metrics, METRIC_COMPLETED),
        failed=_count(metrics, METRIC_FAILED),
        where=run.info.run_id,
    )


def _count(metrics: dict[str, float], name: str) -> int | None:
    return int(metrics[name]) if name in metrics else None


def _costs(sweep_id: str, created_ms: float, run: Any) -> SweepCosts:
    tags, metrics = run.data.tags, run.data.metrics
    return SweepCosts(
        id=sweep_id,
        created_ms=created_ms,
        user=tags.get(TAG_USER),
        tags={original_key(k): v for k, v in tags.items() if not k.startswith(RESERVED_TAGS)},
        trials=_count(metrics, METRIC_TRIALS),
        tokens=_count(metrics, METRIC_TOKENS),
        gpu_hours=metrics.get(METRIC_GPU_HOURS),
        cpu_hours=metrics.get(METRIC_CPU_HOURS),
        usd=metrics.get(METRIC_USD),
    )


def _group(one: SweepCosts, by: str | None) -> str:
    match by:
        case None:
            return "all"
        case "month":
            return datetime.fromtimestamp(one.created_ms / 1000, UTC).strftime("%Y-%m")
        case "user":
            return one.user or NO_GROUP
        case _:
            return one.tags.get(by.removeprefix("tag:"), NO_GROUP)


def _total(name: str, costs: list[SweepCosts]) -> CostTotal:
    priced = [c.usd for c in costs if c.usd is not None]
    return CostTotal(
        group=name,
        sweeps=len(costs),
        trials=sum(c.trials or 0 for c in costs),
        tokens=sum(c.tokens or 0 for c in costs),
        gpu_hours=sum(c.gpu_hours or 0.0 for c in costs),
        cpu_hours=sum(c.cpu_hours or 0.0 for c in costs),
        usd=sum(priced) if priced else None,
        unpriced=sum(c.usd is None and bool(c.gpu_hours) for c in costs),
    )
