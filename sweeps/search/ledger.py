"""The ledger: everything that a sweep asked for and learned, in the order in which it happened.

It is the one source of truth of `sweep run` (docs/DECISIONS.md, "our ledger"): one JSON object a
line, appended and synced before anything acts on it, so that a driver killed at any moment
continues from it. Optuna's journal and Tune's trials are rebuilt from it, never the other way.
"""

import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError, field_validator

from keepgain.core.config import Arm
from keepgain.core.errors import UserError
from keepgain.core.record import LookRecord, Origin, RungReport, RunKind
from keepgain.core.redaction import redact
from keepgain.core.schema import StrictModel
from keepgain.core.status import FailureCause, Stage, TrialStatus


class _Event(StrictModel):
    """One line of the ledger."""

    at: float | None = None
    """Seconds since 1970 when it was written; None where the ledger has no clock."""


class Learned(StrictModel):
    """A finished trial of another sweep that the sampler starts from; not a draw of this one."""

    source: str
    """`SWEEP/TRIAL`."""
    params: dict[str, Any]
    """As `Space.resolve` makes them here."""
    values: tuple[float, ...]
    """One an objective, at the full budget."""
    constraints: dict[str, float] = {}
    """Feasible where <= 0."""


class SearchStarted(_Event):
    """How draws are made: a ledger is continued by a search that is declared alike, or not at all.

    `StratifiedSearch.started` makes it; it stands before the first draw.
    """

    event: Literal["search_started"] = "search_started"
    settings: dict[str, Any]
    """See `Design.to_json`: space identity, directions, models, trials, sampler, mode, seed, ..."""
    learned: dict[str, tuple[Learned, ...]] = Field(default_factory=dict)
    """Base model → trials of a warm start, so that a continuation needs no other sweep."""
    left_out: dict[str, int] = Field(default_factory=dict)
    """Base model → trials of a warm start that this space does not have."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Of optuna: for the record, not compared."""


class Asked(_Event):
    """A run was decided on. A search draw that repeats an earlier one has that one's run key."""

    event: Literal["asked"] = "asked"
    run_key: str
    trial_id: str
    seed: int
    stage: Stage
    kind: RunKind
    arm: Arm | None = None
    model: str
    number: int | None = None
    """Of the draw in its base model's study; None outside the search, as the next four."""
    generation: int | None = None
    index: int | None = None
    origin: Origin | None = None
    raw: dict[str, Any] = Field(default_factory=dict)
    params: dict[str, Any] = Field(default_factory=dict)
    config: dict[str, Any]
    """`TrialConfig` or `ScoreConfig` as JSON: enough to carry the run out."""


class Rung(_Event):
    """A run was scored at a rung; its checkpoint is on disk."""

    event: Literal["rung"] = "rung"
    report: RungReport
    seconds: float | None = None
    """Wall time for which a worker was busy with it; None: nothing was spent here."""


class Promoted(_Event):
    """A run that waits at a rung may go on to the next one."""

    event: Literal["promoted"] = "promoted"
    run_key: str
    rung: int
    """Index of the rung that it may train to."""


class Finished(_Event):
    """A run ended, or was interrupted (and may be continued)."""

    event: Literal["finished"] = "finished"
    run_key: str
    status: TrialStatus
    reason: str | None = None
    cause: FailureCause | None = None

    @field_validator("status")
    @classmethod
    def _ended(cls, status: TrialStatus) -> TrialStatus:
        if not status.is_final and status is not TrialStatus.INTERRUPTED:
            raise ValueError(f"'{status}' is not an end")
        return status


class Reused(_Event):
    """The results of a run, all its rungs, come from an earlier sweep; its `finished` follows."""

    event: Literal["reused"] = "reused"
    run_key: str
    sweep: str
    reports: tuple[RungReport, ...] = Field(min_length=1)
    """One a rung, ascending."""


class StageFinished(_Event):
    """A stage is complete."""

    event: Literal["stage"] = "stage"
    stage: Stage
    note: str = ""


class TestOpened(_Event):
    """The test items were scored, for these candidates."""

    __test__ = False  # not a test class, whatever pytest makes of the name

    event: Literal["test_opened"] = "test_opened"
    candidates: tuple[str, ...]
    items_hash: str
    time: str
    """UTC, ISO 8601."""


class Look(_Event):
    """A look of the adaptive confirmation was made (see `sweeps.stages.looks`)."""

    event: Literal["look"] = "look"
    record: LookRecord


class DriverStarted(_Event):
    """A process works on the sweep from now on: what its trials hold, for what they cost."""

    event: Literal["driver_started"] = "driver_started"
    user: str
    host: str
    pid: int
    slots: int
    cpus_per_trial: float
    gpus_per_trial: float


class DriverStopped(_Event):
    """That process left in order; one that was killed leaves no such line."""

    event: Literal["driver_stopped"] = "driver_stopped"


class Steered(_Event):
    """A command of a person was taken up (see `sweeps.steering`), which happens once an id."""

    event: Literal["steered"] = "steered"
    id: str
    do: str
    by: str
    """`user@host`."""
    trial: str | None = None
    """Run key, of a command about one trial."""
    configs: tuple[dict[str, Any], ...] = ()
    """Of `add`, if it was done: `{model, params}` each."""
    done: bool = True
    """False: it could not be carried out."""
    outcome: str
    """What came of it, for people."""


class Retried(_Event):
    """A failed run is tried again because a person asked for it."""

    event: Literal["retried"] = "retried"
    run_key: str
    told: bool = False
    """The sampler has drawn on its failure already: for the sampler it stays failed."""


