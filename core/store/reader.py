"""Reads sweeps back: from their local folders or copies without MLflow, else from the MLflow store.

A sweep that was read from MLflow after its end is kept below `.cache`, and read from there next
time. Whether the store has a newer one is asked of a SQLite file directly; a server is not asked
about a sweep whose decision was made, since only MLflow's client can (its import takes seconds).
"""

import contextlib
import difflib
import hashlib
import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keepgain.core.errors import UserError
from keepgain.core.later import read_later
from keepgain.core.record import Evidence, RecordReader
from keepgain.core.status import Stage
from keepgain.core.store.location import StoreLocation
from keepgain.core.store.names import (
    EXPERIMENT_PREFIX,
    RECORD_FOLDER,
    ROLE_SWEEP,
    TAG_ROLE,
    TAG_SWEEP,
    check_id,
)
from keepgain.core.store.record_files import (
    ITEMS_NAME,
    RECORD_NAME,
    load_folder,
    load_record,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

CACHE_NAME = ".cache"
_PAGE = 1000

Say = Callable[[str], None]
"""Told what is being done, a line each, where that may take a while."""


def _silent(line: str) -> None: ...


def open_reader(location: StoreLocation, say: Say = _silent) -> RecordReader:
    """The reader of a store; contacts nothing yet."""
    return StoreReader(location, say)


class StoreReader:
    """A `RecordReader` over sweep folders and MLflow parent runs."""

    def __init__(self, location: StoreLocation, say: Say = _silent) -> None:
        self._location = location
        self._say = say

    def sweep_ids(self) -> list[str]:
        """Newest first: by the time that the record was last written, or the run started.

        A local store that has sweep folders is not asked through MLflow, which takes seconds.
        """
        found = local_records(self._location)
        if self._location.is_server or not found:
            found = {**{k: ms for k, ms, _ in mlflow_sweeps(self._location)}, **found}
        return sorted(found, key=lambda k: (-found[k], k))

    def load(self, sweep_id: str) -> Evidence:
        """Reads the local record if there is one, else the copy of MLflow's, else MLflow's.

        Raises:
            UserError: Unknown id (the message names the store and the nearest known ids), or a
                record that cannot be read.
        """
        folder = self._location.sweep_folder(check_id(sweep_id))
        return replace(self._load(folder, sweep_id), later=read_later(folder))

    def _load(self, folder: Path, sweep_id: str) -> Evidence:
        if (folder / RECORD_FOLDER / RECORD_NAME).is_file():
            return load_folder(folder / RECORD_FOLDER)
        kept = kept_copy(self._location, sweep_id)
        if kept is not None:
            if self._location.database is None:
                self._say(f"read from the copy in {kept}; delete it to ask the server again")
            return load_folder(kept)
        return load_from_mlflow(self._location, sweep_id, self._say)


def local_records(location: StoreLocation) -> dict[str, float]:
    """Sweep id → time of its record in ms, for the folders beside the store."""
    found: dict[str, float] = {}
    if location.work.is_dir():
        for record in location.work.glob(f"*/{RECORD_FOLDER}/{RECORD_NAME}"):
            found[record.parent.parent.name] = record.stat().st_mtime * 1000
    return found


def kept_copy(location: StoreLocation, sweep_id: str) -> Path | None:
    """The folder of a copy that is as new as the store's, as far as can be told without MLflow."""
    folder = _copies(location, sweep_id)
    if location.database is not None:
        run = _newest_run(location.database, sweep_id)
        kept = None if run is None else folder / _copy_name(location, *run)
        return kept if kept is not None and (kept / RECORD_NAME).is_file() else None
    mine = folder.glob(f"{_copy_name(location, '*', '*')}/{RECORD_NAME}")
    newest = max(mine, key=lambda path: path.stat().st_mtime, default=None)
    if newest is None or load_record(newest.parent).stage is not Stage.DECIDED:
        return None
    return newest.parent


def _newest_run(database: Path, sweep_id: str) -> tuple[str, int] | None:
    """Id and end of the parent run of a sweep that has ended, read from the store's own file.

    None where it has not, and where the file is not as expected: MLflow then gives the answer.
    """
    query = """
        SELECT runs.run_uuid, runs.status, runs.end_time FROM runs
        JOIN tags AS role ON role.run_uuid = runs.run_uuid AND role.key = ? AND role.value = ?
        JOIN tags AS sweep ON sweep.run_uuid = runs.run_uuid AND sweep.key = ? AND sweep.value = ?
        WHERE runs.lifecycle_stage = 'active' ORDER BY runs.start_time DESC LIMIT 1
    """
    try:
        with contextlib.closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as db:
            row = db.execute(query, (TAG_ROLE, ROLE_SWEEP, TAG_SWEEP, sweep_id)).fetchone()
    except sqlite3.Error:
        return None
    return None if row is None or row[1] == "RUNNING" else (row[0], row[2] or 0)


def _copies(location: StoreLocation, sweep_id: str) -> Path:
    return location.work / CACHE_NAME / check_id(sweep_id)


def _copy_name(location: StoreLocation, run_id: str, end_ms: int | str) -> str:
    """Two servers may know a sweep by one id."""
    store = hashlib.sha256(location.tracking_uri.encode()).hexdigest()[:8]
    return f"{run_id}-{end_ms}-{store}"


def load_from_mlflow(location: StoreLocation, sweep_id: str, say: Say = _silent) -> Evidence:
    """Reads the record from the artifacts of the sweep's parent run, whatever is local.

    Records of ended sweeps are kept below `location.work / ".cache"`.

    Raises:
        UserError: Unknown id, unreachable store, or no record on the run yet.
    """
    check_id(sweep_id)
    say(f"asking MLflow at {location.display} for {sweep_id} ...")
    sweeps = mlflow_sweeps(location, sweep_id)
    if not sweeps:
        raise _unknown(location, sweep_id)
    # Several parents under one id can only come from an import: the newest is meant.
    _, _, run = max(sweeps, key=lambda s: s[1])
    name = _copy_name(location, run.info.run_id, run.info.end_time or 0)
    kept = _copies(location, sweep_id) / name
    if run.info.status != "RUNNING" and (kept / RECORD_NAME).is_file():
        return load_folder(kept)
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as temporary:
        ready = _download(location, run.info.run_id, sweep_id, Path(temporary), say)
        say("reading the record ...")
        evidence = load_folder(ready)
        if run.info.status != "RUNNING":
            # Another reader may have been quicker; both have the same files.
            with contextlib.suppress(FileExistsError):
                kept.mkdir()
            for name in (ITEMS_NAME, RECORD_NAME):
                (ready / name).replace(kept / name)
    return evidence


def mlflow_sweeps(
    location: StoreLocation, sweep_id: str | None = None
) -> list[tuple[str, float, Any]]:
    """(sweep id, start in ms, MLflow run) of the parent runs in the store, in no set order.

    Raises:
        UserError: The store cannot be reached.
    """
    if location.database is not None and not location.database.exists():
        return []  # a client would create it
    from keepgain.core.store.client import new_client, require_reachable, store_errors

    require_reachable(location)
    condition = f"tags.`{TAG_ROLE}` = '{ROLE_SWEEP}'"
    if sweep_id is not None:
        condition += f" AND tags.`{TAG_SWEEP}` = '{check_id(sweep_id)}'"
    with store_errors(location):
        client = new_client(location)
        runs = search_all(client, _experiments(client), condition)
    return [(r.data.tags[TAG_SWEEP], float(r.info.start_time), r) for r in runs]


def search_all(client: "MlflowClient", experiments: list[str], condition: str) -> list[Any]:
    """All runs that meet a condition, once each: pages can shift while a sweep is running."""
    found: dict[str, Any] = {}
    token = None
    while experiments:
        page = client.search_runs(
            experiments, condition, max_results=_PAGE, order_by=["start_time"], page_token=token
        )
        found.update({run.info.run_id: run for run in page})
        token = page.token
        if not token:
            break
    return list(found.values())


def _experiments(client: "MlflowClient") -> list[str]:
    ids: list[str] = []
    token = None
    while True:
        page = client.search_experiments(
            filter_string=f"name LIKE '{EXPERIMENT_PREFIX}%'", max_results=_PAGE, page_token=token
        )
        ids += [e.experiment_id for e in page]
        token = page.token
        if not token:
            return ids


def _download(location: StoreLocation, run_id: str, sweep_id: str, target: Path, say: Say) -> Path:
    """Fetches two files of fixed names; what a store sends decides no path outside `target`."""
    from keepgain.core.store.client import new_client, store_errors

    ready = target / "ready"
    ready.mkdir()
    with store_errors(location):
        client = new_client(location)
        names = {a.path: a.file_size or 0 for a in client.list_artifacts(run_id, RECORD_FOLDER)}
        for name in (ITEMS_NAME, RECORD_NAME):
            wanted = f"{RECORD_FOLDER}/{name}"
            if wanted not in names:
                raise UserError(
                    f"sweep '{sweep_id}' of store {location.display} has no record yet "
                    f"(run {run_id} has no artifact {wanted}).",
                    hint="`sweep status` shows where it stands.",
                )
            say(f"downloading {wanted} ({names[wanted] / 2**20:,.1f} MiB) ...")
            path = Path(client.download_artifacts(run_id, wanted, str(target)))
            if path.is_symlink() or not path.resolve().is_relative_to(target.resolve()):
                raise UserError(f"artifact {wanted} of run {run_id} leads out of its folder.")
            path.replace(ready / name)
    return ready


def _unknown(location: StoreLocation, sweep_id: str) -> UserError:
    known = sorted({**local_records(location), **{k: 0 for k, _, _ in mlflow_sweeps(location)}})
    return unknown_sweep(location, sweep_id, known)


def unknown_sweep(location: StoreLocation, sweep_id: str, known: Sequence[str]) -> UserError:
    """The answer to an id that a store does not have: the store searched, the nearest ids."""
    near = difflib.get_close_matches(sweep_id, known, n=3, cutoff=0.5)
    if near:
        hint = f"Nearest known: {', '.join(near)}."
    elif known:
        hint = f"Known: {', '.join(known[:5])}{', ...' if len(known) > 5 else ''}."
    else:
        hint = "It holds no sweep at all; name another store with --store."
    return UserError(
        f"no sweep '{sweep_id}' in store {location.display} (found by {location.described}).",
        hint=hint,
    )
