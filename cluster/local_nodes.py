"""One node of a local cluster: its `ray start`, and the processes that this leaves behind."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from keepgain.cluster import marked
from keepgain.cluster.local_state import ClusterState, NodeState, StartedProcess, remove
from keepgain.cluster.ray_start import LOOPBACK
from keepgain.core.errors import KeepgainError
from keepgain.core.launch import free_port

START_SECONDS = 180.0
"""For one `ray start`, and again until the dashboard knows the node (14 s and 7 s on two cores)."""
OBJECT_STORE_BYTES = 256 * 1024**2
"""Of each node. Trials pass files, not objects; Ray's own default is 30 % of memory per node."""
JOB_STOP_SECONDS = 60
"""Between SIGTERM and SIGKILL of `ray job stop` (Ray: 3): a sweep writes down what it has."""

# Decided here; the rest of the environment goes to the nodes, and so to jobs.
_DECIDED = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_AUTH_", "RAY_JOB_CONFIG", "RAY_TMPDIR")


class ClusterFailed(KeepgainError):  # noqa: N818 - an event, named as such
    """A node did not start, or did not end."""


@dataclass(frozen=True)
class LocalNode:
    """A node as it was started; it may have died since."""

    number: int
    state: NodeState
    mark: str

    @property
    def raylet(self) -> psutil.Process | None:
        """Its raylet; None once it has ended."""
        return self._own("raylet")

    @property
    def gcs(self) -> psutil.Process | None:
        """The head's GCS server; None once it has ended, and on other nodes."""
        return self._own("gcs_server")

    def processes(self) -> list[psutil.Process]:
        """What lives of it: Ray's own, workers, job drivers, and what these started."""
        return marked.marked(self.mark)

    def _own(self, what: str) -> psutil.Process | None:
        for one in self.state.processes:
            if one.what == what:
                return marked.recorded(one.pid, one.started)
        return None


def ray_start(
    folder: Path, state: ClusterState, node: NodeState, env: Mapping[str, str]
) -> ClusterState:
    """Runs `ray start` to its end.

    Args:
        env: More for the environment of the node.

    Returns:
        The state with this node in it and, if it is the head, with the addresses.

    Raises:
        ClusterFailed: With the last lines of what Ray said.
    """
    temporary = Path(state.temporary) / str(node.number)
    words = _words(state, node, temporary)
    dashboard_port = free_port()
    if node.number == 0:
        words += ["--head", "--port", "0", "--ray-client-server-port", str(free_port())]
        words += ["--dashboard-host", "127.0.0.1", "--dashboard-port", str(dashboard_port)]
    with _log(folder, node).open("wb") as log:
        try:
            done = subprocess.run(
                [sys.executable, "-m", "keepgain.cluster.ray_start", *words],
                env=_environment(folder, state, node, env),
                cwd=state.temporary,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C at a terminal is not for the cluster
                timeout=START_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ClusterFailed(
                f"node {node.number} did not start within {START_SECONDS:g} s: "
                f"{last_lines(folder, node)}"
            ) from None
    if done.returncode != 0:
        raise ClusterFailed(
            f"node {node.number} did not start (exit code {done.returncode}): "
            f"{last_lines(folder, node)}"
        )
    known = node.model_copy(update={"processes": _own_processes(f"{state.mark}/{node.number}")})
    new: dict[str, object] = {"nodes": [*state.nodes, known]}
    if node.number == 0:
        new["address"] = (temporary / "ray_current_cluster").read_text().strip()
        new["jobs_address"] = f"http://127.0.0.1:{dashboard_port}"
    return state.model_copy(update=new)


def end_all(mark: str, also: Iterable[psutil.Process] = (), grace_seconds: float = 5.0) -> None:
    """`marked.end`, and that nothing is left.

    Raises:
        ClusterFailed: A process cannot be ended.
    """
    left = marked.end(mark, also, grace_seconds=grace_seconds)
    if left:
        raise ClusterFailed(f"processes {left} did not end by SIGKILL within 30 s.")


def take_down(folder: Path, state: ClusterState | None) -> None:
    """Ends the processes of a cluster, then deletes its folder; the caller holds it.

    Raises:
        ClusterFailed: A process cannot be ended; the folder stays.
    """
    if state is not None:
        own = [marked.recorded(p.pid, p.started) for n in state.nodes for p in n.processes]
        end_all(state.mark, [p for p in own if p])
    remove(folder, state)


def last_lines(folder: Path, node: NodeState) -> str:
    """The end of what its `ray start` said, in one line."""
    lines = [line.strip() for line in _log(folder, node).read_text(errors="replace").splitlines()]
    return " | ".join([line for line in lines if line][-3:])[-600:] or "it said nothing"


def _log(folder: Path, node: NodeState) -> Path:
    return folder / f"node-{node.number}.log"


def _words(state: ClusterState, node: NodeState, temporary: Path) -> list[str]:
    words = ["start", "--node-ip-address", "127.0.0.1", "--disable-usage-stats"]
    words += ["--temp-dir", str(temporary), "--node-name", f"{state.name}-{node.number}"]
    words += ["--num-cpus", str(node.cpus), "--num-gpus", str(node.gpus)]
    words += ["--object-store-memory", str(OBJECT_STORE_BYTES)]
    # Its default is one port for all nodes; Ray chooses the others where they are not given.
    words += ["--dashboard-agent-listen-port", "0"]
    if node.memory_gb is not None:
        words += ["--memory", str(int(node.memory_gb * 1024**3))]
    if node.labels:
        words += ["--labels", ",".join(f"{k}={v}" for k, v in sorted(node.labels.items()))]
    if node.number > 0:
        words += ["--address", state.address]
    return words


def _environment(
    folder: Path, state: ClusterState, node: NodeState, env: Mapping[str, str]
) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(_DECIDED)}
    return {
        **kept,
        "RAY_JOB_STOP_WAIT_TIME_S": str(JOB_STOP_SECONDS),
        # Jobs call `sweep`: that of this environment.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        **env,
        **LOOPBACK,
        **marked.KEEP_ENVIRONMENT,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
        "RAY_USAGE_STATS_ENABLED": "0",
        marked.VARIABLE: f"{state.mark}/{node.number}",
    }


def _own_processes(mark: str) -> list[StartedProcess]:
    """What `ray start` left behind, and what this has started by now."""
    found = []
    for one in marked.marked(mark):
        with contextlib.suppress(psutil.NoSuchProcess), one.oneshot():
            name = one.name()
            scripts = [Path(w).stem for w in one.cmdline() if w.endswith(".py")]
            what = scripts[0] if scripts and name.startswith("python") else name
            found.append(StartedProcess(pid=one.pid, started=one.create_time(), what=what))
    return sorted(found, key=lambda p: p.pid)
