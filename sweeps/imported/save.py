"""Puts an imported record where `analyze` and `sweep list` look for it."""

import tempfile
import time
from pathlib import Path
from typing import Any

from keepgain.core.errors import UserError
from keepgain.core.record import Evidence, SweepRecord
from keepgain.core.status import TrialStatus
from keepgain.core.store.location import StoreLocation, make_private
from keepgain.core.store.names import (
    METRIC_COMPLETED,
    METRIC_FAILED,
    PARENT,
    RECORD_FOLDER,
    TAG_STAGE,
    check_id,
)
from keepgain.core.store.record_files import (
    ITEMS_NAME,
    RECORD_NAME,
    load_record,
    save_folder,
)

ANOTHER = "Choose another --id, or `sweep list` shows what is there."


def save(location: StoreLocation, sweep: SweepRecord) -> bool:
    """Writes the record: into the sweep's folder beside a local store, else to the server.

    Returns:
        False if the very same record is there already; then nothing is written.

    Raises:
        UserError: The id is taken by something else, or the store cannot be reached.
    """
    folder = location.sweep_folder(check_id(sweep.id))
    record = folder / RECORD_FOLDER
    taken = UserError(f"store {location.display} has a sweep '{sweep.id}' already.", hint=ANOTHER)
    if (record / RECORD_NAME).is_file():
        if load_record(record) == sweep:
            return False
        raise taken
    if folder.exists():
        raise taken
    if location.folder is not None:
        make_private(location.folder)
        save_folder(record, Evidence(sweep=sweep, items=()))
        return True
    return _publish(location, sweep, taken)


def _publish(location: StoreLocation, sweep: SweepRecord, taken: UserError) -> bool:
    """A parent run with the record, and a child run a row, as a sweep of ours has them."""
    from keepgain.core.store.reader import load_from_mlflow, mlflow_sweeps
    from keepgain.core.store.runs import SweepRuns

    if mlflow_sweeps(location, sweep.id):
        if load_from_mlflow(location, sweep.id).sweep == sweep:
            return False
        raise taken
    with tempfile.TemporaryDirectory() as temporary:
        save_folder(Path(temporary), Evidence(sweep=sweep, items=()))
        runs = SweepRuns(location, sweep.id, sweep.name)
        runs.open()
        runs.apply(_events(sweep, Path(temporary)))
    return True


def _events(sweep: SweepRecord, folder: Path) -> list[dict[str, Any]]:
    """In the words of the spool; the parent ends last, when its record is there."""
    now = int(time.time() * 1000)
    completed = sum(r.status is TrialStatus.COMPLETED for r in sweep.runs)
    failed = len(sweep.runs) - completed
    events: list[dict[str, Any]] = [{"event": "start", "run_key": PARENT, "name": sweep.id}]
    for run in sweep.runs:
        of_run: dict[str, Any] = {"run_key": run.run_key}
        params = {"model": run.model, "label": run.label} if run.model else {"label": run.label}
        events.append({"event": "start", **of_run, "name": run.label, "params": params})
        if figures := {**run.metrics, **{f"cost/{k}": v for k, v in run.cost.items()}}:
            events.append({"event": "metrics", **of_run, "step": 0, "values": figures})
        ending = "FINISHED" if run.status is TrialStatus.COMPLETED else "FAILED"
        events.append({"event": "end", **of_run, "status": ending})
    counts = {METRIC_COMPLETED: float(completed), METRIC_FAILED: float(failed)}
    events += [
        {"event": "metrics", "run_key": PARENT, "step": 0, "values": counts},
        {"event": "tags", "run_key": PARENT, "tags": {TAG_STAGE: sweep.stage.value}},
        *(
            {"event": "artifact", "run_key": PARENT, "path": str(folder / name),
             "folder": RECORD_FOLDER}
            for name in (ITEMS_NAME, RECORD_NAME)
        ),
        {"event": "end", "run_key": PARENT, "status": "FINISHED"},
    ]  # fmt: skip
    return [{**event, "time_ms": now} for event in events]
