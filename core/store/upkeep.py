"""Puts the runs of a sweep in order that drivers left behind: without an end, or made twice."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from keepgain.core.store.client import new_client, store_errors
from keepgain.core.store.location import StoreLocation
from keepgain.core.store.names import (
    PARENT,
    TAG_COMPLETE,
    TAG_DUPLICATE,
    TAG_RUN_KEY,
    TAG_SWEEP,
    check_id,
    original_key,
)
from keepgain.core.store.reader import mlflow_sweeps, search_all
from keepgain.core.store.runs import RUNNING

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True)
class StoredRun:
    """One run of a sweep as MLflow has it."""

    run_key: str
    run_id: str
    status: str
    started_ms: int
    metrics: dict[str, float]
    """By the names that they were given."""
    complete: str | None
    """As of `names.TAG_COMPLETE`."""


def stored_runs(location: StoreLocation, sweep_id: str) -> list[StoredRun]:
    """All runs of a sweep, the parent among them, oldest first; several of one key are all there.

    Raises:
        UserError: The store cannot be reached.
    """
    found: dict[str, StoredRun] = {}
    for experiment in _experiments(location, sweep_id):
        with store_errors(location):
            condition = f"tags.`{TAG_SWEEP}` = '{check_id(sweep_id)}'"
            for run in search_all(new_client(location), [experiment], condition):
                found[run.info.run_id] = _stored(run)
    return sorted(found.values(), key=lambda r: (r.started_ms, r.run_id))


def files_of(location: StoreLocation, run_id: str, folder: str) -> set[str]:
    """Names of the artifacts of a run in a folder.

    Raises:
        UserError: The store cannot be reached.
    """
    with store_errors(location):
        found = new_client(location).list_artifacts(run_id, folder or None)
        return {a.path.rpartition("/")[2] for a in found if not a.is_dir}


def duplicates(runs: Sequence[StoredRun]) -> dict[str, str]:
    """Id of a run that was made again → id of the one that stays: the oldest of its key, which is
    the one that shippers write to."""
    first: dict[str, str] = {}
    return {
        run.run_id: kept
        for run in runs
        if (kept := first.setdefault(run.run_key, run.run_id)) != run.run_id
    }


def delete_duplicates(location: StoreLocation, found: dict[str, str]) -> None:
    """Marks and deletes them; MLflow keeps deleted runs, and `mlflow runs restore` brings one back.

    Raises:
        UserError: The store cannot be reached.
    """
    with store_errors(location):
        client = new_client(location)
        for run_id, kept in found.items():
            client.set_tag(run_id, TAG_DUPLICATE, kept)
            client.delete_run(run_id)


def reap(
    location: StoreLocation, sweep_id: str, keep: Collection[str] = (), *, parent: bool = False
) -> list[str]:
    """Ends as KILLED the runs that a killed driver left RUNNING; returns their run keys.

    For when the driver is known to be gone: at the start of a continued sweep, and in a repair.

    Args:
        keep: Run keys that the continued sweep goes on with.
        parent: The sweep's own run as well.

    Raises:
        UserError: The store cannot be reached.
    """
    check_id(sweep_id)
    reaped = []
    for experiment in _experiments(location, sweep_id):
        with store_errors(location):
            client = new_client(location)
            condition = f"tags.`{TAG_SWEEP}` = '{sweep_id}' AND attributes.status = '{RUNNING}'"
            for run in search_all(client, [experiment], condition):
                key = run.data.tags.get(TAG_RUN_KEY, PARENT)
                if key not in keep and (parent or key != PARENT):
                    _kill(client, run)
                    reaped.append(key)
    return sorted(set(reaped))


def _kill(client: "MlflowClient", run: Any) -> None:
    """Not before its start, which another machine's clock may have given."""
    from mlflow.utils.time import get_current_time_millis

    end = max(get_current_time_millis(), run.info.start_time or 0)
    client.set_terminated(run.info.run_id, "KILLED", end)


def _experiments(location: StoreLocation, sweep_id: str) -> list[str]:
    found = {run.info.experiment_id for _, _, run in mlflow_sweeps(location, check_id(sweep_id))}
    return sorted(found)


def _stored(run: Any) -> StoredRun:
    tags = run.data.tags
    return StoredRun(
        run_key=tags.get(TAG_RUN_KEY, PARENT),
        run_id=run.info.run_id,
        status=run.info.status,
        started_ms=run.info.start_time,
        metrics={original_key(k, tags): v for k, v in run.data.metrics.items()},
        complete=tags.get(TAG_COMPLETE),
    )
