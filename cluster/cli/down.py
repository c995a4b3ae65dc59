"""`cluster down`: end a cluster of this machine, and nothing else."""

import argparse

from keepgain.cluster.cli.common import add_name

EPILOG = """It ends what this cluster started and waits until none of it is left, also after parts
of it were killed; other Rays of the machine go on (unlike `ray stop`). A sweep that runs on it is
cut off: `sweep stop` first, or let `sweep run` continue it on the next cluster.
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "down",
        help="end it; again: nothing to do",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_name(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Ends it."""
    from keepgain.cluster.local import find_local_cluster

    cluster = find_local_cluster(args.name)
    if cluster is None:
        print(f"no cluster '{args.name}' runs here")
        return 0
    count = len(cluster.processes())
    cluster.down()
    print(f"{args.name}: ended, {count} processes, none left")
    return 0
