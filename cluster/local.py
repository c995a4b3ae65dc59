"""A Ray cluster of several nodes on this machine: one `ray start` each, on loopback, with a token.

    with start_local_cluster(nodes=2, cpus=1, root=tmp_path) as cluster:
        run("sweep", "run", ..., "--address", cluster.address, env={**os.environ, **cluster.env})
        cluster.kill_node(1)
        cluster.add_node()

Ray is never imported here: what it reads from its environment (token, addresses) differs between
the clusters that one process may handle.
"""

import math
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from keepgain.cluster import marked
from keepgain.cluster.local_nodes import (
    START_SECONDS,
    ClusterFailed,
    LocalNode,
    end_all,
    last_lines,
    ray_start,
    take_down,
)
from keepgain.cluster.local_state import (
    DEFAULT_NAME,
    ClusterState,
    NodeState,
    cluster_folder,
    create,
    held,
    read_state,
    remove,
    write_state,
)
from keepgain.cluster.ray_dashboard import NoAnswer, get
from keepgain.cluster.ray_start import LOOPBACK
from keepgain.core.errors import UserError


class LocalCluster:
    """A cluster that runs; made by `start_local_cluster` or `find_local_cluster`."""

    def __init__(self, folder: Path, state: ClusterState) -> None:
        self.folder = folder
        self._state = state

    @property
    def name(self) -> str:
        return self._state.name

    @property
    def address(self) -> str:
        """127.0.0.1:PORT, for drivers (`--address`)."""
        return self._state.address

    @property
    def jobs_address(self) -> str:
        """http://127.0.0.1:PORT, for `ray job submit`; the dashboard too."""
        return self._state.jobs_address

    @property
    def token_path(self) -> Path:
        return self.folder / "token"

    @property
    def env(self) -> dict[str, str]:
        """What drivers and `ray job submit` need in their environment; holds no secret itself.

        `RAY_AUTH_TOKEN` must be unset: Ray prefers it to the file.
        """
        return {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.token_path),
            "RAY_ADDRESS": self.address,
            "RAY_API_SERVER_ADDRESS": self.jobs_address,
            **LOOPBACK,
        }

    @property
    def nodes(self) -> list[LocalNode]:
        """All that were started, in order; a killed one stays in the list."""
        return [LocalNode(n.number, n, self._mark(n.number)) for n in self._state.nodes]

    def node(self, number: int) -> LocalNode:
        """One node.

        Raises:
            UserError: There is none of this number.
        """
        for one in self.nodes:
            if one.number == number:
                return one
        known = ", ".join(str(n.number) for n in self.nodes)
        raise UserError(f"the cluster '{self.name}' has no node {number}.", hint=f"It has {known}.")

    def processes(self) -> list[psutil.Process]:
        """All that live, of all nodes."""
        return marked.marked(self._state.mark)

    def add_node(
        self,
        *,
        cpus: int | None = None,
        gpus: int | None = None,
        memory_gb: float | None = None,
        labels: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> LocalNode:
        """Starts one more node; returns when the cluster has it.

        Args:
            cpus, gpus, memory_gb, labels: As `start_local_cluster`; None: as of the last node.

        Raises:
            UserError: Sizes that make no node.
            ClusterFailed: It did not start; nothing of it is left.
        """
        _refuse_sizes(cpus, gpus, memory_gb)
        with held(self.folder):
            self._state = read_state(self.folder) or self._state
            last = self._state.nodes[-1]
            node = NodeState(
                number=last.number + 1,
                cpus=last.cpus if cpus is None else cpus,
                gpus=last.gpus if gpus is None else gpus,
                memory_gb=last.memory_gb if memory_gb is None else memory_gb,
                labels=last.labels if labels is None else dict(labels),
            )
            self._start(node, env or {})
        return self.node(node.number)

    def kill_node(self, number: int) -> list[int]:
        """SIGKILLs everything of a node at once, as when a machine loses power; returns the ids."""
        node = self.node(number)
        killed = [p.pid for p in node.processes()]
        end_all(node.mark, grace_seconds=0)
        return killed

    def alive_nodes(self) -> list[dict[str, Any]]:
        """The live nodes as Ray has them: `node_id`, `node_name` (NAME-NUMBER), resources, labels.

        A killed node is listed until Ray has missed it (some seconds).

        Raises:
            NoAnswer: The dashboard does not answer.
        """
        answer = self.ask("/api/v0/nodes")
        return [n for n in answer["data"]["result"]["result"] if n["state"] == "ALIVE"]

    def ask(self, path: str) -> Any:
        """A page of the dashboard, as JSON.

        Raises:
            NoAnswer: The dashboard does not answer.
        """
        return get(self.jobs_address, path, self.token_path.read_text().strip())

    def down(self) -> None:
        """Ends all its processes and deletes its folder; again: nothing.

        Raises:
            ClusterFailed: A process cannot be ended; the folder stays.
        """
        with held(self.folder):
            take_down(self.folder, self._state)

    def __enter__(self) -> "LocalCluster":
        return self

    def __exit__(self, *error: object) -> None:
        self.down()

    def _mark(self, number: int) -> str:
        return f"{self._state.mark}/{number}"

    def _start(self, node: NodeState, env: Mapping[str, str]) -> None:
        before = self._state
        try:
            self._state = ray_start(self.folder, before, node, env)
            write_state(self.folder, self._state)
            self._wait_until_known(node)
        except BaseException:
            self._state = before
            end_all(self._mark(node.number), grace_seconds=0)
            write_state(self.folder, before)
            raise

    def _wait_until_known(self, node: NodeState) -> None:
        """Until the dashboard lists the node and, on the head, the agent that starts jobs is up."""
        deadline = time.monotonic() + START_SECONDS
        session = Path(self._state.temporary) / str(node.number) / "session_latest"
        said = "the dashboard does not list it"
        while True:
            try:
                names = {n["node_name"] for n in self.alive_nodes()}
                if f"{self.name}-{node.number}" in names and any(
                    session.glob("dashboard_agent_listen_port_*")
                ):
                    return
            except NoAnswer as error:
                said = str(error)
            if self.node(node.number).raylet is None:
                raise ClusterFailed(
                    f"node {node.number} ended at once: {last_lines(self.folder, node)}"
                )
            if time.monotonic() > deadline:
                raise ClusterFailed(
                    f"node {node.number} is not up after {START_SECONDS:g} s: {said}"
                )
            time.sleep(0.3)


def start_local_cluster(
    nodes: int = 2,
    cpus: int = 1,
    gpus: int = 0,
    memory_gb: float | None = None,
    *,
    name: str = DEFAULT_NAME,
    root: Path | None = None,
    labels: Mapping[str, str] | None = None,
    env: Mapping[str, str] | None = None,
) -> LocalCluster:
    """Starts a head and `nodes - 1` workers; returns when all are known to the head.

    Args:
        cpus, gpus: Of each node, as Ray is to count them; they may exceed what the machine has.
        memory_gb: Of each node, in 2^30 bytes; None: what Ray finds.
        root: Folder of all clusters; None: `$KEEPGAIN_CLUSTERS`, else `~/.keepgain/clusters`.
        labels: Ray node labels of each node.
        env: More for the environment of the nodes, hence of workers and jobs.

    Raises:
        UserError: Sizes that make no cluster, or one of this name runs.
        ClusterFailed: A node did not start; nothing is left.
    """
    if nodes < 1:
        raise UserError(f"{nodes} nodes are no cluster.", where="--nodes", hint="At least 1.")
    _refuse_sizes(cpus, gpus, memory_gb)
    folder = cluster_folder(name, root)
    with held(folder):
        _refuse_second(folder)
        create(folder)
        # Not below `root`: the paths of Ray's sockets may have 107 characters.
        temporary = tempfile.mkdtemp(prefix="kg", dir="/tmp")
        state = ClusterState(
            name=name, mark=os.urandom(16).hex(), temporary=temporary, created=time.time()
        )
        # Before any process: `down` finds them even if this one is killed half way.
        write_state(folder, state)
        cluster = LocalCluster(folder, state)
        try:
            for number in range(nodes):
                node = NodeState(
                    number=number,
                    cpus=cpus,
                    gpus=gpus,
                    memory_gb=memory_gb,
                    labels=dict(labels or {}),
                )
                cluster._start(node, env or {})
        except BaseException:
            take_down(folder, state)
            raise
    return cluster


def find_local_cluster(name: str = DEFAULT_NAME, root: Path | None = None) -> LocalCluster | None:
    """The cluster of this name as its state file has it, whether or not it still lives.

    Raises:
        UserError: Not a name, or not a state file of ours.
    """
    folder = cluster_folder(name, root)
    state = read_state(folder)
    return None if state is None else LocalCluster(folder, state)


def _refuse_sizes(cpus: int | None, gpus: int | None, memory_gb: float | None) -> None:
    for name, given, least in (("--cpus", cpus, 1), ("--gpus", gpus, 0)):
        if given is not None and given < least:
            raise UserError(f"{given} makes no node.", where=name, hint=f"At least {least}.")
    if memory_gb is not None and not 0 < memory_gb < math.inf:
        raise UserError(f"{memory_gb} makes no node.", where="--memory-gb", hint="Above 0.")


def _refuse_second(folder: Path) -> None:
    """A cluster that lives is refused; what a dead one left is taken away.

    Raises:
        UserError: One lives.
    """
    state = read_state(folder)
    if state is not None:
        alive = marked.marked(state.mark)
        if alive:
            raise UserError(
                f"the cluster '{folder.name}' runs already: {len(state.nodes)} nodes at "
                f"{state.address}, {len(alive)} processes.",
                hint=f"End it with `cluster down --name {folder.name}`, or give another --name.",
            )
    remove(folder, state)
