"""`sweep list`: the sweeps of a store."""

import argparse

from keepgain.core.errors import EXIT_OK
from keepgain.sweeps.cli.common import add_store, print_json, print_table

EPILOG = """examples:
  sweep list
  sweep list --json | jq '.[].id'
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "list",
        help="the sweeps of a store",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_store(parser)
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Newest first."""
    from dataclasses import asdict

    from keepgain.core.store.location import resolve_store
    from keepgain.core.store.summary import list_sweeps
    from keepgain.sweeps.overview import ago

    location = resolve_store(args.store)
    found = list_sweeps(location)
    if args.json:
        print_json([asdict(s) for s in found])
        return EXIT_OK
    if not found:
        print(f"no sweeps in {location.display}; `sweep run` makes one")
        return EXIT_OK
    rows = [
        [s.id, s.status, s.stage or "-", _shown(s.completed), _shown(s.failed),
         ago(s.created_ms / 1000)]
        for s in found
    ]  # fmt: skip
    print_table(["sweep", "status", "stage done", "completed", "failed", "begun"], rows)
    return EXIT_OK


def _shown(count: int | None) -> str:
    return "-" if count is None else str(count)
