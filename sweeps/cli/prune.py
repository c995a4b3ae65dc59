"""`sweep prune`: remove the large files of a decided sweep that nothing needs any more."""

import argparse

from keepgain.core.errors import EXIT_OK
from keepgain.sweeps.cli.common import add_sweep, print_json, print_table, say

EPILOG = """examples:
  sweep prune last --dry-run            # what would go, and how much it is
  sweep prune ticket-routing-7f3a2c
  sweep prune last --keep decided       # only the weights that `sweep export` takes

What stays: the ledger, the record and all scores, so that `analyze` says the same; the weights of
the trials that --keep names, and those that another sweep of the store starts from. A later sweep
reuses a confirmed run only while its weights are there, and trains it again otherwise.

exit code: 0 done, 2 the sweep is not decided yet, or a driver works on it (nothing was removed)
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "prune",
        help="remove large files that a decided sweep need not keep",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_sweep(parser)
    parser.add_argument(
        "--keep",
        choices=("all", "front", "decided"),
        default="front",
        help="weights that stay: of every confirmed run; of trials on or near a front, and of what "
        "the decision names (default); of the decision's own trial",
    )
    parser.add_argument("--dry-run", action="store_true", help="only list what would go")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Lists what goes, with its bytes."""
    from keepgain.core.store.location import resolve_store
    from keepgain.core.units import human_bytes
    from keepgain.sweeps.kept_files import prune
    from keepgain.sweeps.overview import find_sweep
    from keepgain.sweeps.reuse import LEDGER_NAME
    from keepgain.sweeps.search.ledger import Ledger

    folder = find_sweep(resolve_store(args.store), args.sweep)
    with Ledger.open(folder / LEDGER_NAME):  # no driver may begin meanwhile
        found = prune(folder, args.keep, dry_run=args.dry_run)
    total = sum(one.bytes for one in found)
    if args.json:
        removed = [{"what": r.what, "place": str(r.place), "bytes": r.bytes} for r in found]
        print_json(
            {"sweep": folder.name, "dry_run": args.dry_run, "bytes": total, "removed": removed}
        )
        return EXIT_OK
    if found:
        print_table(
            ("removed" if not args.dry_run else "would go", "size"),
            [(one.what, human_bytes(one.bytes)) for one in found],
        )
    done = "would give free" if args.dry_run else "gave free"
    say(f"{folder.name}: {len(found)} folders, {done} {human_bytes(total)}")
    return EXIT_OK
