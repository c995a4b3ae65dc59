"""`sweep run`: run a sweep, or continue it."""

import argparse
import os
import shlex

from keepgain.core.errors import EXIT_FAILED, EXIT_OK
from keepgain.core.launch import PRIVATE_UMASK
from keepgain.core.redaction import redact
from keepgain.core.store.location import store_text
from keepgain.sweeps.cli.common import add_spec, say

EPILOG = """examples:
  sweep run sweep.yaml
  sweep run sweep.yaml --profile smoke          # the spec's small variant
  sweep run sweep.yaml --store /shared/keepgain # or http://HOST:5000, sqlite:///PATH
  sweep run sweep.yaml --address auto           # on the Ray cluster that runs here
  sweep run sweep.yaml --retry-failed           # and ask again for the trials that failed
  ray job submit --working-dir . -- sweep run sweep.yaml --store /shared/keepgain

With a server inside a Ray job, KEEPGAIN_WORK names the folder of ledger and checkpoints.

Running the same spec again continues it; what failed for want of a worker or of disk, and test
scores without which nothing can be decided, are tried again.

A record that MLflow has not taken to the end does not change the exit code: a warning says that it
is degraded, and `sweep repair` sends the rest.

Exit codes: 0 decided, 1 stopped (it says why), 2 input that cannot be used (nothing was written),
130 interrupted, or ended by `sweep stop` (the same command continues).
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "run",
        help="run a sweep, or continue it",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_spec(parser)
    parser.add_argument("--store", help="where to record: a folder or an MLflow tracking URI")
    parser.add_argument("--address", help="a Ray cluster; default: RAY_ADDRESS, else a local Ray")
    parser.add_argument("--slots", type=_count, help="trials at a time; default: as many as fit")
    parser.add_argument(
        "--retry-failed", action="store_true", help="ask again for what failed in an open stage"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the sweep and ends with the commands that come next."""
    from keepgain.sweeps.run import RunOptions, run_sweep

    os.umask(PRIVATE_UMASK)  # for the Ray that is started here, and its trials, as well
    options = RunOptions(
        spec=args.spec,
        profile=args.profile,
        store=args.store,
        address=args.address,
        slots=args.slots,
        retry_failed=args.retry_failed,
    )
    try:
        outcome = run_sweep(options, say)
    except SystemExit:  # what Ray makes of a SIGTERM while Tune does not run, with code 15
        raise KeyboardInterrupt from None
    asked, _ = store_text(args.store)
    where = f" --store {shlex.quote(redact(asked))}" if asked else ""
    if outcome.trouble is not None:
        say(f"warning: degraded: MLflow does not have the whole record ({outcome.trouble})")
        say(f"         `analyze` reads {outcome.folder}, which is whole; once MLflow is back:")
        say(f"sweep repair {outcome.sweep_id}{where}")
    if outcome.exit_code in (EXIT_OK, EXIT_FAILED):
        say("")
        say(f"analyze {outcome.sweep_id}{where}")
        say(f"sweep ui {outcome.sweep_id}{where}")
    return outcome.exit_code


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of at least 1")
    return int(text)
