"""`ray start --head` and `ray job submit`: the job runs our code, keeps its record, and decides.

The submitted folder holds packages named like ours. Ray puts it first on the path of the driver
and of every worker, so plain imports would take them.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from keepgain.core.status import TrialStatus
from tests.sweeps.e2e.world import (
    BIN,
    PATIENCE,
    QUICKSTART,
    Done,
    Swept,
    environment,
    item_scores,
    json_of,
    kill,
    plant_shadows,
    run,
    write_spec,
)

TOKEN = "0123456789abcdef" * 4


@dataclass(frozen=True)
class Cluster:
    """A Ray head that listens on loopback and wants a token."""

    address: str
    jobs: str
    env: dict[str, str]

    @property
    def for_drivers(self) -> tuple[str, dict[str, str]]:
        """Address and environment of a driver that connects from outside."""
        return self.address, {k: v for k, v in self.env.items() if k != "RAY_ADDRESS"}

    def submit(self, folder: Path, *command: str | Path) -> Done:
        """`ray job submit --working-dir FOLDER -- COMMAND`, waited for."""
        submit = ("ray", "job", "submit", "--address", self.jobs, "--working-dir", folder, "--")
        return run(*submit, *command, cwd=folder, env=self.env)


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def below(folder: Path) -> list[psutil.Process]:
    """Processes that name a folder of ours in their arguments: those of this test's Ray."""
    found = []
    for one in psutil.process_iter(["cmdline"]):
        if any(str(folder) in word for word in one.info["cmdline"] or ()):
            found.append(one)
            found += one.children(recursive=True)
    return [p for p in dict.fromkeys(found) if p.pid != os.getpid()]


@contextlib.contextmanager
def ray_head(*, dashboard: bool, scripts: Path = BIN) -> Iterator[Cluster]:
    """A cluster of two CPUs; jobs can be submitted to its dashboard alone.

    Args:
        scripts: Of the environment that its nodes run in.
    """
    # Short: Ray's sockets lie below it, and their paths may have 107 characters.
    temporary = Path(tempfile.mkdtemp(prefix="kg", dir="/tmp"))
    gcs, http, agent_grpc, agent_http, client = free_ports(5)
    # The scripts of this environment, as after `source .venv/bin/activate`: jobs call `sweep`.
    path = f"{scripts}{os.pathsep}{os.environ['PATH']}"
    secured = environment(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=TOKEN, PATH=path)
    secured["RAY_DISABLE_IMPORT_WARNING"] = "1"
    started = subprocess.run(
        [
            *(str(scripts / "python"), "-c", "from ray.scripts.scripts import main; main()"),
            *("start", "--head", "--node-ip-address", "127.0.0.1"),
            *("--port", str(gcs), "--include-dashboard", str(dashboard)),
            *("--dashboard-port", str(http), "--dashboard-host", "127.0.0.1"),
            *("--ray-client-server-port", str(client)),
            *("--dashboard-agent-grpc-port", str(agent_grpc)),
            *("--dashboard-agent-listen-port", str(agent_http)),
            *("--num-cpus", "2", "--temp-dir", str(temporary), "--disable-usage-stats"),
        ],
        env=secured,
        capture_output=True,
        text=True,
        timeout=120 * PATIENCE,
        check=False,
    )
    processes = below(temporary)
    try:
        assert started.returncode == 0, started.stdout + started.stderr
        jobs = f"http://127.0.0.1:{http}"
        yield Cluster(f"127.0.0.1:{gcs}", jobs, {**secured, "RAY_ADDRESS": jobs})
    finally:
        # `ray stop` would end every Ray of this machine.
        kill(dict.fromkeys([*processes, *below(temporary)]))
        shutil.rmtree(temporary, ignore_errors=True)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with ray_head(dashboard=True) as head:
        yield head


