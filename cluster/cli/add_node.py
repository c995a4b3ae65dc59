"""`cluster add-node`: one more node for a cluster of this machine."""

import argparse

from keepgain.cluster.cli.common import add_name, add_sizes, labels_of, require_cluster


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "add-node", help="one more node; its size is that of the last one unless given"
    )
    add_sizes(parser, cpus=None, gpus=None)
    add_name(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Starts it and waits until the cluster has it."""
    cluster = require_cluster(args.name)
    node = cluster.add_node(
        cpus=args.cpus, gpus=args.gpus, memory_gb=args.memory_gb, labels=labels_of(args.labels)
    )
    print(f"{cluster.name}: node {node.number} added, {node.state.cpus} CPUs")
    return 0
