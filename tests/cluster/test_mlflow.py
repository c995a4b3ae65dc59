"""`cluster mlflow`: one real server, on SQLite and on PostgreSQL, seen from outside."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from keepgain.cluster import mlflow_server
from keepgain.core.errors import UserError
from keepgain.core.launch import free_port
from keepgain.core.store.client import new_client
from keepgain.core.store.location import resolve_store
from tests.postgres import Postgres, postgres  # noqa: F401 - a fixture

CLUSTER = Path(sys.executable).with_name("cluster")


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "clusters"
    monkeypatch.setenv("KEEPGAIN_CLUSTERS", str(folder))
    monkeypatch.delenv(mlflow_server.BACKEND_VARIABLE, raising=False)
    yield folder
    mlflow_server.down("local")


def command(*arguments: str, code: int = 0, **environment: str) -> str:
    done = subprocess.run(
        [str(CLUSTER), "mlflow", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def ask(url: str, host: str | None = None, origin: str | None = None) -> int:
    headers = {"Content-Type": "application/json"}
    headers |= {"Host": host} if host else {}
    headers |= {"Origin": origin} if origin else {}
    path = f"{url}/api/2.0/mlflow/experiments/search"
    request = urllib.request.Request(path, b'{"max_results": 1}', headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def family(pid: int) -> list[psutil.Process]:
    leader = psutil.Process(pid)
    return [leader, *leader.children(recursive=True)]


def listening(processes: list[psutil.Process]) -> set[str]:
    return {
        c.laddr.ip
        for one in processes
        for c in one.net_connections("inet")
        if c.status == psutil.CONN_LISTEN
    }


@pytest.mark.fault("S1", "S2", "S4")
@pytest.mark.processes
def test_a_server_by_default_is_for_this_machine_and_ends_whole(own_folder: Path) -> None:
    state = json.loads(command("up", "--json"))
    folder = own_folder / "local.mlflow"
    assert (folder / "mlflow.json").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    processes = family(state["pid"])
    assert len(processes) > 1 and listening(processes) == {"127.0.0.1"}
    environment = psutil.Process(state["pid"]).environ()
    assert environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert environment["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"
    assert ask(state["url"]) == 200
    assert ask(state["url"], host="evil.example.org") == 403
    assert ask(state["url"], origin="http://evil.example.org") == 403

    assert "runs already" in command("up", code=2)
    assert "runs, and answers" in command("status")
    processes[1].suspend()  # one that does not listen to SIGTERM
    assert state["url"] in command("down")
    assert not [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    assert not (folder / "mlflow.json").exists()
    assert "no MLflow server" in command("down")
    assert "none" in command("status", code=1) or "no MLflow" in command("status", code=1)


@pytest.mark.fault("S3")
@pytest.mark.processes
def test_a_server_on_postgresql_keeps_its_password_and_serves_files_itself(
    postgres: Postgres,  # noqa: F811
    own_folder: Path,
    tmp_path: Path,
) -> None:
    uri = postgres.create("team")
    said = command(
        *("up", "--allowed-hosts", "localhost", "mlflow.example.org"),
        *("--artifacts", str(tmp_path / "files"), "--port", str(free_port())),
        **{mlflow_server.BACKEND_VARIABLE: uri},
    )
    state = mlflow_server.read_state(own_folder / "local.mlflow")
    assert state is not None and state.url.startswith("http://localhost:")
    # What others can see of it: command lines, the state, the log, what was printed.
    seen = [*(" ".join(p.cmdline()) for p in family(state.pid)), said]
    seen += [f.read_text() for f in (own_folder / "local.mlflow").iterdir() if f.is_file()]
    assert not [text for text in seen if postgres.password in text]
    assert ask(state.url.replace("localhost", "127.0.0.1"), host="mlflow.example.org") == 200
    assert ask(state.url.replace("localhost", "127.0.0.1"), host="other.example.org") == 403

    location = resolve_store(state.url, create=True, cwd=tmp_path / "work")
    client = new_client(location)
    experiment = client.create_experiment("e")
    assert client.get_experiment(experiment).artifact_location.startswith("mlflow-artifacts:")
    run = client.create_run(experiment).info.run_id
    client.log_text(run, "hello", "a/b.txt")
    assert [p.read_text() for p in (tmp_path / "files").rglob("b.txt")] == ["hello"]
    assert postgres.ask("SELECT count(*) FROM runs", "team") == [(1,)]

    # Its leader is killed: `status` says so, and `down` ends what is left of it.
    processes = family(state.pid)
    os.kill(state.pid, signal.SIGKILL)
    time.sleep(0.5)
    found = mlflow_server.status("local")
    assert found is not None and not found.runs
    mlflow_server.down("local")
    assert not [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def test_what_cannot_be_served_is_refused_before_anything_starts(own_folder: Path) -> None:
    refused = [
        (("up", "--backend", "http://127.0.0.1:5000"), "a database, not another server"),
        (("up", "--artifacts", "s3://key:secret@bucket/x"), "credentials do not belong"),
        (("up", "--name", "../x"), "cannot name"),
    ]
    for arguments, words in refused:
        assert words in command(*arguments, code=2)
    assert not list(own_folder.rglob("mlflow.json"))


def test_a_process_that_has_got_the_number_later_is_left_alone(own_folder: Path) -> None:
    folder = own_folder / "local.mlflow"
    folder.mkdir(parents=True)
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE,
                                 start_new_session=True)  # fmt: skip
    state = mlflow_server.ServerState(
        pid=bystander.pid, started=time.time() - 3600, url="http://127.0.0.1:1", host="127.0.0.1",
        backend="b", artifacts="a", log="l",
    )  # fmt: skip
    mlflow_server._write_state(folder, state)
    try:
        found = mlflow_server.status("local")
        assert found is not None and not found.runs and not found.answers
        assert mlflow_server.down("local") is None
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.communicate()


def test_a_damaged_state_is_said_to_be_so(own_folder: Path) -> None:
    folder = own_folder / "local.mlflow"
    folder.mkdir(parents=True)
    (folder / "mlflow.json").write_text("{}")
    with pytest.raises(UserError, match=r"mlflow\.json"):
        mlflow_server.down("local")
    (folder / "mlflow.json").unlink()


def test_a_postgresql_of_the_tests_takes_mlflows_schema(
    postgres: Postgres,  # noqa: F811
    tmp_path: Path,
) -> None:
    """The quick one: schema, a foreign database, no server."""
    from keepgain.core.store.bootstrap import prepare_store

    location = resolve_store(postgres.create("quick"), create=True, cwd=tmp_path)
    experiment = prepare_store(location, "tickets")
    assert prepare_store(location, "tickets") == experiment
    foreign = postgres.create("foreign")
    postgres.ask("CREATE TABLE songs (x int)", "foreign")
    with pytest.raises(UserError, match="belongs to another program"):
        prepare_store(resolve_store(foreign, create=True, cwd=tmp_path), "tickets")
    assert postgres.password not in location.display
