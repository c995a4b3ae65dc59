"""`sweep list`: the sweeps of a store, and what they cost."""

import argparse
from typing import TYPE_CHECKING

from keepgain.core.errors import EXIT_OK, UserError
from keepgain.core.units import human_count, human_usd
from keepgain.sweeps.cli.common import add_store, print_json, print_table, say

if TYPE_CHECKING:
    from keepgain.core.store.location import StoreLocation
    from keepgain.core.store.summary import CostTotal, SweepCosts

EPILOG = """examples:
  sweep list
  sweep list --json | jq '.[].id'
  sweep list --costs                   # tokens, hours and money of each sweep, and their sum
  sweep list --costs --by month        # or user, or any tag of the specs: --by team
  sweep list --costs --by tag:month    # a tag that is named like one of those

Status: running, stale (its driver was killed), stopped (both go on with `sweep run`), finished,
failed (stopped by itself, on a server that alone knows of it), unreadable.

Costs come from the MLflow store alone: every stage, lost attempts included as far as they
reported. A GPU-hour is an hour of one GPU held by a trial; money needs `prices:` in the spec.
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "list",
        help="the sweeps of a store, and what they cost",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_store(parser)
    parser.add_argument("--costs", action="store_true", help="what each sweep cost, and the sum")
    parser.add_argument("--by", metavar="GROUP", help="of --costs: month, user or a tag")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Newest first."""
    from dataclasses import asdict

    from keepgain.core.store.location import resolve_store
    from keepgain.core.store.summary import list_sweeps
    from keepgain.sweeps.overview import ago

    if args.by is not None and not args.costs:
        raise UserError("--by groups costs.", hint="Add --costs.")
    location = resolve_store(args.store)
    if args.costs:
        return _run_costs(location, args.by, as_json=args.json)
    found = list_sweeps(location)
    if args.json:
        print_json([asdict(s) for s in found])
        return EXIT_OK
    if not found:
        say(f"no sweeps in {location.display}; `sweep run` makes one")
        return EXIT_OK
    rows = [
        [s.id, s.status, s.stage or "-", _shown(s.completed), _shown(s.failed),
         ago(s.created_ms / 1000)]
        for s in found
    ]  # fmt: skip
    print_table(["sweep", "status", "stage done", "completed", "failed", "begun"], rows)
    return EXIT_OK


def _run_costs(location: "StoreLocation", by: str | None, *, as_json: bool) -> int:
    from dataclasses import asdict

    from keepgain.core.store.summary import cost_totals, list_costs

    costs = list_costs(location)
    totals = cost_totals(costs, by)
    if as_json:
        described = {"by": by, "totals": [asdict(t) for t in totals]}
        print_json({"schema": 1, "sweeps": [asdict(c) for c in costs], **described})
        return EXIT_OK
    if not costs:
        say(f"no sweeps in {location.display}; `sweep run` makes one")
        return EXIT_OK
    figures = ["trials", "tokens", "GPU-hours", "CPU-hours", "money"]
    if by is None:
        rows = [[c.id, c.user or "-", *_figures(c)] for c in costs]
        rows += [["all", "", *_figures(t)] for t in totals]
        print_table(["sweep", "user", *figures], rows)
    else:
        rows = [[t.group, str(t.sweeps), *_figures(t)] for t in totals]
        (whole,) = cost_totals(costs, None)
        rows.append(["all", str(whole.sweeps), *_figures(whole)])
        print_table([by, "sweeps", *figures], rows)
    if unpriced := sum(t.unpriced for t in totals):
        say(f"{unpriced} without `prices.gpu_hour_usd`: not in the money")
    return EXIT_OK


def _figures(of: "SweepCosts | CostTotal") -> list[str]:
    numbers = (of.trials, of.tokens, of.gpu_hours, of.cpu_hours)
    shown = ["-" if n is None else human_count(n) for n in numbers]
    return [*shown, "-" if of.usd is None else human_usd(of.usd)]


def _shown(count: int | None) -> str:
    return "-" if count is None else str(count)
