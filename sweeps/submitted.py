"""Jobs that this machine has submitted: a small note of each, to find it again.

A note holds no secret: the token is Ray's own affair, and a store with a password is refused.
"""

import json
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from keepgain.cluster.submit import Jobs, JobState
from keepgain.core.errors import UserError
from keepgain.core.schema import StrictModel, parse
from keepgain.core.store.location import (
    FOLDER_NAME,
    StoreLocation,
    make_private,
    resolve_store,
)
from keepgain.core.store.summary import list_sweeps
from keepgain.sweeps.reuse import LEDGER_NAME

NOTES = "submitted"
META_SWEEP = "keepgain.sweep"
META_NAME = "keepgain.name"
META_STORE = "keepgain.store"
META_WORK = "keepgain.work"

_SAID = re.compile(r"^sweep ([A-Za-z0-9._-]{1,64})(?: \(continued\))?$", re.MULTILINE)
"""How `sweep run` begins."""


class Submission(StrictModel):
    """A job, and what is needed to look at its sweep."""

    job: str
    """Ray's submission id."""
    address: str
    name: str
    """Of the spec."""
    sweep: str | None = None
    """None: not known before the job has read its data."""
    store: str | None = None
    """None: what the cluster's nodes are set to."""
    work: str | None = None
    """Folder of ledgers beside a server."""
    spec: str = ""
    profile: str | None = None
    at: float
    """When it was submitted, in seconds since 1970."""


@dataclass(frozen=True)
class Here:
    """A sweep whose folder can be looked at from here, if there is one at all."""

    sweep: str
    location: StoreLocation


@dataclass(frozen=True)
class Away:
    """A sweep that is known here by its job alone."""

    job: Submission


def write_note(note: Submission, cwd: Path | None = None) -> Path:
    """Writes the note of a job; returns its file.

    Raises:
        UserError: It cannot be written there.
    """
    folder = _folder(cwd or Path.cwd())
    make_private(folder.parent)
    make_private(folder)
    path = folder / f"{note.job}.json"
    partial = path.with_suffix(".partial")
    try:
        partial.write_text(note.model_dump_json(indent=2) + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise UserError(
            f"the note of the job cannot be written ({error.strerror}).", where=str(folder)
        ) from None
    return path


def read_notes(cwd: Path | None = None) -> list[Submission]:
    """All notes, the newest first.

    Raises:
        UserError: A note that is none; the message names the file.
    """
    folder = _folder(cwd or Path.cwd())
    notes = [_read(path) for path in sorted(folder.glob("*.json"))]
    return sorted(notes, key=lambda n: -n.at)


def locate(
    sweep: str, store: str | None, address: str | None, *, prefer_job: bool = False
) -> Here | Away:
    """Where a sweep can be looked at: its folder if it lies here, else the job of a note.

    Args:
        sweep: A sweep's id, a job's, or `last`: of the store, where one is given.
        address: Of the cluster whose jobs are meant; the notes are then not needed.
        prefer_job: The job is meant where there is one.

    Raises:
        UserError: No such job on that cluster, or neither a store nor a note.
    """
    notes = [n for n in read_notes() if sweep in ("last", n.sweep, n.job)]
    if address is not None:
        return _from_cluster(sweep, address, notes)
    if sweep == "last" and store is not None:
        notes = [n for n in notes if n.store == store]
    if not notes:
        return Here(sweep, resolve_store(store))
    here = None if prefer_job else _here(sweep, notes[0], store)
    return here or Away(notes[0])


def sweep_in_log(log: str) -> str | None:
    """The id that `sweep run` has printed."""
    match = _SAID.search(log)
    return None if match is None else match[1]


def with_sweep(note: Submission, jobs: Jobs) -> Submission:
    """The note with the sweep's id, if the job has said it by now; kept for the next time."""
    if note.sweep is not None:
        return note
    sweep = sweep_in_log(jobs.log(note.job))
    if sweep is None:
        return note
    note = note.model_copy(update={"sweep": sweep})
    write_note(note)
    return note


def metadata(note: Submission) -> dict[str, str]:
    """What the cluster is told of a job, so that other machines find it."""
    told = {
        META_SWEEP: note.sweep,
        META_NAME: note.name,
        META_STORE: note.store,
        META_WORK: note.work,
    }
    return {k: v for k, v in told.items() if v is not None}


def _from_cluster(sweep: str, address: str, notes: Iterable[Submission]) -> Away:
    jobs = Jobs(address)
    states = [s for s in jobs.states() if META_NAME in s.metadata]
    mine = {n.job: n for n in notes}
    for state in states:
        known = state.metadata.get(META_SWEEP)
        if sweep in ("last", state.id, known) or state.id in mine:
            note = mine.get(state.id) or _of(state, jobs.address)
            # It may have been submitted by another way to the same cluster: a tunnel, say.
            return Away(note.model_copy(update={"address": jobs.address}))
    names = ", ".join(s.metadata.get(META_SWEEP, s.id) for s in states[:5])
    raise UserError(
        f"the cluster at {jobs.address} has no job of a sweep '{sweep}'.",
        where="--address",
        hint=f"Its newest: {names}." if names else "It has no job of `sweep submit` at all.",
    )


def _of(state: JobState, address: str) -> Submission:
    told = state.metadata
    return Submission(
        job=state.id,
        address=address,
        name=told[META_NAME],
        sweep=told.get(META_SWEEP),
        store=told.get(META_STORE),
        work=told.get(META_WORK),
        at=state.started or time.time(),
    )


def _here(sweep: str, note: Submission, store: str | None) -> Here | None:
    """The sweep where its folder lies here: in the store that is meant without notes, or in the
    job's own, which may be mounted here too."""
    location = None  # none is needed: there is a note
    try:
        location = resolve_store(store)
    except UserError:
        if store is not None:
            raise
    if location is not None:
        if _is_here(location, note.sweep):
            return Here(str(note.sweep), location)
        newest = list_sweeps(location)[:1] if sweep == "last" and _has_sweeps(location) else []
        if newest and newest[0].created_ms / 1000 > note.at:
            return Here(newest[0].id, location)
    if note.store is not None and Path(note.store, "sweeps").is_dir():
        shared = resolve_store(note.store)
        if _is_here(shared, note.sweep):
            return Here(str(note.sweep), shared)
    return None


def _has_sweeps(location: StoreLocation) -> bool:
    """Without asking a server."""
    return not location.is_server and location.work.is_dir()


def _is_here(location: StoreLocation, sweep: str | None) -> bool:
    return sweep is not None and (location.sweep_folder(sweep) / LEDGER_NAME).exists()


def _folder(cwd: Path) -> Path:
    here = cwd.resolve()
    upwards = (p / FOLDER_NAME for p in (here, *here.parents))
    with_notes = next((f for f in upwards if (f / NOTES).is_dir()), here / FOLDER_NAME)
    return with_notes / NOTES


def _read(path: Path) -> Submission:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(
            f"not a note of a submitted job ({error}).", where=str(path), hint="Delete it."
        ) from None
    return parse(Submission, content, source=str(path))
