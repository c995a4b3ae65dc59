"""`sweep submit`: run a sweep as a job of a Ray cluster, from a machine outside of it."""

import argparse

from keepgain.core.errors import EXIT_INTERRUPTED, EXIT_OK
from keepgain.sweeps.cli.common import add_spec, say

EPILOG = """examples:
  sweep submit sweep.yaml --address http://HOST:8265 --store /shared/keepgain
  sweep submit sweep.yaml --address http://HOST:8265 --store http://MLFLOW:5000 --work /shared/work
  sweep submit sweep.yaml --address http://HOST:8265 --store nodes   # KEEPGAIN_STORE of the nodes
  sweep submit sweep.yaml --address http://HOST:8265 --store /shared/keepgain --env HF_HUB_OFFLINE=1

The spec and its data are checked here first; then what the spec names by relative paths is
uploaded (100 MiB at most, packed), with Keepgain itself. Paths below the folder that you are in
stay as they are; absolute paths must exist on every node.

The cluster's token: RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH. Passwords and tokens are refused in
--store and --env, because Ray shows both in its dashboard: set them on the nodes.

Afterwards `sweep status`, `sweep logs --follow` and `sweep stop` work from here. Submitting the
same spec again continues the sweep.

Exit codes: that of the sweep when it is followed to its end (0 decided, 1 stopped, 2 input that
cannot be used), 130 stopped from outside. With --no-follow, or Ctrl-C while following, the job
goes on: 0 and 130.
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "submit",
        help="run a sweep as a job of a Ray cluster",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_spec(parser)
    parser.add_argument(
        "--address", required=True, help="of the cluster's dashboard, http://HOST:8265"
    )
    parser.add_argument(
        "--store",
        help="where the job records: a folder that every node has, a server's URI, or `nodes`; "
        "default: KEEPGAIN_STORE or MLFLOW_TRACKING_URI of this machine",
    )
    parser.add_argument(
        "--work",
        help="folder for ledgers and checkpoints beside a server; default: KEEPGAIN_WORK, with "
        "`--store nodes` that of the nodes",
    )
    parser.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="NAME[=VALUE]",
        help="for the job's environment; NAME alone: as it is here",
    )
    parser.add_argument(
        "--retry-failed", action="store_true", help="as of `sweep run`: ask again for what failed"
    )
    parser.add_argument("--no-follow", action="store_true", help="do not wait for the job")
    parser.add_argument(
        "--image-has-keepgain",
        action="store_true",
        help="use the cluster's own Keepgain; default: this machine's is sent along",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Submits, and follows the job's log to its end."""
    from keepgain.sweeps.submit import SubmitOptions, submit

    note, jobs = submit(
        SubmitOptions(
            spec=args.spec,
            address=args.address,
            profile=args.profile,
            store=args.store,
            work=args.work,
            env=tuple(args.env),
            sends_keepgain=not args.image_has_keepgain,
            more=("--retry-failed",) if args.retry_failed else (),
        ),
        say,
    )
    say(f"job {note.job} on {note.address}" + (f": sweep {note.sweep}" if note.sweep else ""))
    if args.no_follow:
        _say_next(note.sweep or note.job)
        return EXIT_OK
    from keepgain.sweeps.cli.away import follow

    try:
        state, sweep = follow(note, jobs)
    except KeyboardInterrupt:
        say(f"\nthe job goes on; `sweep stop {note.sweep or note.job}` ends it")
        _say_next(note.sweep or note.job)
        return EXIT_INTERRUPTED
    say(f"job {note.job}: {state.status}")
    if state.status == "FAILED" and state.driver_exit_code is None:
        say(state.message)  # it did not come to a driver, whose own words would be in the log
    _say_next(sweep or note.job)
    return state.exit_code


def _say_next(name: str) -> None:
    say(f"sweep status {name}")
    say(f"sweep logs {name} --follow")
