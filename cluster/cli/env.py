"""`cluster env`: what a shell must set to use a cluster of this machine."""

import argparse
import shlex

from keepgain.cluster.cli.common import add_name, require_cluster

EPILOG = """examples:
  eval "$(cluster env)"
  cluster env > cluster.env; . ./cluster.env

It holds the path of the token, not the token.
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "env",
        help="what a shell must set to use it",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_name(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints lines for `eval`."""
    cluster = require_cluster(args.name)
    print("unset RAY_AUTH_TOKEN")  # Ray prefers it to the file
    for name, value in cluster.env.items():
        print(f"export {name}={shlex.quote(value)}")
    return 0
