"""`sweep stop`: end a running sweep in order, or one of its trials."""

import argparse
from pathlib import Path

from keepgain.core.errors import UserError
from keepgain.sweeps.cli.common import add_address, add_sweep
from keepgain.sweeps.cli.steer import EXIT_CODES

EPILOG = f"""examples:
  sweep stop last                       # what runs is interrupted; `sweep run` continues it
  sweep stop ticket-routing-7f3a2c --trial 3f9a1c   # one trial, by the first digits of its key

Of a sweep that `sweep submit` has started and whose folder is not here, the Ray job is stopped:
its driver gets SIGTERM, and SIGKILL three seconds later unless the cluster says otherwise
(RAY_JOB_STOP_WAIT_TIME_S).

The sweep may run in another process, or on another machine that shares the store's folder.
A trial ends as pruned: the sampler learns that it was stopped, and it is never ranked.

{EXIT_CODES}"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "stop",
        help="end a running sweep in order, or one of its trials",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_sweep(parser)
    add_address(parser)
    parser.add_argument("--trial", metavar="KEY", help="first digits of a run key")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Sends the command and waits for the answer."""
    from keepgain.sweeps.cli import away
    from keepgain.sweeps.cli.steer import give
    from keepgain.sweeps.overview import find_sweep
    from keepgain.sweeps.submitted import Away, locate

    found = locate(args.sweep, args.store, args.address)
    if isinstance(found, Away):
        if args.trial is not None:
            raise UserError(
                "a single trial is stopped through the sweep's folder, which is not here.",
                where="--trial",
                hint="Give the command where the folder is mounted.",
            )
        return away.stop(found.job)
    folder = find_sweep(found.location, found.sweep)
    if args.trial is None:
        return give(folder, "stop")
    return give(folder, "stop_trial", trial=open_trial(folder, args.trial))


def open_trial(folder: Path, key: str) -> str:
    """The run key of the one search trial that has not ended and begins with `key`.

    Raises:
        UserError: There is none, or more than one; the message lists the candidates.
    """
    from keepgain.core.status import Stage
    from keepgain.sweeps.overview import read_runs

    everything = read_runs(folder)
    searched = [r for r in everything if r.asked.stage is Stage.SEARCH]
    open_keys = [r.run_key for r in searched if not r.status.is_final]
    runs = [r for r in everything if r.run_key.startswith(key)]
    trials = [r for r in searched if r.run_key.startswith(key)]
    candidates = [k for k in open_keys if k.startswith(key)]
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        raise UserError(
            f"{len(candidates)} open trials have a key that starts with '{key}'.",
            hint=f"Give more digits: {', '.join(candidates[:8])}.",
        )
    if trials:
        raise UserError(f"trial {trials[0].run_key} has ended already: {trials[0].status}.")
    if runs:
        raise UserError(
            f"run {runs[0].run_key} belongs to the {runs[0].asked.stage} stage.",
            hint="Only trials of the search can be stopped one by one; the decision needs the "
            "others.",
        )
    raise UserError(
        f"no run of {folder.name} has a key that starts with '{key}'.",
        hint=f"Open trials: {', '.join(open_keys[:8]) or 'none'}.",
    )
