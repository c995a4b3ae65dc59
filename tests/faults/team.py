"""What a team has, on loopback: two Ray nodes with a token, and MLflow on PostgreSQL."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from keepgain.cluster.local import LocalCluster, start_local_cluster
from keepgain.core.launch import free_port
from tests.faults.invariants import Left
from tests.postgres import run_postgres
from tests.sweeps.e2e.world import PATIENCE, Done, environment, run

SERVER = "team"


@dataclass
class Team:
    """A running one."""

    folder: Path
    cluster: LocalCluster
    port: int
    database_uri: str

    @property
    def url(self) -> str:
        """Of MLflow."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def work(self) -> Path:
        """Ledgers and checkpoints: a folder that all nodes have."""
        return self.folder / "work"

    @property
    def env(self) -> dict[str, str]:
        """Of commands."""
        return environment(
            KEEPGAIN_CLUSTERS=str(self.folder / "clusters"),
            KEEPGAIN_MLFLOW_BACKEND=self.database_uri,
            **self.cluster.env,
        ) | {"RAY_ADDRESS": self.cluster.jobs_address, "KEEPGAIN_WORK": str(self.work)}

    def mlflow_up(self) -> None:
        """`cluster mlflow up`."""
        words = ("cluster", "mlflow", "up", "--name", SERVER, "--port", str(self.port))
        run(*words, cwd=self.folder, env=self.env).expect()

    def mlflow_down(self) -> None:
        """`cluster mlflow down`."""
        run("cluster", "mlflow", "down", "--name", SERVER, cwd=self.folder, env=self.env).expect()

    def mlflow_processes(self) -> list[psutil.Process]:
        """The server and its workers."""
        found = []
        for one in psutil.process_iter(["cmdline"]):
            line = one.info["cmdline"] or ()
            if str(self.port) in line and any("mlflow" in w for w in line):
                found += [one, *one.children(recursive=True)]
        return list(dict.fromkeys(found))

    def submit(self, folder: Path, name: str, *words: str | Path) -> Done:
        """`ray job submit --no-wait`; `KEEPGAIN_WORK` is set on the nodes."""
        submit = ("ray", "job", "submit", "--no-wait", "--submission-id", name)
        return run(*submit, "--working-dir", folder, "--", *words, cwd=folder, env=self.env)

    def status(self, name: str) -> str:
        """The job's, in Ray's words."""
        return str(self.cluster.ask(f"/api/jobs/{name}")["status"])

    def logs(self, name: str) -> str:
        """What the job has printed."""
        return str(self.cluster.ask(f"/api/jobs/{name}/logs")["logs"])

    def wait(self, name: str, seconds: float) -> str:
        """Until the job has ended; its status."""
        deadline = time.monotonic() + seconds * PATIENCE
        while (status := self.status(name)) in ("PENDING", "RUNNING"):
            assert time.monotonic() < deadline, self.logs(name)[-3000:]
            time.sleep(0.5)
        return status

    def left(self, name: str) -> Left:
        """The sweep of this name."""
        (folder,) = [p for p in (self.work / "sweeps").glob(f"{name}-*") if p.is_dir()]
        return Left(folder.name, folder, self.url, self.folder, self.env)


@contextlib.contextmanager
def team(folder: Path, *, nodes: int = 2, cpus: int = 1) -> Iterator[Team]:
    """Starts all of it and ends all of it; skips where there is no PostgreSQL."""
    with run_postgres() as database:
        uri = database.create("mlflow")
        work = {"KEEPGAIN_WORK": str(folder / "work"), "OMP_NUM_THREADS": "1"}
        work["RAY_worker_niceness"] = "0"
        with start_local_cluster(nodes, cpus, root=folder / "clusters", env=work) as cluster:
            made = Team(folder, cluster, free_port(), uri)
            made.mlflow_up()
            try:
                yield made
            finally:
                made.mlflow_down()


def kill_now(processes: list[psutil.Process]) -> None:
    """SIGKILL, and until they are gone."""
    for one in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    psutil.wait_procs(processes, timeout=30)
