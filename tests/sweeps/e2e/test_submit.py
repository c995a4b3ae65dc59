"""`sweep submit` to a real Ray head whose environment has what Keepgain needs, and no Keepgain.

The head runs in a virtual environment of its own that sees this one's packages but not the package
under test. What is submitted has packages that are named like ours, and its scorer is one of them.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from keepgain.core.status import Stage, TrialStatus
from keepgain.core.store.location import resolve_store
from keepgain.core.store.names import TAG_ROLE
from keepgain.core.store.server import ServerSettings, start_server, stop_server
from keepgain.sweeps.search.ledger import Rung, read_events
from keepgain.sweeps.search.replay import replay
from tests.sweeps.e2e.test_ray_job import TOKEN, Cluster, ray_head
from tests.sweeps.e2e.world import (
    PATIENCE,
    QUICKSTART,
    Done,
    environment,
    json_of,
    run,
    spec_text,
)

pytestmark = [pytest.mark.processes]

SCORER = """\
import json
import os

from analysis.words import same

if "SEEN" in os.environ:  # by the workers of the cluster, which --env tells where
    import keepgain.core.launch

    ours = keepgain.core.launch.__file__
    folder = os.path.dirname(os.path.dirname(os.path.dirname(ours)))
    seen = {"folder": folder, "files": os.listdir(folder)}
    with open(os.environ["SEEN"], "w") as file:
        json.dump(seen, file)


def score(prompt, reference, answer, fields):
    return same(answer, reference)
"""
WORDS = """\
def same(a, b):
    return float(a.strip() == b.strip())
"""


@pytest.fixture(scope="module")
def bare_environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scripts of an environment in which `import keepgain` fails."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (packages,) = (folder / "lib").glob("python3*/site-packages")
    ours = next(p for p in sys.path if p.endswith("site-packages"))
    # A path of a .pth file is added without that folder's own .pth files: no editable installs.
    (packages / "deps.pth").write_text(f"{ours}\n")
    return folder / "bin"


@pytest.fixture(scope="module")
def cluster(bare_environment: Path) -> Iterator[Cluster]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTHONPATH", raising=False)
        with ray_head(dashboard=True, scripts=bare_environment) as head:
            yield head


@dataclass
class Laptop:
    """A machine with the project, the token, and no view of the cluster's disk but the store."""

    folder: Path
    jobs: str

    def sweep(self, *words: str | Path, token: str = TOKEN, seconds: float = 400.0) -> Done:
        # RAY_ADDRESS points elsewhere: --address is what counts.
        env = environment(RAY_AUTH_TOKEN=token, RAY_ADDRESS="http://127.0.0.1:1")
        return run("sweep", *words, cwd=self.folder, env=env, seconds=seconds)

    def submit(self, *words: str | Path) -> Done:
        return self.sweep("submit", "sweep.yaml", "--address", self.jobs, *words)


