"""`sweep repair`: makes MLflow's record of a sweep agree with its ledger. No Ray, no training.

What the ledger says is right. What MLflow lacks is sent again from the spool, which has the curves;
what the spool lacks is written into it from the ledger and the record.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from keepgain.core.errors import UserError
from keepgain.core.record import SweepRecord
from keepgain.core.status import Stage, TrialStatus
from keepgain.core.store.bootstrap import prepare_store
from keepgain.core.store.heartbeat import forget_owner
from keepgain.core.store.location import StoreLocation
from keepgain.core.store.names import PARENT, RECORD_FOLDER
from keepgain.core.store.record_files import RECORD_NAME, load_record
from keepgain.core.store.runs import RUNNING
from keepgain.core.store.shipper import Shipper
from keepgain.core.store.spool import Spool
from keepgain.core.store.tail import SpoolTail, forget_shipped
from keepgain.core.store.upkeep import (
    StoredRun,
    delete_duplicates,
    duplicates,
    files_of,
    reap,
    stored_runs,
)
from keepgain.sweeps.candidates import candidates_of
from keepgain.sweeps.keeper import SPEC_NAME
from keepgain.sweeps.recorder import DRIVER, Recorder, mlflow_run, mlflow_status
from keepgain.sweeps.reuse import LEDGER_NAME
from keepgain.sweeps.search.ledger import Asked, Ledger, driver_of, read_events, taken
from keepgain.sweeps.search.replay import RunState, SweepState, replay
from keepgain.sweeps.stages.decide import decide_again
from keepgain.sweeps.stages.trials import describe

SHIP_SECONDS = 600.0
"""Longest wait for the store without progress being asked after."""
SPOOL = "spool"


@dataclass(frozen=True)
class Difference:
    """One thing in which MLflow's record differs from the ledger."""

    run_key: str
    what: str


@dataclass
class Report:
    """What was found, what was done about it, and what is left."""

    sweep: str
    runs: int
    """Of the ledger, as MLflow is to have them, the sweep's own included."""
    dry_run: bool
    unshipped: int
    """Lines of the spool that MLflow did not have."""
    stale: list[str]
    """Keys of runs that a dead driver left RUNNING."""
    duplicates: list[str]
    """Ids of runs that were made twice."""
    found: list[Difference]
    """Before anything was done."""
    rebuilt: int = 0
    """Lines of the spool that were written anew from the ledger and the record."""
    sent_again: bool = False
    """The whole spool was shipped once more."""
    left: list[Difference] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        """MLflow's record agrees with the ledger."""
        return not self.left


def repair(
    location: StoreLocation, sweep_id: str, *, dry_run: bool, say: Callable[[str], None]
) -> Report:
    """Compares, and unless `dry_run` puts in order and compares again.

    Raises:
        UserError: A driver works on the sweep, its folder is not here, or the store cannot be
            reached.
    """
    folder = location.sweep_folder(sweep_id)
    ledger = folder / LEDGER_NAME
    if not ledger.exists():
        raise UserError(
            f"no ledger of sweep '{sweep_id}' on this machine.",
            where=str(ledger),
            hint="Repair where it was run (with the same --store and KEEPGAIN_WORK).",
        )
    if (driver := driver_of(ledger)) is not None:
        raise taken(ledger, driver)
    if dry_run:
        return _look(location, folder, replay(read_events(ledger)), dry_run=True, say=say)
    with Ledger.open(ledger) as held:
        state = replay(held.events())
        prepare_store(location, _name(folder))
        report = _look(location, folder, state, dry_run=False, say=say)
        _put_in_order(location, folder, state, report, say)
        forget_owner(folder / SPOOL)
    return report


def _look(
    location: StoreLocation,
    folder: Path,
    state: SweepState,
    *,
    dry_run: bool,
    say: Callable[[str], None],
) -> Report:
    say(f"comparing {folder.name} with MLflow at {location.display} ...")
    stored = stored_runs(location, folder.name)
    found = list(_differences(location, folder, state, stored))
    return Report(
        sweep=folder.name,
        runs=len(_expected(state)) + 1,
        dry_run=dry_run,
        unshipped=_unshipped(location, folder, stored),
        stale=sorted({r.run_key for r in stored if r.status == RUNNING}),
        duplicates=list(duplicates(stored)),
        found=found,
        left=found if dry_run else [],
    )


def _put_in_order(
    location: StoreLocation,
    folder: Path,
    state: SweepState,
    report: Report,
    say: Callable[[str], None],
) -> None:
    delete_duplicates(location, duplicates(stored_runs(location, folder.name)))
    reap(location, folder.name, parent=True)
    report.rebuilt = _rebuild(folder, state)
    _ship(location, folder, say)
    report.left = _compare(location, folder, state)
    if report.left:
        say(f"{len(report.left)} differences are left: sending the whole spool again ...")
        forget_shipped(folder / SPOOL)
        report.sent_again = True
        _ship(location, folder, say)
        report.left = _compare(location, folder, state)


def _rebuild(folder: Path, state: SweepState) -> int:
    """Completes the spool from the ledger and the record; returns the lines that it took."""
    path = folder / SPOOL / f"{DRIVER}.jsonl"
    before = _lines(path)
    with closing(Spool(folder / SPOOL, DRIVER)) as spool:
        recorder = Recorder(spool, folder)
        record = _record(folder)
        if before == 0:
            recorder.parent_started(folder.name)
            if record is not None:
                recorder.parent_tags({f"keepgain.{k}": v for k, v in record.provenance.items()})
        for run in state.runs.values():
            recorder.known(run, _label(run.asked))
        decided = record is not None and record.stage is Stage.DECIDED
        if record is not None and (before == 0 or not recorder.ending_of(PARENT)):
            for file in sorted((folder / RECORD_FOLDER).iterdir()):
                recorder.parent_file(file, RECORD_FOLDER)
            recorder.parent_tags({"keepgain.stage": str(record.stage)})
        if decided and not recorder.has_decision() and (again := decide_again(folder)):
            recorder.decided(again)
        if recorder.ending_of(PARENT) is None:
            recorder.parent_ended("FINISHED" if decided else "KILLED")
    return _lines(path) - before


