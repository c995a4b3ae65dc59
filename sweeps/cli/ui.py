"""`sweep ui`: MLflow's UI on the right store, with the link to the comparison."""

import argparse
from typing import TYPE_CHECKING

from keepgain.core.errors import EXIT_OK
from keepgain.sweeps.cli.common import add_sweep, say

if TYPE_CHECKING:
    from keepgain.core.store.location import StoreLocation

EPILOG = """examples:
  sweep ui                          # the newest sweep, on a free port of this machine
  sweep ui last --port 5000
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "ui",
        help="MLflow's UI on this store",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_sweep(parser)
    parser.add_argument("--port", type=int, help="default: a free one")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs until Ctrl-C."""
    from keepgain.core.store.location import resolve_store
    from keepgain.core.store.server import start_ui, stop_server
    from keepgain.sweeps.overview import find_sweep

    location = resolve_store(args.store)
    sweep_id = find_sweep(location, args.sweep).name
    say("starting MLflow (some ten seconds) ...")
    process, url = start_ui(location, args.port)
    if process is None:
        say(f"the store is a server with its own UI: {url}")
        _say_links(url, location, sweep_id)
        return EXIT_OK
    try:
        say(f"MLflow: {url}")
        _say_links(url, location, sweep_id)
        say("Ctrl-C ends it.")
        process.wait()
    except KeyboardInterrupt:
        pass  # how one leaves a server
    finally:
        stop_server(process)
    return EXIT_OK


def _say_links(url: str, location: "StoreLocation", sweep_id: str) -> None:
    from keepgain.core.store.links import comparison_url, runs_url

    say(f"all runs of {sweep_id}: {runs_url(url, location, sweep_id)}")
    say(f"its search trials compared: {comparison_url(url, location, sweep_id)}")
