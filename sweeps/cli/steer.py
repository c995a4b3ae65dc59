"""How a command line gives a command to a running sweep and says what came of it."""

import time
from pathlib import Path

from keepgain.core.errors import EXIT_FAILED, EXIT_OK, UserError
from keepgain.sweeps import steering
from keepgain.sweeps.cli.common import say
from keepgain.sweeps.reuse import LEDGER_NAME
from keepgain.sweeps.search.ledger import Steered, driver_of, read_events

WAIT_SECONDS = 60.0
"""Longest wait for an answer: a driver that starts its Ray takes up to half of that."""

EXIT_CODES = """exit code: 0 carried out, 1 nobody listens or it could not be carried out (it says
why), 2 input that cannot be used (nothing was written)
"""


def give(
    folder: Path,
    do: steering.Action,
    *,
    trial: str | None = None,
    configs: tuple[steering.Listed, ...] = (),
    wait_seconds: float = WAIT_SECONDS,
) -> int:
    """Sends a command, waits for the driver, prints its answer; returns the exit code.

    Without a driver nothing is sent, except `add`, which the next one takes up.
    """
    ledger = folder / LEDGER_NAME
    if not ledger.exists():
        raise UserError(
            f"the files of {folder.name} are not here.",
            where=str(folder),
            hint="Commands go through the sweep's folder: give them where the store's folder is "
            "mounted (KEEPGAIN_WORK names it for a store on a server).",
        )
    driver = driver_of(ledger)
    if driver is None and do != "add":
        say(f"no driver works on {folder.name} now, so nobody listens")
        say("`sweep run` with its spec continues it; `sweep status` shows where it stands")
        return EXIT_FAILED
    command = steering.send(folder, do, trial=trial, configs=configs)
    if driver is None:
        say(f"no driver works on {folder.name} now: kept for the next `sweep run`")
        return EXIT_OK
    deadline = time.monotonic() + wait_seconds
    while steering.is_waiting(folder, command):
        if time.monotonic() > deadline or driver_of(ledger) is None:
            if do == "add":
                say("not taken up yet: kept for this driver, or for the next `sweep run`")
                return EXIT_OK
            steering.withdraw(folder, command)
            say(f"{driver} did not answer within {wait_seconds:g} s; the command is withdrawn")
            return EXIT_FAILED
        time.sleep(0.2)
    for event in reversed(read_events(ledger)):
        if isinstance(event, Steered) and event.id == command.id:
            say(event.outcome)
            return EXIT_OK if event.done else EXIT_FAILED
    say("the driver could not read the command; its output says why")
    return EXIT_FAILED
