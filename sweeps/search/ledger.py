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
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError, field_validator

from keepgain.core.config import Arm
from keepgain.core.errors import UserError
from keepgain.core.record import Origin, RungReport, RunKind
from keepgain.core.schema import StrictModel
from keepgain.core.status import FailureCause, Stage, TrialStatus


class SearchStarted(StrictModel):
    """How draws are made: a ledger is continued by a search that is declared alike, or not at all.

    `StratifiedSearch.started` makes it; it stands before the first draw.
    """

    event: Literal["search_started"] = "search_started"
    settings: dict[str, Any]
    """Space identity, directions, constraints, models, sampler, seed, trials, generation size."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Of optuna: for the record, not compared."""


class Asked(StrictModel):
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


class Rung(StrictModel):
    """A run was scored at a rung; its checkpoint is on disk."""

    event: Literal["rung"] = "rung"
    report: RungReport


class Finished(StrictModel):
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


class Reused(StrictModel):
    """The results of a run come from an earlier sweep; its `rung` and `finished` follow."""

    event: Literal["reused"] = "reused"
    run_key: str
    sweep: str


class StageFinished(StrictModel):
    """A stage is complete."""

    event: Literal["stage"] = "stage"
    stage: Stage
    note: str = ""


class TestOpened(StrictModel):
    """The test items were scored, for these candidates."""

    __test__ = False  # not a test class, whatever pytest makes of the name

    event: Literal["test_opened"] = "test_opened"
    candidates: tuple[str, ...]
    items_hash: str
    time: str
    """UTC, ISO 8601."""


Event = SearchStarted | Asked | Rung | Finished | Reused | StageFinished | TestOpened
_EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])


class Ledger:
    """An open ledger, owned by this process until it is closed. Thread-safe.

    The lock is the kernel's (`flock` on `<name>.lock`): it ends with its process, so a killed
    driver leaves none behind. The file names the owner for the message of the next one.
    """

    def __init__(self, path: Path, descriptor: int, lock: int, events: list[Event]) -> None:
        self.path = path
        self._descriptor = descriptor
        self._lock = lock
        self._events = events
        self._mutex = threading.Lock()

    @classmethod
    def open(cls, path: Path) -> "Ledger":
        """Opens or creates a ledger for appending; a line torn by a crash is cut off.

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
        return cls(path, descriptor, lock, events)

    def append(self, event: Event) -> None:
        """Writes one event; it is on disk when this returns.

        Raises:
            OSError: It could not be written; the ledger is then as it was before.
        """
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
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = _owner(lock)
        os.close(lock)
        if not isinstance(error, BlockingIOError):
            raise UserError(
                f"the file system gives no locks ({error.strerror}).",
                where=str(path),
                hint="Keep sweeps on a file system that does.",
            ) from None
        raise UserError(
            f"another driver works on this sweep ({owner}).",
            where=str(ledger),
            hint="Wait for it or stop it; `sweep status` only reads.",
        ) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode(), 0)
    return lock


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
