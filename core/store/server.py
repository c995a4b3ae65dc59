"""The MLflow UI on the right store: one worker, jobs off, loopback, ready when it answers."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import quote

from keepgain.core.errors import KeepgainError, UserError
from keepgain.core.status import Stage
from keepgain.core.store.bootstrap import LOCK_NAME, ensure_schema, exclusive
from keepgain.core.store.client import new_client, require_reachable
from keepgain.core.store.location import StoreLocation
from keepgain.core.store.names import (
    ROLE_RUN,
    TAG_KIND,
    TAG_ROLE,
    TAG_STAGE,
    TAG_SWEEP,
    check_id,
)
from keepgain.core.store.reader import mlflow_sweeps, search_all

HOST = "127.0.0.1"
READY_SECONDS = 120.0
MAX_COMPARED = 100
"""Runs that MLflow's comparison page still draws readably."""
LOG_NAME = "ui.log"


def start_ui(
    location: StoreLocation, port: int | None = None
) -> tuple["subprocess.Popen[bytes] | None", str]:
    """Starts the UI and waits until its API answers; end it with `stop_ui`.

    Returns:
        The process and the address. A store that is a server has its own UI: None, its address.

    Raises:
        UserError: The port is taken, or the store cannot be used.
        KeepgainError: The server ended, or was not ready within two minutes; the message has the
            end of its log.
    """
    require_reachable(location)
    if location.is_server:
        return None, location.tracking_uri
    if location.database is not None:
        location.database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with exclusive(location.database.parent / LOCK_NAME):
            ensure_schema(location)
    folder = location.work.parent
    chosen = _free_port(port)
    url = f"http://{HOST}:{chosen}"
    with (folder / LOG_NAME).open("wb") as log:
        process = subprocess.Popen(
            _command(location, chosen),
            env=_environment(location),
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C reaches us alone, and we end it in order
        )
    try:
        _await_ready(process, url, folder / LOG_NAME)
    except BaseException:
        stop_ui(process)
        raise
    return process, url


def stop_ui(process: "subprocess.Popen[bytes]", timeout_seconds: float = 10.0) -> None:
    """Ends the server and its worker."""
    process.terminate()
    try:
        process.wait(timeout_seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def comparison_url(base_url: str, location: StoreLocation, sweep_id: str) -> str:
    """Link to the sweep's search trials side by side: parallel coordinates, scatter, differences.

    Sweeps of more than `MAX_COMPARED` trials, and those without any, get the link of `runs_url`.

    Raises:
        UserError: The store has no such sweep.
    """
    experiment = _experiment(location, sweep_id)
    condition = f"{_runs_of(sweep_id)} AND tags.`{TAG_KIND}` = 'trial'"
    trials = search_all(new_client(location), [experiment], condition)
    ids = [run.info.run_id for run in trials if run.data.tags.get(TAG_STAGE) == Stage.SEARCH]
    if not 2 <= len(ids) <= MAX_COMPARED:
        return runs_url(base_url, location, sweep_id)
    query = f"runs={quote(json.dumps(ids))}&experiments={quote(json.dumps([experiment]))}"
    return f"{base_url.rstrip('/')}/#/compare-runs?{query}"


def runs_url(base_url: str, location: StoreLocation, sweep_id: str) -> str:
    """Link to the table of all runs of the sweep, below their parent.

    Raises:
        UserError: The store has no such sweep.
    """
    experiment = _experiment(location, sweep_id)
    query = f"searchFilter={quote(_runs_of(sweep_id), safe='')}"
    return f"{base_url.rstrip('/')}/#/experiments/{experiment}/runs?{query}"


def _runs_of(sweep_id: str) -> str:
    return f"tags.`{TAG_SWEEP}` = '{sweep_id}' AND tags.`{TAG_ROLE}` = '{ROLE_RUN}'"


def _experiment(location: StoreLocation, sweep_id: str) -> str:
    found = mlflow_sweeps(location, check_id(sweep_id))
    if not found:
        raise UserError(
            f"no sweep '{sweep_id}' in store {location.display}.",
            hint="`sweep list` shows the ids.",
        )
    return str(found[0][2].info.experiment_id)


def _command(location: StoreLocation, port: int) -> list[str]:
    assert location.artifacts is not None
    artifacts = location.artifacts.as_uri()
    # -P: no module of the folder that it runs in. The store's URI, which may hold a password, goes
    # by the environment, where other users cannot read it.
    return [
        *(sys.executable, "-P", "-m", "mlflow", "server"),
        *("--host", HOST, "--port", str(port), "--workers", "1"),
        *("--default-artifact-root", artifacts, "--artifacts-destination", artifacts),
    ]


def _environment(location: StoreLocation) -> dict[str, str]:
    return {
        **os.environ,
        "MLFLOW_BACKEND_STORE_URI": location.tracking_uri,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


def _free_port(port: int | None) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port or 0))
        except OSError as error:
            raise UserError(
                f"port {port} cannot be used ({error.strerror}).",
                hint="Leave --port out to take a free one.",
            ) from None
        return int(probe.getsockname()[1])


def _await_ready(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not _answers(url):
        if process.poll() is not None:
            raise KeepgainError(f"the MLflow UI ended at its start: {_tail(log)}")
        if time.monotonic() > deadline:
            raise KeepgainError(
                f"the MLflow UI is not ready after {READY_SECONDS:.0f} s: see {log}"
            )
        time.sleep(0.2)


def _answers(url: str) -> bool:
    """True if a real question is answered: `/health` says yes too early, and to anybody."""
    request = urllib.request.Request(
        f"{url}/api/2.0/mlflow/experiments/search",
        data=json.dumps({"max_results": 1}).encode(),
        headers={"Content-Type": "application/json"},
    )
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(request, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False  # not yet; the caller has a deadline and watches the process


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f"{lines[-1] if lines else 'no output'} (see {log})"
