"""Asks every node of a cluster, or this machine, what `cluster.findings` judges."""

import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keepgain.cluster import node_facts, ray_cluster
from keepgain.core.errors import UserError
from keepgain.core.schema import StrictModel

PACKAGES = (
    "keepgain", "ray", "torch", "transformers", "peft", "deepspeed", "safetensors", "tokenizers",
    "numpy", "pyarrow", "pydantic", "mlflow", "optuna",
)  # fmt: skip
ANSWER_SECONDS = 120.0
"""Longest wait for one node: a cold one starts a Python first."""
CLOCK_ROUNDS = 5
HERE = "this machine"


class FolderFacts(StrictModel):
    """A folder, or the nearest one above it that is there."""

    path: str
    exists: bool
    writable: bool
    free_bytes: int
    total_bytes: int


class Canary(StrictModel):
    """Why the driver's file could not be read, and the node's not be written; None: it could."""

    read: str | None
    write: str | None
    seen_by_driver: bool = True
    """What the node wrote is there for the driver."""


class MlflowAnswer(StrictModel):
    """HTTP status of a real question; None: nothing answered."""

    status: int | None
    said: str


class Token(StrictModel):
    """Where Ray finds its token."""

    in_environment: bool
    path: str
    mode: int | None
    """Mode bits of the file; None: there is none."""


class Listening(StrictModel):
    """A TCP socket that listens beyond the loopback."""

    address: str
    port: int
    program: str | None
    """Command line; None: another user's."""


class Lock(StrictModel):
    """A lock file of torch's compiled extensions."""

    path: str
    age_seconds: float


class NodeFacts(StrictModel):
    """What one node said; see `cluster.node_facts`."""

    node: str
    """For people: its host name, with its address where several have one name."""
    is_driver: bool
    host: str
    python: str
    system: str
    packages: dict[str, str | None]
    gpus: tuple[dict[str, str], ...]
    folders: dict[str, FolderFacts]
    canary: Canary | None
    mlflow: MlflowAnswer | None
    shm_bytes: int | None
    memory_bytes: int
    open_files: int
    tools: dict[str, str | None]
    locks: tuple[Lock, ...]
    auth_mode: str | None
    token: Token
    listening: tuple[Listening, ...]
    ray_gpus: float | None = None
    """As Ray counts them, as the next one; None: no cluster."""
    object_store_bytes: float | None = None
    clock_offset: float = 0.0
    """Seconds that its clock is ahead of the driver's."""
    clock_error: float = 0.0
    """Half of the round trip: the offset is known to within this."""


@dataclass(frozen=True)
class Asked:
    """What the nodes are asked about."""

    work: Path
    """Folder that all nodes must share."""
    mlflow: str | None = None
    """URL of the server; None: the store has none."""
    headers: Mapping[str, str] | None = None
    """For the server, e.g. Authorization."""


def examine(asked: Asked, address: str | None) -> tuple[NodeFacts, ...]:
    """The facts of all live nodes of the cluster at `address`, the driver's own first.

    None: of this machine alone, without Ray. What it writes below `asked.work` is removed again.

    Raises:
        UserError: No Ray answers at the address, or a node does not answer.
    """
    question: dict[str, Any] = {
        "packages": PACKAGES,
        "folders": {"work": str(asked.work), "tmp": "/tmp"},
        "mlflow": None
        if asked.mlflow is None
        else {"url": asked.mlflow, "headers": dict(asked.headers or {})},
    }
    with _canaries(asked.work) as canaries:
        here = node_facts.gather(question | {"canary": canaries.ask("driver")})
        if address is None:
            return (_facts(here, HERE, canaries.seen("driver", here["canary"]), driver=True),)
        ray_cluster.require_listening(address)
        ray_cluster.connect(address)
        try:
            return tuple(_of_nodes(question, canaries, here))
        finally:
            ray_cluster.disconnect()


