"""`sweep status`: how far a sweep is, and what failed and why."""

import argparse

from keepgain.core.errors import EXIT_OK
from keepgain.sweeps.cli.common import add_address, add_sweep, print_json, print_table, say

EPILOG = """examples:
  sweep status                      # the newest sweep of the store
  sweep status ticket-routing-7f3a2c --json
  sweep status last --address http://HOST:8265   # of a cluster, from a machine outside of it

Of a sweep that `sweep submit` has started and whose folder is not here: its Ray job, and what
MLflow says where the store is a server that can be reached.
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "status",
        help="how far a sweep is, and what failed",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_sweep(parser)
    add_address(parser)
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs by stage and status, then the failures with their causes."""
    from dataclasses import asdict

    from keepgain.core.status import Stage
    from keepgain.sweeps.cli import away
    from keepgain.sweeps.overview import ago, counts, failures, find_summary, read_runs
    from keepgain.sweeps.submitted import Away, locate

    found = locate(args.sweep, args.store, args.address)
    if isinstance(found, Away):
        return away.status(found.job, as_json=args.json)
    location = found.location
    summary = find_summary(location, found.sweep)
    folder = location.sweep_folder(summary.id)
    runs = read_runs(folder)
    stages, failed = counts(runs), failures(runs)
    if args.json:
        print_json({**asdict(summary), "runs": stages, "failures": [asdict(f) for f in failed]})
        return EXIT_OK
    say(f"{summary.id}: {summary.status}, begun {ago(summary.created_ms / 1000)}")
    if summary.status == "stale":
        say("its driver was killed: `sweep run` goes on, `sweep repair` tidies up in MLflow")
    say(f"store {location.display}, files {folder}")
    statuses = sorted({s for c in stages.values() for s in c})
    rows = [
        [stage, *(str(stages[stage].get(s, 0)) for s in statuses)]
        for stage in map(str, Stage)
        if stage in stages
    ]
    print_table(["stage", *statuses], rows)
    for failure in failed:
        say(f"failed: {failure.model} {failure.run_key}: {failure.cause}: {failure.reason}")
    return EXIT_OK
