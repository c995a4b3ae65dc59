"""`sweep logs`: the log of a run, or where the logs are."""

import argparse
from pathlib import Path

from keepgain.core.errors import EXIT_OK, UserError
from keepgain.sweeps.cli.common import add_sweep

EPILOG = """examples:
  sweep logs                        # the log files of the newest sweep
  sweep logs last --trial 3f9a1c    # the log of one run, by the first digits of its key
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
    parser.add_argument("--trial", metavar="KEY", help="first digits of a run key")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints a log, or lists them."""
    from keepgain.core.store.location import resolve_store
    from keepgain.sweeps.overview import find_sweep

    folder = find_sweep(resolve_store(args.store), args.sweep)
    if args.trial is None:
        for path in [*sorted((folder / "logs").glob("*")), *sorted(folder.glob("runs/*/*.log"))]:
            print(f"{path.stat().st_size:>9} bytes  {path}")
        return EXIT_OK
    print(_log_of(folder, args.trial).read_text(encoding="utf-8", errors="replace"), end="")
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
