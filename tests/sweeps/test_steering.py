"""Commands as files: each is carried out once, by whichever driver gets to see it."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from keepgain.core.errors import EXIT_FAILED, EXIT_OK, UserError
from keepgain.sweeps.cli import steer
from keepgain.sweeps.reuse import LEDGER_NAME
from keepgain.sweeps.search.ledger import Event, Ledger, Steered, driver_of, read_events
from keepgain.sweeps.steering import Inbox, Listed, is_waiting, send, withdraw


@dataclass
class StandInSweep:
    """A sweep that remembers what it was told, and has no trial named `lost`."""

    did: list[str] = field(default_factory=list)

    def stop(self, by: str) -> str:
        self.did.append("stop")
        return "stopping"

    def stop_trial(self, run_key: str, by: str) -> str:
        if run_key == "lost":
            raise UserError("there is no such trial.")
        self.did.append(f"stop {run_key}")
        return f"{run_key} ends"

    def pause(self, by: str) -> str:
        self.did.append("pause")
        return "paused"

    def resume(self) -> str:
        self.did.append("resume")
        return "goes on"

    def add(self, configs: tuple[Listed, ...]) -> str:
        self.did.append(f"add {len(configs)}")
        return "added"


@dataclass
class Driver:
    """An inbox with a clock that is moved by hand."""

    folder: Path
    ledger: Ledger
    sweep: StandInSweep = field(default_factory=StandInSweep)
    said: list[str] = field(default_factory=list)
    now: float = 0.0

    def __post_init__(self) -> None:
        self.inbox = Inbox(self.folder, self.said.append, clock=lambda: self.now)

    def look(self, after: float = 1.0) -> list[Event]:
        self.now += after
        self.inbox.take_up(self.sweep, self.ledger.events, self.ledger.append)
        return self.ledger.events()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a sweep that nobody drives."""
    Ledger.open(tmp_path / LEDGER_NAME).close()
    return tmp_path


def open_ledger(folder: Path) -> Ledger:
    return Ledger.open(folder / LEDGER_NAME)


def test_a_command_is_carried_out_once_and_noted(folder: Path) -> None:
    with open_ledger(folder) as ledger:
        driver = Driver(folder, ledger)
        command = send(folder, "pause")
        assert is_waiting(folder, command)
        (event,) = driver.look()
        assert isinstance(event, Steered)
        assert (event.id, event.do, event.outcome) == (command.id, "pause", "paused")
        assert "@" in event.by
        assert not is_waiting(folder, command)
        driver.look()
    assert driver.sweep.did == ["pause"]


def test_commands_are_carried_out_in_the_order_in_which_they_were_given(folder: Path) -> None:
    with open_ledger(folder) as ledger:
        driver = Driver(folder, ledger)
        send(folder, "pause")
        send(folder, "stop_trial", trial="t1")
        send(folder, "resume")
        driver.look()
    assert driver.sweep.did == ["pause", "stop t1", "resume"]


def test_killed_between_the_ledger_and_the_removal_it_is_not_repeated(folder: Path) -> None:
    with open_ledger(folder) as ledger:
        driver = Driver(folder, ledger)
        config = Listed(model="a", params={"learning_rate": 0.1})
        command = send(folder, "add", configs=(config,))
        kept = next((folder / "commands").glob("*.json")).read_bytes()
        driver.look()
        (folder / "commands" / f"{command.id}.json").write_bytes(kept)
    with open_ledger(folder) as ledger:
        again = Driver(folder, ledger)
        assert len(again.look()) == 1
        assert again.sweep.did == [] and not is_waiting(folder, command)


def test_what_cannot_be_done_is_answered(folder: Path) -> None:
    with open_ledger(folder) as ledger:
        driver = Driver(folder, ledger)
        send(folder, "stop_trial", trial="lost")
        (event,) = driver.look()
    assert isinstance(event, Steered) and not event.done
    assert event.outcome == "there is no such trial."


def test_only_additions_outlive_their_driver(folder: Path) -> None:
    """A stop meant for a driver that has just died must not stop the next one."""
    send(folder, "stop")
    send(folder, "add", configs=(Listed(model="a", params={"x": 1}),))
    with open_ledger(folder) as ledger:
        driver = Driver(folder, ledger)
        stopped, added = driver.look()
    assert driver.sweep.did == ["add 1"]
    assert isinstance(stopped, Steered) and not stopped.done and "earlier driver" in stopped.outcome
    assert isinstance(added, Steered) and added.configs == ({"model": "a", "params": {"x": 1}},)


def test_the_folder_is_looked_at_once_a_second(folder: Path) -> None:
    with open_ledger(folder) as ledger:
        driver = Driver(folder, ledger)
        driver.look()
        send(folder, "pause")
        assert driver.look(after=0.5) == []
        assert len(driver.look(after=0.5)) == 1


def test_a_file_that_is_no_command_is_removed_with_a_warning(folder: Path) -> None:
    with open_ledger(folder) as ledger:
        driver = Driver(folder, ledger)
        (folder / "commands").mkdir()
        (folder / "commands" / "1.json").write_text(json.dumps({"do": "format the disk"}))
        assert driver.look() == []
    assert "is no command" in driver.said[0]
    assert not list((folder / "commands").iterdir())


def test_without_a_driver_nobody_listens(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert steer.give(folder, "stop") == EXIT_FAILED
    assert "nobody listens" in capsys.readouterr().out
    assert not (folder / "commands").exists()
    config = Listed(model="a", params={"x": 1})
    assert steer.give(folder, "add", configs=(config,)) == EXIT_OK
    assert "kept for the next `sweep run`" in capsys.readouterr().out
    assert len(list((folder / "commands").glob("*.json"))) == 1


def test_a_driver_that_does_not_answer_leaves_no_command_behind(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_ledger(folder):
        assert driver_of(folder / LEDGER_NAME) is not None
        assert steer.give(folder, "stop", wait_seconds=0.3) == EXIT_FAILED
    assert "did not answer" in capsys.readouterr().out
    assert not list((folder / "commands").iterdir())


def test_a_sweep_whose_files_are_elsewhere_is_not_steered_from_here(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not here"):
        steer.give(tmp_path / "gone-1a2b3c", "stop")


@pytest.mark.fault("P12")
def test_the_ledgers_lock_tells_who_drives(folder: Path) -> None:
    path = folder / LEDGER_NAME
    assert driver_of(path) is None and driver_of(folder / "other" / LEDGER_NAME) is None
    with open_ledger(folder):
        assert str(driver_of(path)).startswith("process ")
    assert driver_of(path) is None
    assert read_events(path) == []


def test_a_command_can_be_taken_back(folder: Path) -> None:
    with open_ledger(folder) as ledger:
        driver = Driver(folder, ledger)
        command = send(folder, "stop")
        withdraw(folder, command)
        assert driver.look() == []
        withdraw(folder, command)
