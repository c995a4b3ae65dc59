"""What lives of a local cluster, by its own processes and by what Ray says."""

from typing import Any

from keepgain.cluster.local import LocalCluster, LocalNode
from keepgain.cluster.marked import listening_elsewhere
from keepgain.cluster.ray_dashboard import NoAnswer
from keepgain.core.schema import StrictModel
from keepgain.core.terminal import clean


class NodeStatus(StrictModel):
    """One node that was started."""

    number: int
    alive: bool
    """Its raylet runs and Ray counts it."""
    node_id: str | None
    """Ray's; None if Ray does not count it."""
    cpus: float
    gpus: float
    memory_gb: float | None
    """None if Ray does not count it."""
    labels: dict[str, str]
    raylet_pid: int | None
    processes: int


class JobStatus(StrictModel):
    """One of `ray job submit`."""

    id: str
    status: str
    entrypoint: str


class LocalStatus(StrictModel):
    """A cluster now."""

    name: str
    address: str
    jobs_address: str
    healthy: bool
    """The head answers and every node lives."""
    problem: str | None
    """What the head said instead of an answer."""
    nodes: list[NodeStatus]
    jobs: list[JobStatus]
    not_on_loopback: list[str]
    """ADDRESS:PORT and the process that listens there."""


def local_status(cluster: LocalCluster) -> LocalStatus:
    """Asks the processes and the dashboard; a head that is gone is a finding, not an error."""
    problem = None
    alive: dict[str, dict[str, Any]] = {}
    jobs: list[JobStatus] = []
    try:
        alive = {n["node_name"]: n for n in cluster.alive_nodes()}
        jobs = [_job(j) for j in cluster.ask("/api/jobs/")]
    except NoAnswer as error:
        problem = str(error)
    nodes = [_node(n, alive.get(f"{cluster.name}-{n.number}")) for n in cluster.nodes]
    return LocalStatus(
        name=cluster.name,
        address=cluster.address,
        jobs_address=cluster.jobs_address,
        healthy=problem is None and all(n.alive for n in nodes),
        problem=problem,
        nodes=nodes,
        jobs=jobs,
        not_on_loopback=listening_elsewhere(cluster.processes()),
    )


def as_text(status: LocalStatus) -> str:
    """For people."""
    lines = [f"{status.name}: {status.address}, dashboard {status.jobs_address}"]
    if status.problem:
        lines.append(f"the head is gone: {status.problem}")
    for n in status.nodes:
        labels = "".join(f" {k}={v}" for k, v in sorted(n.labels.items()))
        memory = "" if n.memory_gb is None else f", {n.memory_gb:.1f} GiB"
        lives = f"alive, raylet {n.raylet_pid}" if n.alive else "DEAD"
        lines.append(
            f"  node {n.number}{' (head)' if n.number == 0 else ''}: {lives}, {n.cpus:g} CPUs, "
            f"{n.gpus:g} GPUs{memory}, {n.processes} processes{labels}"
        )
    lines += [f"  job {j.id}: {j.status}, {j.entrypoint[:80]}" for j in status.jobs]
    lines += [f"  NOT on loopback: {port}" for port in status.not_on_loopback]
    return "\n".join(map(clean, lines))


def _node(node: LocalNode, listed: dict[str, Any] | None) -> NodeStatus:
    resources = (listed or {}).get("resources_total", {})
    raylet = node.raylet
    return NodeStatus(
        number=node.number,
        alive=listed is not None and raylet is not None,
        node_id=listed and listed["node_id"],
        cpus=resources.get("CPU", 0.0),
        gpus=resources.get("GPU", 0.0),
        memory_gb=resources["memory"] / 1024**3 if "memory" in resources else None,
        labels=node.state.labels,
        raylet_pid=raylet.pid if raylet else None,
        processes=len(node.processes()),
    )


def _job(listed: dict[str, Any]) -> JobStatus:
    return JobStatus(
        id=listed.get("submission_id") or listed.get("job_id") or "",
        status=listed.get("status") or "",
        entrypoint=listed.get("entrypoint") or "",
    )
