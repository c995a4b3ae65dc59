"""Sends the spool to MLflow from one background thread of the driver, the only MLflow client.

Training writes files and never waits for the store: a slow, hung or dead server costs nothing but
a late record. Every line may be sent more than once (after a crash, or an answer that was lost) and
is recorded once.
"""

import fcntl
import json
import logging
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal

from keepgain.core.errors import UserError
from keepgain.core.store.client import first_line, quiet_imports
from keepgain.core.store.heartbeat import Heartbeat, forget_owner, note_owner, whose
from keepgain.core.store.location import StoreLocation
from keepgain.core.store.runs import RefusedEvent, SweepRuns
from keepgain.core.store.tail import Line, SpoolTail

LOCK_NAME = ".shipper.lock"
REFUSED_NAME = ".refused.jsonl"
POLL_SECONDS = 1.0
MOST_LINES, FEWEST_LINES = 16_000, 5
LONGEST_PAUSE = 10.0
"""Between attempts at a store that fails."""

# MLflow's answers to an event that will never be accepted; everything else may pass.
_FINAL_CODES = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_ALREADY_EXISTS")

log = logging.getLogger(__name__)


class Shipper:
    """Ships `spool_folder` until closed.

    Use as a context manager, or call `start` and `close`. `drain` waits until everything is in the
    store; `trouble` says why it may not be.

    Args:
        location: The store; `bootstrap.prepare_store` should have found it reachable.
        sweep_id: Id of the sweep, and name of its parent run.
        sweep_name: The sweep's name: its experiment is `keepgain/NAME`.
        spool_folder: Where the workers and the driver write their spools.
        owner: What there is to say of the driver that ships beside its host and process: its job,
            its attempt. It then gives signs of life (`heartbeat`). None: this is no driver.
    """

    def __init__(
        self,
        location: StoreLocation,
        sweep_id: str,
        sweep_name: str,
        spool_folder: Path,
        owner: Mapping[str, str] | None = None,
    ) -> None:
        self._tail = SpoolTail(spool_folder)
        self._owner = None if owner is None else whose(owner)
        heartbeat = Heartbeat(self._owner) if self._owner else None
        self._runs = SweepRuns(location, sweep_id, sweep_name, heartbeat)
        self._location = location
        self._open = False
        self._most = MOST_LINES
        """Lines of a batch: fewer on a bad line, where a long one would never arrive whole."""
        self._settled = False
        """Runs that have ended are marked complete as far as they are."""
        self._lock: IO[str] | None = None
        self._stopping = threading.Event()
        self._draining = threading.Event()
        self._wake = threading.Event()
        self._shipped = threading.Condition()
        self._waiting: str | None = None
        self._crash: str | None = None
        self._refused = 0
        self._refused_of: set[str] = set()
        self._last_refusal = ""
        self._thread = threading.Thread(target=self._run, name="keepgain-shipper", daemon=True)

    def start(self) -> "Shipper":
        """Starts the thread; contacts the store in it only.

        Raises:
            UserError: Another process ships this spool.
        """
        folder = self._tail.folder
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = (folder / LOCK_NAME).open("a", encoding="utf-8")
        if not _locked(self._lock):
            self._lock.close()
            raise UserError(
                "this sweep is already being run by another process.",
                where=str(folder.parent),
                hint="Wait for it, or stop it first.",
            )
        if self._owner is not None:
            note_owner(folder, self._owner)
        self._thread.start()
        return self

    @property
    def trouble(self) -> str | None:
        """Why the record in the store is late or incomplete; None if all is well."""
        if self._crash:
            return f"the shipper stopped: {self._crash}"
        if self._waiting:
            return f"the store {self._location.display} does not take the record: {self._waiting}"
        if self._refused:
            return (
                f"{self._refused} event(s) were refused, see "
                f"{self._tail.folder / REFUSED_NAME}; the last one: {self._last_refusal}"
            )
        return None

    @property
    def state(self) -> Literal["shipping", "degraded"]:
        """`degraded` if there is any trouble."""
        return "degraded" if self.trouble else "shipping"

    def drain(self, timeout_seconds: float) -> bool:
        """Waits until every line that is complete now is shipped.

        Returns:
            True if so; False if time ran out or the thread is dead (`trouble` says why).
        """
        target = self._tail.complete_sizes()
        deadline = time.monotonic() + timeout_seconds
        self._draining.set()  # shorter pauses while somebody waits
        self._wake.set()
        try:
            with self._shipped:
                while not self._reached(target):
                    left = deadline - time.monotonic()
                    if left <= 0 or not self._thread.is_alive():
                        return False
                    self._shipped.wait(min(left, POLL_SECONDS))
        finally:
            self._draining.clear()
        return True

    def close(self, timeout_seconds: float = 40.0) -> None:
        """Ends the thread after the call that it is in; what is unshipped waits for the next run.

        Raises:
            TimeoutError: The store holds a call for longer than `timeout_seconds`.
        """
        self._stopping.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_seconds)
            if self._thread.is_alive():
                raise TimeoutError(f"store {self._location.display} holds a call of the shipper")
        if self._lock is not None:
            if self._owner is not None:
                forget_owner(self._tail.folder)
            self._lock.close()

    def __enter__(self) -> "Shipper":
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _reached(self, target: dict[str, int]) -> bool:
        shipped = all(self._tail.offsets.get(f, 0) >= at for f, at in target.items())
        return self._open and self._settled and shipped

    def _run(self) -> None:
        try:
            self._loop()
        except BaseException as error:
            # A thread's death is silent by itself: the driver reads it from `trouble`.
            self._crash = f"{type(error).__name__}: {first_line(error)}"
            log.error("the shipper stopped:\n%s", traceback.format_exc())
        finally:
            with self._shipped:
                self._shipped.notify_all()

    def _loop(self) -> None:
        passing = _passing_faults()
        failures = 0
        while not self._stopping.is_set():
            try:
                more = self._step()
            except passing as error:
                self._open = False
                self._most = max(self._most // 2, FEWEST_LINES)
                failures += 1
                if first_line(error) != self._waiting:
                    self._waiting = first_line(error)
                    log.warning("%s (trying again)", self.trouble)
                self._pause(min(0.5 * 2 ** min(failures, 8), LONGEST_PAUSE))
                continue
            failures, self._waiting = 0, None
            if not more:
                self._pause(POLL_SECONDS)

    def _pause(self, seconds: float) -> None:
        with self._shipped:
            self._shipped.notify_all()
        self._wake.wait(min(seconds, POLL_SECONDS) if self._draining.is_set() else seconds)
        self._wake.clear()

    def _step(self) -> bool:
        """Ships what is new; True if there was anything."""
        if not self._open:
            # The parent's id is in the owner: a store that was emptied gets everything again.
            parent = self._runs.open()
            self._tail.load(f"{self._location.display} {parent}")
            self._refused_of = _refused_before(self._tail.folder)
            self._open = True
        self._runs.beat()
        lines = self._tail.read()[: self._most]
        if not lines:
            self._settle()
            return False
        self._settled = False
        self._ship([line for line in lines if line.event is not None and not line.superseded])
        for line in lines:
            if line.event is None:
                # Its writer was killed while writing it, so nobody was told that it was kept.
                log.warning("%s: dropped a torn line of %d bytes", line.file, len(line.text))
        self._tail.commit(lines)
        self._most = min(self._most * 2, MOST_LINES)
        return True

    def _settle(self) -> None:
        if not self._settled:
            self._runs.complete(self._tail.is_shipped, self._refused_of)
            self._settled = True

    def _ship(self, lines: list[Line]) -> None:
        """Applies events together; if one is refused, finds it by halves and sends the others."""
        try:
            self._runs.apply([line.event for line in lines if line.event is not None])
        except Exception as error:
            reason = _refusal(error)
            if reason is None:
                raise
            if len(lines) == 1:
                self._refuse(lines[0], reason)
                return
            middle = len(lines) // 2
            self._ship(lines[:middle])
            self._ship(lines[middle:])

    def _refuse(self, line: Line, reason: str) -> None:
        self._refused += 1
        self._last_refusal = reason
        self._refused_of |= _key_of(line.event)
        note: dict[str, Any] = {"file": line.file, "reason": reason, "event": line.event}
        with (self._tail.folder / REFUSED_NAME).open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(note) + "\n")
        log.warning("%s: event refused: %s", line.file, reason)


def _refused_before(folder: Path) -> set[str]:
    """Run keys of which an earlier driver's events were refused."""
    path = folder / REFUSED_NAME
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    found: set[str] = set()
    for line in lines:
        try:
            found |= _key_of(json.loads(line)["event"])
        except (ValueError, KeyError, TypeError):
            continue  # torn by the end of its writer
    return found


def _key_of(event: dict[str, Any] | None) -> set[str]:
    key = (event or {}).get("run_key")
    return {key} if isinstance(key, str) else set()


def _locked(handle: IO[str]) -> bool:
    """Takes the lock; patient enough not to mind a `sweep list` that is looking at it."""
    for _ in range(10):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.1)
        else:
            return True
    return False


def _passing_faults() -> tuple[type[BaseException], ...]:
    """What a store raises while it is away, full or busy: worth another attempt."""
    quiet_imports()
    import requests
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return (MlflowException, requests.RequestException, SQLAlchemyError, OSError, UserError)


def _refusal(error: Exception) -> str | None:
    """Why an event will never be taken; None if it may be."""
    if isinstance(error, RefusedEvent):
        return str(error)
    if getattr(error, "error_code", None) in _FINAL_CODES:
        return first_line(error)
    return None
