"""What the commands share: the name of a cluster, node sizes, and one that must exist."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keepgain.cluster.local import LocalCluster


def add_name(parser: argparse.ArgumentParser) -> None:
    """`--name`."""
    parser.add_argument("--name", default="local", help="of the cluster; default: local")


def add_sizes(parser: argparse.ArgumentParser, cpus: int | None, gpus: int | None) -> None:
    """What a node is to have; the defaults are those of the command."""
    parser.add_argument("--cpus", type=int, default=cpus, metavar="K", help="of each node")
    parser.add_argument("--gpus", type=int, default=gpus, metavar="G", help="of each node")
    parser.add_argument("--memory-gb", type=float, metavar="M", help="of each node")
    parser.add_argument(
        "--labels", metavar="K=V,...", help="Ray node labels, such as gpu=A100,market=spot"
    )


def labels_of(text: str | None) -> dict[str, str] | None:
    """`K=V,K=V` as a mapping; None for None.

    Raises:
        UserError: A part is not K=V.
    """
    from keepgain.core.errors import UserError

    if text is None:
        return None
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(key and equals and value for key, equals, value in pairs):
        raise UserError(f"'{text}' is not K=V,K=V.", where="--labels")
    return {key: value for key, _, value in pairs}


def require_cluster(name: str) -> "LocalCluster":
    """The cluster of this name, as its state file has it.

    Raises:
        UserError: There is none.
    """
    from keepgain.cluster.local import find_local_cluster
    from keepgain.core.errors import UserError

    cluster = find_local_cluster(name)
    if cluster is None or not cluster.address:
        raise UserError(f"no cluster '{name}' runs here.", hint="`cluster up` starts one.")
    return cluster
