"""What a trial asks of a cluster, in words that name no training code."""

import socket

from keepgain.core.schema import StrictModel


class ResourceRequest(StrictModel):
    """Resources of one worker process."""

    cpus: float = 1.0
    gpus: float = 0.0


class LaunchSpec(StrictModel):
    """How to start the ranks of a worker: an entry point by name, so that `cluster` imports none.

    The process reads one JSON request a line on standard input and answers one JSON object a line
    on the descriptor named by `KEEPGAIN_REPLY_FD`; it must exit when its input closes.
    """

    entry_point: str
    """Module to run with `python -m`, e.g. `keepgain.trainers.worker`."""
    env: dict[str, str] = {}
    """Set before the process starts, hence before torch is imported."""
    world_size: int = 1
    resources: ResourceRequest = ResourceRequest()
    """Of each rank."""
    log_path: str | None = None
    """Standard output and error of the ranks are appended here."""


def free_port() -> int:
    """A port of the loopback that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
