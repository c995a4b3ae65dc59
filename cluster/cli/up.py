"""`cluster up`: several Ray nodes on this machine."""

import argparse
import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING

from keepgain.cluster.cli.common import add_name, add_sizes, labels_of

if TYPE_CHECKING:
    from keepgain.cluster.local import LocalCluster

EPILOG = """examples:
  cluster up --nodes 2 --cpus 1     # a head and a worker
  eval "$(cluster env)"             # in the shell that uses it

Every node is a `ray start` of its own. All listen on 127.0.0.1 and want the token in
~/.keepgain/clusters/NAME/token (or below $KEEPGAIN_CLUSTERS). CPUs and GPUs are counted, not
fenced off: nodes share what the machine has, and GPU 0 of one is GPU 0 of the others.
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "up",
        help="several Ray nodes on this machine",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--nodes", type=int, default=2, metavar="N", help="default: 2")
    add_sizes(parser, cpus=1, gpus=0)
    add_name(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Starts it and says how to use it; if it fails or is interrupted, nothing is left."""
    from keepgain.cluster.local import start_local_cluster

    signal.signal(signal.SIGTERM, _leave)
    cluster = start_local_cluster(
        args.nodes,
        args.cpus,
        args.gpus,
        args.memory_gb,
        name=args.name,
        labels=labels_of(args.labels),
    )
    print(described(cluster, args.nodes))
    return 0


def described(cluster: "LocalCluster", nodes: int) -> str:
    """What runs, where it listens, and how to use it."""
    from keepgain.cluster.marked import listening_elsewhere

    processes = cluster.processes()
    open_ports = listening_elsewhere(processes)
    where = f"NOT on loopback: {', '.join(open_ports)}" if open_ports else "all on loopback"
    named = "" if cluster.name == "local" else f" --name {cluster.name}"
    return f"""\
{cluster.name}: {nodes} {"node" if nodes == 1 else "nodes"} at {cluster.address}, \
dashboard {cluster.jobs_address} ({len(processes)} processes; {where})
Use it:
  eval "$(cluster env{named})"
  sweep run sweep.yaml --address {cluster.address}
  ray job submit --working-dir . -- sweep run sweep.yaml --store /shared/keepgain
End it:
  cluster down{named}"""


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)  # unwinds, and so takes down what was started
