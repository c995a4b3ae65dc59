"""Commands to a sweep that runs elsewhere: files in its folder, which its driver takes up.

::

    sweep stop ID ─► commands/<id>.json ─► driver's tick ─► carried out ─► ledger: steered
                          ▲                                                   │
                          └─────────────── removed ◄──────────────────────────┘

The folder may be shared by machines. A file appears whole (rename) and is removed after the ledger
has its id, so that a command is carried out once, whatever is killed when. Commands that an earlier
driver did not get to see lapse, except `add`.
"""

import secrets
import socket
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import ValidationError

from keepgain.core.errors import UserError
from keepgain.core.schema import StrictModel
from keepgain.sweeps.provenance import person
from keepgain.sweeps.search.ledger import Event, Steered

FOLDER = "commands"
POLL_SECONDS = 1.0
"""Between two looks of a driver at its commands."""

Action = Literal["stop", "stop_trial", "pause", "resume", "add"]


class Listed(StrictModel):
    """A configuration that a person wants tried."""

    model: str
    params: dict[str, Any]
    """Flat, named as in the space."""


class Command(StrictModel):
    """What a person wants of a running sweep."""

    id: str
    """Sorts by the time at which it was given."""
    do: Action
    by: str
    """`user@host`."""
    trial: str | None = None
    """Run key, of `stop_trial`."""
    configs: tuple[Listed, ...] = ()
    """Of `add`."""


class Steerable(Protocol):
    """A sweep that takes commands; each answers in words, or refuses with a UserError."""

    def stop(self, by: str) -> str:
        """Interrupts what runs and ends the driver; `sweep run` continues."""
        ...

    def stop_trial(self, run_key: str, by: str) -> str:
        """Ends one trial of the search as pruned."""
        ...

    def pause(self, by: str) -> str:
        """Begins nothing new; what runs finishes its rung."""
        ...

    def resume(self) -> str:
        """The reverse."""
        ...

    def add(self, configs: tuple[Listed, ...]) -> str:
        """Has configurations tried next."""
        ...


def send(
    folder: Path, do: Action, *, trial: str | None = None, configs: tuple[Listed, ...] = ()
) -> Command:
    """Leaves a command for the driver of the sweep in `folder`."""
    name = f"{time.time_ns():020d}-{secrets.token_hex(4)}"
    by = f"{person()}@{socket.gethostname()}"
    command = Command(id=name, do=do, by=by, trial=trial, configs=configs)
    target = _path(folder, name)
    target.parent.mkdir(exist_ok=True)
    temporary = target.with_suffix(".tmp")
    temporary.write_text(command.model_dump_json(), encoding="utf-8")
    temporary.replace(target)
    return command


def withdraw(folder: Path, command: Command) -> None:
    """Takes a command back; harmless if it was taken up."""
    _path(folder, command.id).unlink(missing_ok=True)


def is_waiting(folder: Path, command: Command) -> bool:
    """Whether no driver has taken the command up yet."""
    return _path(folder, command.id).exists()


@dataclass
class Inbox:
    """The driver's side. Made when the driver has the ledger's lock: what lies there is older."""

    folder: Path
    say: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    _older: frozenset[str] = field(init=False)
    _looked: float | None = None

    def __post_init__(self) -> None:
        self._older = frozenset(path.stem for path in self._files())

    def take_up(
        self,
        sweep: Steerable,
        events: Callable[[], Collection[Event]],
        note: Callable[[Event], object],
    ) -> None:
        """Carries out what is new, at most once a `POLL_SECONDS`.

        Args:
            sweep: What is steered.
            events: The ledger so far.
            note: Appends to the ledger.
        """
        now = self.clock()
        if self._looked is not None and now - self._looked < POLL_SECONDS:
            return
        self._looked = now
        files = self._files()
        known = {e.id for e in events() if isinstance(e, Steered)} if files else set()
        for path in files:
            command = self._read(path)
            if command is not None and command.id not in known:
                note(self._carried_out(sweep, command))
            path.unlink(missing_ok=True)

    def _carried_out(self, sweep: Steerable, command: Command) -> Steered:
        done = True
        if command.id in self._older and command.do != "add":
            done, outcome = False, "it was meant for an earlier driver, which had ended"
        else:
            try:
                outcome = carry_out(sweep, command)
            except UserError as error:
                done, outcome = False, str(error)
        what = command.do.replace("_", " ")
        self.say(f"{what} ({command.by}): {outcome}")
        return Steered(
            id=command.id,
            do=command.do,
            by=command.by,
            trial=command.trial,
            configs=tuple(c.model_dump() for c in command.configs) if done else (),
            done=done,
            outcome=outcome,
        )

    def _files(self) -> list[Path]:
        return sorted((self.folder / FOLDER).glob("*.json"))

    def _read(self, path: Path) -> Command | None:
        try:
            return Command.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None  # withdrawn just now
        except (OSError, ValidationError) as error:
            self.say(f"warning: {path} is no command and is removed ({str(error).splitlines()[0]})")
            return None


def carry_out(sweep: Steerable, command: Command) -> str:
    """Does what is asked, and says what came of it.

    Raises:
        UserError: It cannot be done.
    """
    match command.do:
        case "stop":
            return sweep.stop(command.by)
        case "stop_trial":
            assert command.trial is not None, "the command line gives one"
            return sweep.stop_trial(command.trial, command.by)
        case "pause":
            return sweep.pause(command.by)
        case "resume":
            return sweep.resume()
        case "add":
            return sweep.add(command.configs)


def _path(folder: Path, name: str) -> Path:
    return folder / FOLDER / f"{name}.json"
