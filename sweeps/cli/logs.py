"""`sweep logs`: the log of a run, or where the logs are."""

import argparse
from pathlib import Path

from keepgain.core.errors import EXIT_OK, UserError
from keepgain.core.redaction import redacted_lines
from keepgain.core.terminal import shown
from keepgain.sweeps.cli.common import add_address, add_sweep, say

EPILOG = """examples:
  sweep logs                        # the log files of the newest sweep
  sweep logs last --trial 3f9a1c    # the log of one run, by the first digits of its key
  sweep logs last --follow          # of a sweep that `sweep submit` has started: what its job says
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "logs",
        help="the log of a run",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_sweep(parser)
    add_address(parser)
    parser.add_argument("--trial", metavar="KEY", help="first digits of a run key")
    parser.add_argument(
        "-f", "--follow", action="store_true", help="of a submitted sweep: until its job ends"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints a log, or lists them."""
    from keepgain.sweeps.cli import away
    from keepgain.sweeps.overview import find_sweep
    from keepgain.sweeps.submitted import Away, locate

    found = locate(args.sweep, args.store, args.address, prefer_job=args.follow)
    if isinstance(found, Away):
        if args.trial is not None:
            raise UserError(
                "the logs of single runs lie in the sweep's folder, which is not here.",
                where="--trial",
                hint=f"Without --trial: the log of job {found.job.job}.",
            )
        return away.logs(found.job, follows=args.follow)
    if args.follow:
        raise UserError(
            "only the jobs of `sweep submit` can be followed.",
            where="--follow",
            hint="`sweep run` prints where it was started.",
        )
    folder = find_sweep(found.location, found.sweep)
    if args.trial is None:
        for path in [*sorted((folder / "logs").glob("*")), *sorted(folder.glob("runs/*/*.log"))]:
            say(f"{path.stat().st_size:>9} bytes  {path}")
        return EXIT_OK
    with _log_of(folder, args.trial).open(encoding="utf-8", errors="replace") as log:
        # Programs of the user's own may have written there, past what redacts the worker's output.
        for line in redacted_lines(log):
            print(shown(line), end="")
    return EXIT_OK


def _log_of(folder: Path, key: str) -> Path:
    logs = [p for p in sorted(folder.glob("runs/*/worker.log")) if p.parent.name.startswith(key)]
    if len(logs) != 1:
        which = "no run has" if not logs else f"{len(logs)} runs have"
        known = ", ".join(p.parent.name for p in (logs or sorted(folder.glob("runs/*/worker.log"))))
        raise UserError(
            f"{which} a log and a key that starts with '{key}'.", hint=f"Runs: {known}."
        )
    return logs[0]
