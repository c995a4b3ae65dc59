"""Which Ray a sweep runs on, and how many trials it can hold at a time."""

import json
import logging
import os
import re
import resource
import secrets
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from keepgain.cluster.placement import Node, arithmetic, refusal, trials_that_fit
from keepgain.core.errors import UserError
from keepgain.core.launch import Footprint

JOB_CONFIG_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Set by Ray in the driver process of `ray job submit`."""
CONNECT_SECONDS = 5.0
OPEN_FILES = 1024
"""Of one process: the default of most systems."""

_HOST_AND_PORT = re.compile(r"(?:ray://)?\[?([^\[\]/]+?)\]?:(\d+)")


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster that this process is connected to."""

    described: str
    """For people: local or which address, and its size."""
    nodes: tuple[Node, ...]
    is_local: bool
    """True if it was started for this sweep, and ends with it."""

    @property
    def has_gpu(self) -> bool:
        """Whether any node has one."""
        return any(node.gpus >= 1 for node in self.nodes)


@dataclass(frozen=True)
class Slots:
    """Trials at a time, and the arithmetic behind it."""

    count: int
    why: str


def inside_ray_job() -> bool:
    """True in the driver of `ray job submit`."""
    return JOB_CONFIG_VARIABLE in os.environ


def is_remote(address: str | None) -> bool:
    """True if `address` names a Ray that runs already, perhaps on other machines."""
    return address is not None and address != "local"


def submission_id() -> str | None:
    """Id of the Ray job that this process drives; None outside one."""
    try:
        metadata = json.loads(os.environ.get(JOB_CONFIG_VARIABLE, "{}")).get("metadata") or {}
    except ValueError:
        return None  # another Ray writes it otherwise: a figure less in the record
    found = metadata.get("job_submission_id")
    return None if found is None else str(found)


def require_listening(address: str | None = None) -> None:
    """Fails within seconds if nothing listens at `address`, else at `RAY_ADDRESS`.

    Ray itself tries for minutes (over four, measured on 2.60).

    Raises:
        UserError: Names the address and what it said.
    """
    address = address or os.environ.get("RAY_ADDRESS")
    match = _HOST_AND_PORT.fullmatch(address or "")
    if match is None:
        return  # `auto` and `local` are Ray's to find
    try:
        socket.create_connection((match[1], int(match[2])), CONNECT_SECONDS).close()
    except OSError as error:
        raise _no_answer(address, error) from None


def require_open_files() -> None:
    """Allows this process, and the Ray that it starts, as many open files as they need.

    Raises:
        UserError: The limit is lower, and may not be raised from here.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft != unlimited and soft < OPEN_FILES and (hard == unlimited or hard >= OPEN_FILES):
        resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, hard))
    elif soft != unlimited and soft < OPEN_FILES:
        raise UserError(
            f"this process may have {soft} open files; a sweep needs {OPEN_FILES}.",
            hint=f"Raise the limit: `ulimit -n {OPEN_FILES}`, or ask who set it.",
        )


def connect(address: str | None = None, *, cpus: int | None = None) -> Cluster:
    """Connects to `address`, else to `RAY_ADDRESS`, else starts a Ray of its own on this machine.

    Args:
        cpus: Processors of a Ray started here; None: all of this machine's.

    Raises:
        UserError: No Ray answers at the address.
    """
    address = address or os.environ.get("RAY_ADDRESS")
    if address is None and "ray" not in sys.modules:
        # A token of its own: Ray's default differs between versions, and the token file that it
        # would make is world-readable and changes what a later `ray start` does. Ray reads both
        # variables when it is imported, not later.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        # Ray's word for a Ray of one machine, whose processes listen on the loopback alone;
        # otherwise most of its ports are open to the network (2.60).
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    import ray

    try:
        ray.init(
            address=address or "local",
            num_cpus=None if address else cpus,
            include_dashboard=None if address else False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            configure_logging=False,
        )
    except Exception as error:  # a node that is not up within 30 s raises no narrower class
        raise _no_answer(address, error, listens=_answered(address)) from None
    nodes = live_nodes()
    where = f"the cluster at {address}" if address else "a local Ray, started for this sweep"
    size = (
        f"{len(nodes)} node{'s' if len(nodes) > 1 else ''}, "
        f"{sum(node.cpus for node in nodes):g} CPUs, {sum(node.gpus for node in nodes):g} GPUs"
    )
    return Cluster(f"{where}: {size}", nodes, is_local=address is None)


def live_nodes() -> tuple[Node, ...]:
    """Of the cluster that this process is connected to, as they are now."""
    import ray

    return tuple(
        Node(
            cpus=node["Resources"].get("CPU", 0.0),
            gpus=node["Resources"].get("GPU", 0.0),
            labels=dict(node.get("Labels") or {}),
        )
        for node in ray.nodes()
        if node["Alive"]
    )


def slots(nodes: Sequence[Node], footprint: Footprint, wanted: int | None = None) -> Slots:
    """How many trials run at a time.

    Raises:
        UserError: Not even one fits; the message shows the arithmetic.
    """
    if footprint.bundle.cpus <= 0 and footprint.bundle.gpus <= 0:
        raise UserError("a trial must ask for a CPU or a GPU.", where="resources")
    count = trials_that_fit(nodes, footprint)
    if count < 1:
        raise refusal(nodes, footprint)
    why = arithmetic(nodes, footprint)
    if wanted is not None and wanted < count:
        return Slots(wanted, f"as the spec asks; {why} would allow {count}")
    return Slots(count, why)


def disconnect() -> None:
    """Leaves the cluster; a local one ends."""
    import ray

    ray.shutdown()


def _answered(address: str | None) -> bool:
    try:
        require_listening(address)
    except UserError:
        return False
    return _HOST_AND_PORT.fullmatch(address or "") is not None


def _no_answer(address: str | None, error: Exception, *, listens: bool = False) -> UserError:
    said = (str(error).splitlines() or [type(error).__name__])[0]
    if address is None:
        return UserError(
            f"no Ray could be started on this machine ({said}).",
            hint="It has 30 seconds to come up: try again when less is running here.",
        )
    hint = "Check --address and RAY_ADDRESS, or leave both out for a local Ray."
    if listens:
        hint = f"Something listens: is its token yours (RAY_AUTH_TOKEN), its Ray as new? {hint}"
    return UserError(f"no Ray cluster answers at '{address}' ({said}).", hint=hint)
