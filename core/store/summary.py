"""What sweeps there are, for `sweep list`: quick, and without MLflow where they are local."""

import fcntl
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from keepgain.core.errors import UserError
from keepgain.core.record import SweepRecord
from keepgain.core.status import Stage, TrialStatus
from keepgain.core.store.location import StoreLocation
from keepgain.core.store.names import (
    METRIC_COMPLETED,
    METRIC_FAILED,
    RECORD_FOLDER,
    TAG_STAGE,
    TAG_SWEEP_NAME,
)
from keepgain.core.store.reader import mlflow_sweeps
from keepgain.core.store.record_files import RECORD_NAME, load_record
from keepgain.core.store.shipper import LOCK_NAME

SPOOL_FOLDER = "spool"

SweepStatus = Literal["running", "finished", "stopped", "failed", "unreadable"]
"""stopped: neither decided nor held by a process; `sweep run` continues it."""


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
        for sweep_id, created, run in mlflow_sweeps(location):
            found.setdefault(sweep_id, _from_run(sweep_id, created, run))
    return sorted(found.values(), key=lambda s: (-s.created_ms, s.id))


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
    counts = Counter(r.status for r in record.runs if r.kind == "trial") if record else None
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
    return "finished" if record and record.stage == Stage.DECIDED else "stopped"


def _created(folder: Path) -> float:
    """When the sweep began: the lock is made then and never written to."""
    lock = folder / SPOOL_FOLDER / LOCK_NAME
    return (lock if lock.exists() else folder).stat().st_mtime


def _from_run(sweep_id: str, created_ms: float, run: Any) -> SweepSummary:
    statuses: dict[str, SweepStatus] = {
        "RUNNING": "running",
        "FINISHED": "finished",
        "FAILED": "failed",
    }
    tags, metrics = run.data.tags, run.data.metrics
    return SweepSummary(
        id=sweep_id,
        name=tags.get(TAG_SWEEP_NAME, sweep_id),
        stage=tags.get(TAG_STAGE),
        status=statuses.get(run.info.status, "stopped"),
        created_ms=created_ms,
        completed=_count(metrics, METRIC_COMPLETED),
        failed=_count(metrics, METRIC_FAILED),
        where=run.info.run_id,
    )


def _count(metrics: dict[str, float], name: str) -> int | None:
    return int(metrics[name]) if name in metrics else None
