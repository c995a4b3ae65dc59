"""`sweep repair`: make MLflow's record of a sweep agree with its ledger."""

import argparse
from typing import TYPE_CHECKING

from keepgain.core.errors import EXIT_FAILED, EXIT_OK
from keepgain.sweeps.cli.common import add_sweep, print_json, say

if TYPE_CHECKING:
    from keepgain.sweeps.repair import Report

EPILOG = """examples:
  sweep repair last                         # after a crash, or an outage of MLflow
  sweep repair ticket-routing-7f3a2c --dry-run
  sweep repair last --store http://mlflow.example.org:5000 --json

Nothing is trained and nothing decided: what the ledger and the spool have is sent, runs that a dead
driver left RUNNING are ended, runs that were made twice are deleted (MLflow can restore them). An
MLflow that lost its database gets everything again. `sweep run` continues the sweep, repaired or
not; a sweep that runs is left alone.

Exit codes: 0 MLflow agrees with the ledger, 1 it does not (it says in what), 2 no such sweep, or a
store that cannot be used.
"""
SHOWN = 20
"""Differences in a list for people."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "repair",
        help="make MLflow's record of a sweep agree with its ledger",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_sweep(parser)
    parser.add_argument("--dry-run", action="store_true", help="compare only; change nothing")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Says what was found, what was done and what is left."""
    from dataclasses import asdict

    from keepgain.core.store.location import resolve_store
    from keepgain.core.store.names import check_id
    from keepgain.sweeps.overview import find_summary
    from keepgain.sweeps.repair import repair

    location = resolve_store(args.store)
    given = args.sweep
    known = given != "last" and location.sweep_folder(check_id(given)).is_dir()
    sweep_id = given if known else find_summary(location, given).id
    quiet = args.json

    def tell(text: str) -> None:
        if not quiet:
            say(text)

    report = repair(location, sweep_id, dry_run=args.dry_run, say=tell)
    if args.json:
        print_json({"schema": 1, **asdict(report), "agrees": report.agrees})
    else:
        _show(report)
    return EXIT_OK if report.agrees else EXIT_FAILED


def _show(report: "Report") -> None:
    say(f"{report.sweep}: {report.runs} runs by the ledger")
    say(f"  lines of the spool that MLflow did not have: {report.unshipped}")
    say(f"  runs that a dead driver left RUNNING: {len(report.stale)}")
    say(f"  runs that were made twice: {len(report.duplicates)}")
    say(f"  differences: {len(report.found)}")
    if report.rebuilt:
        say(f"  written anew from the ledger: {report.rebuilt} lines of the spool")
    if report.agrees:
        say("MLflow agrees with the ledger")
        return
    say(f"MLflow does not agree with the ledger: {len(report.left)} differences")
    for difference in report.left[:SHOWN]:
        say(f"  {difference.run_key} {difference.what}")
    if len(report.left) > SHOWN:
        say(f"  ... and {len(report.left) - SHOWN} more (--json lists all)")
    if report.dry_run:
        say(f"sweep repair {report.sweep} puts that in order")