@pytest.fixture(scope="module")
def submitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The spec and what it needs, with relative paths, and packages named like ours."""
    folder = tmp_path_factory.mktemp("submitted")
    plant_shadows(folder)
    shutil.copytree(QUICKSTART / "bases" / "xs", folder / "bases" / "xs")
    (folder / "data").mkdir()
    for name in ("far_train", "far_validation", "far_test", "general_replay",
                 "general_fact_validation", "general_fact_test"):  # fmt: skip
        shutil.copy(QUICKSTART / "data" / f"{name}.jsonl", folder / "data")
    write_spec(folder, root="")
    return folder


def test_a_job_ends_with_a_decision_by_our_code(
    cluster: Cluster, submitted: Path, finished: Swept, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    done = cluster.submit(submitted, "sweep", "run", "sweep.yaml", "--store", store).expect()
    swept = Swept(tmp_path, submitted / "sweep.yaml", store)
    assert "Ray: the cluster at " in done.out
    assert f"analyze {swept.id} --store {store}" in done.out
    answer = json_of(run("analyze", "--format", "json", "--store", store, cwd=tmp_path))
    assert answer["sweep"]["stage"] == "decided" and answer["decision"]["status"]
    states = swept.state().runs.values()
    assert {r.status for r in states} == {TrialStatus.COMPLETED}
    # Two undisturbed sweeps in two stores: same seed, same machine, same scores.
    ours, others = item_scores(swept.folder), item_scores(finished.folder)
    shared = set(ours) & set(others)
    assert {r.run_key for r in states if r.asked.stage == "search"} <= shared
    assert all(ours[key] == others[key] for key in shared)
    record = json.loads(next((swept.folder / "record").glob("*.json")).read_text())
    assert record["provenance"]["ray_job"].startswith("raysubmit_")


def test_a_job_without_a_durable_store_is_refused(cluster: Cluster, submitted: Path) -> None:
    begun = time.monotonic()
    done = cluster.submit(submitted, "sweep", "run", "sweep.yaml").expect(1)
    assert "inside a Ray job the record needs a durable store" in done.out + done.err
    assert "exit code 2" in done.out + done.err
    assert time.monotonic() - begun < 60 * PATIENCE


@pytest.fixture
def inside_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the driver of `ray job submit` sees its environment."""
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")


@pytest.mark.usefixtures("inside_a_job")
@pytest.mark.parametrize("store", ["records", "./.keepgain", "sqlite:///mlflow.db", None])
def test_a_relative_store_is_refused_inside_a_job(
    submitted: Path,
    store: str | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from keepgain.sweeps.cli.main import main

    monkeypatch.chdir(submitted)
    before = sorted(submitted.rglob("*"))
    assert main(["run", "sweep.yaml", *(["--store", store] if store else [])]) == 2
    assert "Ray job" in capsys.readouterr().err
    assert sorted(submitted.rglob("*")) == before


@pytest.mark.usefixtures("inside_a_job")
@pytest.mark.parametrize(
    ("inside", "outside", "key"),
    [
        ("data/far_train.jsonl", "../far_train.jsonl", "data.tickets.path"),
        ("data/far_validation.jsonl", "../v.jsonl", "suites.gain.validation"),
        ("path: bases/xs", "path: ../xs", "models.0"),
        ("{path: bases/xs}", "../xs", "models.0"),
    ],
)
def test_paths_outside_the_submitted_folder_are_refused(
    submitted: Path,
    inside: str,
    outside: str,
    key: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from keepgain.sweeps.cli.main import main

    folder = tmp_path / "job"
    shutil.copytree(submitted, folder)
    shutil.copytree(submitted / "bases" / "xs", tmp_path / "xs")
    spec = folder / "sweep.yaml"
    text = spec.read_text()
    assert inside in text
    spec.write_text(text.replace(inside, outside))
    monkeypatch.chdir(folder)
    store = tmp_path / "store"
    assert main(["run", "sweep.yaml", "--store", str(store)]) == 2
    error = capsys.readouterr().err
    assert key in error and "outside the job's working directory" in error
    assert not store.exists()
