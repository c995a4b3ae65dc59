"""What a trial asks of a cluster, in words that name no training code."""

import socket
from typing import Literal

from keepgain.core.schema import StrictModel

Placement = Literal["pack", "spread", "strict_pack", "strict_spread"]
"""Ray's words: on few machines, on many, on one, each worker on a machine of its own."""

GPU_TYPE_LABEL = "ray.io/accelerator-type"
"""Label that Ray sets on every node whose GPUs it knows."""
COLLECTIVE_SECONDS = "KEEPGAIN_COLLECTIVE_SECONDS"
"""Environment variable of ranks: how long one waits for the others in a collective operation."""
PORT_TAKEN = 98
"""Exit code of a rank that could not listen on `MASTER_PORT` (`EADDRINUSE` on Linux)."""

PRIVATE_UMASK = 0o077
"""Of processes that write a sweep's files: these are their owner's alone."""


class ResourceRequest(StrictModel):
    """CPUs and GPUs."""

    cpus: float = 1.0
    gpus: float = 0.0


class Footprint(StrictModel):
    """What one trial takes: equal bundles, each whole on one machine, and where they may lie."""

    bundle: ResourceRequest = ResourceRequest()
    bundles: int = 1
    placement: Placement = "strict_pack"
    labels: dict[str, str] = {}
    """Of every machine that holds a bundle; a type of GPU is Ray's own label."""

    @property
    def total(self) -> ResourceRequest:
        """Of all bundles."""
        return ResourceRequest(
            cpus=self.bundle.cpus * self.bundles, gpus=self.bundle.gpus * self.bundles
        )


class LaunchSpec(StrictModel):
    """How to start the ranks of a worker: an entry point by name, so that `cluster` imports none.

    The process reads one JSON request a line on standard input and answers one JSON object a line
    on the descriptor named by `KEEPGAIN_REPLY_FD`, where an empty line is a sign of life; it must
    exit when its input closes, and with `PORT_TAKEN` when it cannot listen on `MASTER_PORT`.
    """

    entry_point: str
    """Module to run with `python -m`, e.g. `keepgain.trainers.worker`."""
    env: dict[str, str] = {}
    """Set before the process starts, hence before torch is imported."""
    world_size: int = 1
    log_path: str | None = None
    """Standard output and error of the ranks are appended here."""
    hang_seconds: float | None = None
    """A rank that works and gives no sign of life for so long is lost; None: it is waited for."""


def free_port() -> int:
    """A port that nothing on this machine listens on now."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        port: int = probe.getsockname()[1]
        return port
