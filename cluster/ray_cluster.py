"""Which Ray a sweep runs on, and how many trials it can hold at a time."""

import json
import logging
import os
import re
import secrets
import socket
import sys
from dataclasses import dataclass

from keepgain.core.errors import UserError
from keepgain.core.launch import ResourceRequest

JOB_CONFIG_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Set by Ray in the driver process of `ray job submit`."""
CONNECT_SECONDS = 5.0

_HOST_AND_PORT = re.compile(r"(?:ray://)?\[?([^\[\]/]+?)\]?:(\d+)")


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster that this process is connected to."""

    described: str
    """For people: local or which address, and its size."""
    cpus: float
    gpus: float
    nodes: int
    is_local: bool
    """True if it was started for this sweep, and ends with it."""


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
        raise _no_answer(address, error) from None
    resources = ray.cluster_resources()
    total_cpus, gpus = resources.get("CPU", 0.0), resources.get("GPU", 0.0)
    nodes = sum(1 for node in ray.nodes() if node["Alive"])
    where = f"the cluster at {address}" if address else "a local Ray, started for this sweep"
    described = f"{where}: {nodes} node{'s' if nodes > 1 else ''}, {total_cpus:g} CPUs"
    return Cluster(
        described=f"{described}, {gpus:g} GPUs",
        cpus=total_cpus,
        gpus=gpus,
        nodes=nodes,
        is_local=address is None,
    )


def slots(cluster: Cluster, per_trial: ResourceRequest, wanted: int | None = None) -> Slots:
    """How many trials run at a time.

    Raises:
        UserError: Not even one fits; the message shows the arithmetic.
    """
    limits = [("CPUs", cluster.cpus, per_trial.cpus), ("GPUs", cluster.gpus, per_trial.gpus)]
    fits = [(int(have / need + 1e-9), n, have, need) for n, have, need in limits if need > 0]
    if not fits:
        raise UserError("a trial must ask for a CPU or a GPU.", where="resources")
    count, name, have, need = min(fits)
    if count < 1:
        raise UserError(
            f"a trial needs {need:g} {name}; the cluster has {have:g}.",
            where="resources",
            hint="Lower the need of a trial, or use a larger cluster.",
        )
    why = f"{have:g} {name} / {need:g} a trial"
    if wanted is not None and wanted < count:
        return Slots(wanted, f"as the spec asks; {why} would allow {count}")
    return Slots(count, why)


def disconnect() -> None:
    """Leaves the cluster; a local one ends."""
    import ray

    ray.shutdown()


def _no_answer(address: str | None, error: Exception) -> UserError:
    said = (str(error).splitlines() or [type(error).__name__])[0]
    if address is None:
        return UserError(
            f"no Ray could be started on this machine ({said}).",
            hint="It has 30 seconds to come up: try again when less is running here.",
        )
    return UserError(
        f"no Ray cluster answers at '{address}' ({said}).",
        hint="Check --address and RAY_ADDRESS, or leave both out for a local Ray.",
    )
