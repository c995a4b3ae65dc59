"""`sweep pause` and `sweep resume`: let a running sweep wait, and go on."""

import argparse
from functools import partial
from typing import Literal

from keepgain.sweeps.cli.common import add_sweep
from keepgain.sweeps.cli.steer import EXIT_CODES

PAUSE_EPILOG = f"""examples:
  sweep pause last
  sweep resume last

Nothing new begins; what runs finishes its rung and is kept. The driver waits, and holds one worker
of the cluster at most. A driver that is ended while it waits takes the pause with it: `sweep run`
goes on.

{EXIT_CODES}"""
RESUME_EPILOG = f"""examples:
  sweep resume last

{EXIT_CODES}"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds both commands."""
    told: tuple[tuple[Literal["pause", "resume"], str, str], ...] = (
        ("pause", "let a running sweep wait", PAUSE_EPILOG),
        ("resume", "let a paused sweep go on", RESUME_EPILOG),
    )
    for name, what, epilog in told:
        parser = subparsers.add_parser(
            name,
            help=what,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        add_sweep(parser)
        parser.set_defaults(run=partial(run, name))


def run(do: Literal["pause", "resume"], args: argparse.Namespace) -> int:
    """Sends the command and waits for the answer."""
    from keepgain.core.store.location import resolve_store
    from keepgain.sweeps.cli.steer import give
    from keepgain.sweeps.overview import find_sweep

    return give(find_sweep(resolve_store(args.store), args.sweep), do)
