"""`cluster status`: nodes, resources and jobs of a cluster of this machine."""

import argparse
import json

from keepgain.cluster.cli.common import add_name, require_cluster


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "status", help="its nodes, resources and jobs; exit code 1 if a node or the head is gone"
    )
    add_name(parser)
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints it."""
    from keepgain.cluster.local_status import as_text, local_status

    status = local_status(require_cluster(args.name))
    print(json.dumps(status.model_dump(), indent=2) if args.json else as_text(status))
    return 0 if status.healthy else 1