def _ship(location: StoreLocation, folder: Path, say: Callable[[str], None]) -> None:
    """Sends what is unshipped; `_compare` says what did not arrive."""
    name = _name(folder)
    with Shipper(location, folder.name, name, folder / SPOOL) as shipper:
        if not shipper.drain(SHIP_SECONDS):
            say(f"not everything is shipped: {shipper.trouble}")
        elif shipper.trouble:
            say(f"warning: {shipper.trouble}")


def _compare(location: StoreLocation, folder: Path, state: SweepState) -> list[Difference]:
    return list(_differences(location, folder, state, stored_runs(location, folder.name)))


def _expected(state: SweepState) -> list[RunState]:
    """Runs as MLflow is to have them: test scores belong to the run that they score, and points
    between a model and its base are runs of their own."""
    own = [run for run in state.runs.values() if run.asked.stage is not Stage.TEST]
    return [*own, *(point for run in own for point in candidates_of(run))]


def _differences(
    location: StoreLocation, folder: Path, state: SweepState, stored: Sequence[StoredRun]
) -> Iterator[Difference]:
    doubled = duplicates(stored)
    for one in stored:
        if one.run_id in doubled:
            yield Difference(one.run_key, f"was made twice: {one.run_id} is the later one")
    known = {one.run_key: one for one in reversed(stored)}  # the oldest of a key stays
    parent = known.get(PARENT)
    if parent is None:
        yield Difference(PARENT, "is missing")
    else:
        yield from _of_parent(location, folder, parent)
    files = _expected_files(folder, state)
    for run in _expected(state):
        found = known.get(run.run_key)
        if found is None:
            yield Difference(run.run_key, "is missing")
        else:
            yield from _of_run(location, run, found, files.get(run.run_key, set()))


def _of_parent(location: StoreLocation, folder: Path, found: StoredRun) -> Iterator[Difference]:
    record = _record(folder)
    decided = record is not None and record.stage is Stage.DECIDED
    if decided and found.status != "FINISHED":
        yield Difference(PARENT, f"is {found.status} in MLflow, and the sweep is decided")
    elif found.status == RUNNING:
        yield Difference(PARENT, "is RUNNING in MLflow, and no driver works on it")
    if found.status != RUNNING and found.complete not in ("true", "partly"):
        yield Difference(PARENT, "is not marked as complete")
    if record is not None:
        wanted = {path.name for path in (folder / RECORD_FOLDER).iterdir()}
        if missing := wanted - files_of(location, found.run_id, RECORD_FOLDER):
            yield Difference(PARENT, f"lacks {RECORD_FOLDER}/{', '.join(sorted(missing))}")


def _of_run(
    location: StoreLocation, run: RunState, found: StoredRun, files: set[str]
) -> Iterator[Difference]:
    wanted = mlflow_status(run)
    if found.status != wanted:
        yield Difference(run.run_key, f"is {found.status} in MLflow, {wanted} by the ledger")
    elif found.complete not in ("true", "partly"):
        yield Difference(run.run_key, "is not marked as complete")
    last = run.last_report
    if last is not None and last.final and run.status is TrialStatus.COMPLETED:
        for name, value in last.metrics.items():
            key = f"final/{name}"
            if found.metrics.get(key) != value:
                said = found.metrics.get(key, "missing")
                yield Difference(run.run_key, f"{key} is {said} in MLflow, {value} by the ledger")
    if files and (missing := files - files_of(location, found.run_id, "items")):
        yield Difference(run.run_key, f"lacks items/{', '.join(sorted(missing))}")


def _expected_files(folder: Path, state: SweepState) -> dict[str, set[str]]:
    """Run key → names of its files of item scores; none that are gone here as well."""
    found: dict[str, set[str]] = {}
    of_points = [point for run in state.runs.values() for point in candidates_of(run)]
    for run in [*state.runs.values(), *of_points]:
        for report in run.reports:
            if (folder / report.items_path).is_file():
                names = found.setdefault(mlflow_run(run.asked), set())
                names.add(Path(report.items_path).name)
    return found


def _unshipped(location: StoreLocation, folder: Path, stored: Sequence[StoredRun]) -> int:
    parent = next((run.run_id for run in stored if run.run_key == PARENT), None)
    tail = SpoolTail(folder / SPOOL)
    tail.load(f"{location.display} {parent}")
    return tail.left()


def _record(folder: Path) -> SweepRecord | None:
    path = folder / RECORD_FOLDER
    return load_record(path) if (path / RECORD_NAME).is_file() else None


def _name(folder: Path) -> str:
    """The sweep's name, which its experiment is named by; the record comes later than the spec."""
    record = _record(folder)
    if record is not None:
        return record.name
    path = folder / SPEC_NAME
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["name"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"the sweep's name cannot be read ({error}).",
            where=str(path),
            hint="`sweep run` with the same spec continues the sweep and writes the file anew.",
        ) from None


def _label(asked: Asked) -> str:
    if asked.kind != "trial":
        return f"{asked.model} {asked.arm or 'base'}"
    number = "" if asked.number is None else f"#{asked.number} "
    return f"{asked.model} {number}{describe(asked.params)}"


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0