@pytest.fixture
def laptop(cluster: Cluster, tmp_path: Path) -> Laptop:
    """The project: relative data and model, a scorer in a package called `core`."""
    folder = tmp_path / "project"
    for name in ("core", "analysis", "sweeps"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text("")
    (folder / "core" / "judge.py").write_text(SCORER)
    (folder / "analysis" / "words.py").write_text(WORDS)
    for name in ("bases", "data"):
        (folder / name).symlink_to(QUICKSTART / name)
    (folder / "private.txt").write_text("not to be uploaded")
    return Laptop(folder, cluster.jobs)


def write_sweep(laptop: Laptop, **changes: Any) -> None:
    text = spec_text(root="", **changes).replace("exact_match", "'core.judge:score'")
    (laptop.folder / "sweep.yaml").write_text(text)


def real_files(laptop: Laptop) -> None:
    """Links out of the folder are refused as paths outside of it: copies instead."""
    for name in ("bases", "data"):
        (laptop.folder / name).unlink()
    shutil.copytree(QUICKSTART / "bases" / "xs", laptop.folder / "bases" / "xs")
    shutil.copytree(QUICKSTART / "data", laptop.folder / "data")


def test_keepgain_is_not_there(cluster: Cluster, bare_environment: Path, tmp_path: Path) -> None:
    words = (bare_environment / "python", "-c")
    env = {k: v for k, v in cluster.env.items() if k != "PYTHONPATH"}
    for module, code in (("ray, torch, mlflow", 0), ("keepgain.core.launch", 1)):
        done = subprocess.run([*words, f"import {module}"], cwd=tmp_path, env=env, check=False)
        assert done.returncode == code


def test_a_submitted_sweep_is_decided_by_what_was_sent_along(
    cluster: Cluster, laptop: Laptop, tmp_path: Path
) -> None:
    real_files(laptop)
    write_sweep(laptop, trials=2, tokens=15_000)
    store = tmp_path / "store"
    seen = tmp_path / "seen.json"
    done = laptop.submit("--store", store, "--env", f"SEEN={seen}").expect()
    assert "Ray: the cluster at " in done.out and ": SUCCEEDED" in done.out
    answer = json_of(run("analyze", "--format", "json", "--store", store, cwd=tmp_path))
    sweep = answer["sweep"]["id"]
    assert answer["sweep"]["stage"] == "decided" and answer["decision"]["status"]
    assert f"job {sweep}-" in done.out and f"sweep logs {sweep}" in done.out
    record = (store / "sweeps" / sweep / "record" / "record.json").read_text()
    assert f'"ray_job": "{sweep}-' in record and '"version.keepgain"' in record
    saw = json.loads(seen.read_text())
    assert "/working_dir_files/" in saw["folder"]
    assert {"keepgain", "core", "analysis", "data", "bases", "sweep.yaml"} <= {*saw["files"]}
    assert not {*saw["files"]} & {"private.txt", "sweeps"}
    # The folder of the sweep is here, so what works on it works; the job can be followed too.
    assert f"{sweep}: finished" in laptop.sweep("status", sweep).expect().out
    assert "Ray: the cluster at " in laptop.sweep("logs", sweep, "--follow").expect().out
    told = json_of(laptop.sweep("status", "--address", laptop.jobs, sweep, "--json"))
    assert told["job"]["status"] == "SUCCEEDED" and TOKEN not in str(told)


def test_what_cannot_be_used_ends_with_two_and_one_line(laptop: Laptop, tmp_path: Path) -> None:
    write_sweep(laptop)
    outside = laptop.submit("--store", tmp_path / "store").expect(2)
    assert "outside the job's working directory" in outside.err  # links that lead out
    real_files(laptop)
    wrong = laptop.sweep(
        "submit", "sweep.yaml", "--address", laptop.jobs, "--store", tmp_path / "store",
        token="f" * 64,
    ).expect(2)  # fmt: skip
    assert "does not take the token" in wrong.err and "f" * 64 not in wrong.err
    for done in (outside, wrong):
        assert len(done.err.strip().splitlines()) == 1, done.err
    gone = laptop.sweep("status", "nothing-123456", "--address", laptop.jobs).expect(2)
    assert "has no job of a sweep 'nothing-123456'" in gone.err
    assert not (laptop.folder / ".keepgain").exists() and not (tmp_path / "store").exists()


@pytest.mark.fault("P6")
def test_a_stopped_job_is_continued_and_nothing_of_it_failed(
    cluster: Cluster, laptop: Laptop, tmp_path: Path
) -> None:
    """The record is on a server and the sweep's folder is not looked for here, as from a laptop."""
    real_files(laptop)
    write_sweep(laptop, trials=3, tokens=60_000, rungs="[0.25, 0.5, 0.75, 1]")
    work = tmp_path / "work"
    location = resolve_store(str(tmp_path / "server"), create=True)
    server, uri = start_server(ServerSettings(location, tmp_path / "server.log"))
    try:
        began = laptop.submit("--store", uri, "--work", work, "--no-follow").expect()
        sweep = next(w for w in began.out.split() if w.startswith("tiny-") and w.count("-") == 1)
        ledger = work / "sweeps" / sweep / "ledger.jsonl"
        for command in ("ray", "sweep"):
            wait_for_rung(ledger, len(rungs(ledger)))
            told = laptop.sweep("status", sweep).expect().out
            assert ": RUNNING" in told and "MLflow: RUNNING" in told and "search" in told
            assert "last sign of life" in told
            job = next(w for w in told.split() if w.startswith(f"{sweep}-")).rstrip(":")
            at = time.monotonic()
            if command == "ray":
                words = ("ray", "job", "stop", "--address", laptop.jobs, job)
                run(*words, cwd=tmp_path, env=cluster.env).expect()
            else:
                assert f"{job} is stopped" in laptop.sweep("stop", sweep).expect().out
            assert time.monotonic() - at < 60 * PATIENCE
            states = replay(read_events(ledger)).runs.values()
            assert not [r for r in states if r.status is TrialStatus.FAILED]
            assert "STOPPED" in laptop.sweep("status", sweep).expect().out
            ranked = run(
                *("analyze", sweep, "--format", "json", "--store", uri),
                cwd=tmp_path, env=environment(KEEPGAIN_WORK=str(work)),
            )  # fmt: skip
            assert json_of(ranked)["sweep"]["id"] == sweep
            if command == "ray":
                laptop.submit("--store", uri, "--work", work, "--no-follow").expect()
        last = laptop.submit("--store", uri, "--work", work).expect()
        assert f"sweep {sweep} (continued)" in last.out
        runs = list(replay(read_events(ledger)).runs.values())
        assert {r.status for r in runs} == {TrialStatus.COMPLETED}
        assert sum(r.asked.stage is Stage.SEARCH for r in runs) == 3
        assert mlflow_statuses(uri) == {"FINISHED"}
    finally:
        stop_server(server)


def rungs(ledger: Path) -> list[Rung]:
    return [e for e in read_events(ledger) if isinstance(e, Rung) and not e.report.final]


def wait_for_rung(ledger: Path, before: int) -> None:
    """Until the search has reported another rung."""
    deadline = time.monotonic() + 240 * PATIENCE
    while len(rungs(ledger)) <= before:
        assert time.monotonic() < deadline, "no trial has reported"
        time.sleep(0.1)


def mlflow_statuses(uri: str) -> set[str]:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiments = [e.experiment_id for e in client.search_experiments()]
    found = client.search_runs(experiments, max_results=1000)
    assert any(r.data.tags.get(TAG_ROLE) == "sweep" for r in found)
    return {r.info.status for r in found}