class _Canaries:
    """Files by which it is seen whether a folder is the same one everywhere."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._text = secrets.token_hex(16)
        if folder is not None:
            (folder / "driver").write_text(self._text, encoding="utf-8")

    def ask(self, node: str) -> dict[str, str] | None:
        """What a node is asked; None: there is no folder to write to."""
        if self._folder is None:
            return None
        return {
            "read": str(self._folder / "driver"),
            "write": str(self._folder / f"from-{node}"),
            "text": self._text,
        }

    def seen(self, node: str, found: dict[str, Any] | None) -> dict[str, Any] | None:
        """`found`, and whether what the node wrote is here."""
        if self._folder is None or found is None:
            return found
        path = self._folder / f"from-{node}"
        deadline = time.monotonic() + 5  # network file systems show a new name a little later
        while not path.is_file() and found["write"] is None and time.monotonic() < deadline:
            time.sleep(0.1)
        return found | {"seen_by_driver": path.is_file()}

    def remove(self) -> None:
        if self._folder is not None:
            for path in self._folder.iterdir():
                path.unlink()
            self._folder.rmdir()


@contextmanager
def _canaries(work: Path) -> Iterator[_Canaries]:
    """Below `work`, which may be missing or read-only: the findings then say so."""
    folder: Path | None = work / f".doctor-{secrets.token_hex(4)}"
    try:
        folder.mkdir(mode=0o700)  # type: ignore[union-attr]
    except OSError:
        folder = None
    canaries = _Canaries(folder)
    try:
        yield canaries
    finally:
        canaries.remove()


def _of_nodes(
    question: dict[str, Any], canaries: _Canaries, here: dict[str, Any]
) -> Iterator[NodeFacts]:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    # By value: the nodes may have no Keepgain.
    ray.cloudpickle.register_pickle_by_value(node_facts)
    try:
        nodes = sorted((n for n in ray.nodes() if n["Alive"]), key=lambda n: n["NodeID"])
        probe = ray.remote(num_cpus=0)(node_facts.Probe)
        probes = {
            n["NodeID"]: probe.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(n["NodeID"], soft=False)
            ).remote()
            for n in nodes
        }
        hosts = [n["NodeManagerHostname"] for n in nodes]
        mine = _own_node(ray)
        for n in sorted(nodes, key=lambda n: n["NodeID"] != mine):
            key, host = n["NodeID"], n["NodeManagerHostname"]
            name = host if hosts.count(host) == 1 else f"{host} ({key[:6]})"
            actor = probes[key]
            try:
                asked = question | {"canary": canaries.ask(key)}
                found = ray.get(actor.facts.remote(asked), timeout=ANSWER_SECONDS)
                offset, error = _clock(lambda actor=actor: ray.get(actor.clock.remote()))
            except (ray.exceptions.RayError, TimeoutError) as error_:
                said = (str(error_).strip().splitlines() or [type(error_).__name__])[0]
                raise UserError(
                    f"node {name} does not answer ({said}).",
                    hint="`ray status` shows the nodes; end or restart this one.",
                ) from None
            yield _facts(
                found,
                name,
                canaries.seen(key, found["canary"]),
                # A driver that is no node itself (Ray's client) has only its own environment.
                driver=key == mine,
                auth_mode=here["auth_mode"] if key == mine else found["auth_mode"],
                ray_gpus=n["Resources"].get("GPU", 0.0),
                object_store_bytes=n["Resources"].get("object_store_memory"),
                clock_offset=offset,
                clock_error=error,
            )
    finally:
        ray.cloudpickle.unregister_pickle_by_value(node_facts)


def _own_node(ray: Any) -> str:
    """Id of the node that this process belongs to."""
    return str(ray.get_runtime_context().get_node_id())


def _clock(ask: Any) -> tuple[float, float]:
    """Offset of another clock in seconds and its error, from the quickest of some round trips."""
    rounds = []
    for _ in range(CLOCK_ROUNDS):
        began, start = time.time(), time.monotonic()
        theirs = ask()
        trip = time.monotonic() - start
        rounds.append((trip / 2, theirs - (began + trip / 2)))
    error, offset = min(rounds)
    return offset, error


def _facts(
    found: dict[str, Any],
    node: str,
    canary: dict[str, Any] | None,
    *,
    driver: bool,
    **more: Any,
) -> NodeFacts:
    return NodeFacts.model_validate(
        {**found, "node": node, "is_driver": driver, "canary": canary, **more}
    )


def mend(facts: NodeFacts) -> str | None:
    """Makes Ray's token file on this machine its owner's alone; returns what was done."""
    token = facts.token
    if token.mode is None or not token.mode & 0o077:
        return None
    os.chmod(token.path, 0o600)
    return f"{token.path}: mode {token.mode:04o} was changed to 0600"