Event = (
    SearchStarted
    | Asked
    | Rung
    | Promoted
    | Finished
    | Reused
    | StageFinished
    | TestOpened
    | Look
    | DriverStarted
    | DriverStopped
    | Steered
    | Retried
)
_EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])


_SAID = ("reason", "note", "outcome")
"""Fields of events with what exceptions and people say."""


class Ledger:
    """An open ledger, owned by this process until it is closed. Thread-safe.

    The lock is the kernel's (`flock` on `<name>.lock`): it ends with its process, so a killed
    driver leaves none behind. The file names the owner for the message of the next one.
    """

    def __init__(
        self,
        path: Path,
        descriptor: int,
        lock: int,
        events: list[Event],
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.path = path
        self._clock = clock
        self._descriptor = descriptor
        self._lock = lock
        self._events = events
        self._mutex = threading.Lock()

    @classmethod
    def open(cls, path: Path, clock: Callable[[], float] | None = None) -> "Ledger":
        """Opens or creates a ledger for appending; a line torn by a crash is cut off.

        Args:
            clock: Seconds since 1970, for the events' times; None: they get none.

        Raises:
            UserError: Another driver owns it, or a line other than a torn last one is not an event.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = _acquire(path.with_name(path.name + ".lock"), path)
        try:
            events, end = _read(path)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            os.ftruncate(descriptor, end)
            os.lseek(descriptor, end, os.SEEK_SET)
            os.fsync(descriptor)
            _sync_folder(path.parent)
        except BaseException:
            os.close(lock)
            raise
        return cls(path, descriptor, lock, events, clock)

    def now(self) -> float | None:
        """The ledger's clock; None if it has none."""
        return self._clock() if self._clock else None

    def append(self, event: Event) -> Event:
        """Writes one event and returns it with its time; it is on disk by then.

        Raises:
            OSError: It could not be written; the ledger is then as it was before.
        """
        said = {k: redact(v) for k in _SAID if isinstance(v := getattr(event, k, None), str)}
        event = event.model_copy(update={"at": self.now(), **said})
        line = memoryview(event.model_dump_json().encode() + b"\n")
        with self._mutex:
            start = os.lseek(self._descriptor, 0, os.SEEK_CUR)
            try:
                while line:
                    line = line[os.write(self._descriptor, line) :]
                os.fsync(self._descriptor)
            except OSError:
                os.ftruncate(self._descriptor, start)
                os.lseek(self._descriptor, start, os.SEEK_SET)
                raise
            self._events.append(event)
        return event

    def events(self) -> list[Event]:
        """All events so far, in order."""
        with self._mutex:
            return list(self._events)

    def close(self) -> None:
        """Gives the ledger free; closing twice is harmless."""
        with self._mutex:
            if self._lock >= 0:
                os.ftruncate(self._lock, 0)
                os.close(self._descriptor)
                os.close(self._lock)
                self._lock = -1

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def taken(path: Path, driver: str) -> UserError:
    """For a ledger that somebody else works on."""
    return UserError(
        f"another driver works on this sweep ({driver}).",
        where=str(path),
        hint="Wait for it or stop it (`sweep stop`); `sweep status` only reads.",
    )


def driver_of(path: Path) -> str | None:
    """Who holds the ledger, e.g. `process 12 on alpha`; None: nobody, or there is no ledger.

    Where a file system keeps locks to one host (some NFS mounts), a driver on another host is not
    seen.
    """
    lock = path.with_name(path.name + ".lock")
    if not lock.exists():
        return None
    descriptor = os.open(lock, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _owner(descriptor)
    finally:
        os.close(descriptor)
    return None


def read_events(path: Path) -> list[Event]:
    """The events of a ledger that may be in use elsewhere; a line being written is left out.

    Raises:
        UserError: As `Ledger.open`.
    """
    return _read(path)[0]


def _read(path: Path) -> tuple[list[Event], int]:
    """The events, and the length in bytes up to which the file is sound."""
    data = path.read_bytes() if path.exists() else b""
    end = data.rfind(b"\n") + 1
    lines = data[:end].split(b"\n")[:-1]
    return list(_parse(lines, path)), end


def _parse(lines: Iterable[bytes], path: Path) -> Iterator[Event]:
    for number, line in enumerate(lines, 1):
        try:
            yield _EVENT.validate_json(line)
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            key = ".".join(str(p) for p in fault["loc"][1:])
            raise UserError(
                f"not an event of a ledger ({key + ': ' if key else ''}{fault['msg']}).",
                where=f"{path}:{number}",
                hint="The file was changed by hand or by another version; restore it from a copy.",
            ) from None


def _acquire(path: Path, ledger: Path) -> int:
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock_patiently(lock)
    except OSError as error:
        owner = _owner(lock)
        os.close(lock)
        if not isinstance(error, BlockingIOError):
            raise UserError(
                f"the file system gives no locks ({error.strerror}).",
                where=str(path),
                hint="Keep sweeps on a file system that does.",
            ) from None
        raise taken(ledger, owner) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode(), 0)
    return lock


def _lock_patiently(descriptor: int) -> None:
    """Minds no `driver_of` that is looking at the lock just now."""
    for _ in range(5):
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.05)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _owner(lock: int) -> str:
    try:
        owner = json.loads(os.pread(lock, 1000, 0))
        return f"process {owner['pid']} on {owner['host']}"
    except (ValueError, KeyError, TypeError):
        return "process unknown"


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
