"""An MLflow server, for `sweep ui` and for a team: schema first, loopback unless asked otherwise,
jobs off, nothing unpickled, passwords in no command line, ready when it answers by its own name.
"""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from keepgain.core.errors import KeepgainError, UserError
from keepgain.core.redaction import redact
from keepgain.core.store.bootstrap import LOCK_NAME, ensure_schema, exclusive
from keepgain.core.store.client import require_reachable
from keepgain.core.store.location import StoreLocation

HOST = "127.0.0.1"
EVERYWHERE = ("0.0.0.0", "::")
READY_SECONDS = 120.0
LOG_NAME = "ui.log"
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


@dataclass(frozen=True)
class ServerSettings:
    """What a server serves, and to whom."""

    location: StoreLocation
    """Its backend: SQLite or a database server."""
    log: Path
    host: str = HOST
    """Address to listen at."""
    port: int | None = None
    """None: a free one."""
    names: tuple[str, ...] = ()
    """Host names by which clients may ask, beside loopback's; none: what MLflow allows by itself,
    which is loopback and private addresses."""
    artifacts: str | None = None
    """Where the server keeps artifacts for its clients (`s3://...`, a folder's URI); None: in the
    store's folder, from where clients on this machine read them themselves."""
    workers: int = 1
    upgrade: bool = False
    """As of `bootstrap.ensure_schema`."""


def start_ui(
    location: StoreLocation, port: int | None = None
) -> tuple["subprocess.Popen[bytes] | None", str]:
    """Starts the UI and waits until its API answers; end it with `stop_server`.

    Returns:
        The process and the address. A store that is a server has its own UI: None, its address.

    Raises:
        UserError, KeepgainError: As `start_server`.
    """
    require_reachable(location)
    if location.is_server:
        return None, location.tracking_uri
    log = location.work.parent / LOG_NAME
    return start_server(ServerSettings(location, log, port=port))


def start_server(settings: ServerSettings) -> tuple["subprocess.Popen[bytes]", str]:
    """Starts a server and waits until it answers a real question, asked by each of its names.

    Returns:
        The process, which leads a process group of its own, and the address for clients.

    Raises:
        UserError: The port is taken, the backend cannot be used, or clients would be refused.
        KeepgainError: The server ended, or was not ready within two minutes; the message has the
            end of its log.
    """
    location = settings.location
    if settings.port is not None and not 0 <= settings.port < 1 << 16:
        raise UserError(
            f"{settings.port} is not a port.", where="--port", hint="Allowed: 1 to 65535."
        )
    require_reachable(location)
    folder = location.folder or location.work.parent
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with exclusive(folder / LOCK_NAME):
        ensure_schema(location, upgrade=settings.upgrade)
    port = _free_port(settings.host, settings.port)
    # A log names the clients and what they ask for.
    descriptor = os.open(settings.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        process = subprocess.Popen(
            _command(settings, port),
            env=_environment(settings),
            cwd=settings.log.parent,
            stdout=descriptor,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C reaches us alone, and we end it in order
        )
    finally:
        os.close(descriptor)
    try:
        _await_ready(process, settings, port)
    except BaseException:
        stop_server(process)
        raise
    return process, f"http://{_bracketed(_names(settings)[0])}:{port}"


def stop_server(process: "subprocess.Popen[bytes]", timeout_seconds: float = 10.0) -> None:
    """Ends the server and its workers."""
    process.terminate()
    try:
        process.wait(timeout_seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _names(settings: ServerSettings) -> tuple[str, ...]:
    """By which clients ask; a server for everywhere is asked by a name, never by 0.0.0.0."""
    if settings.names:
        return settings.names
    return (HOST if settings.host in EVERYWHERE else settings.host,)


def _command(settings: ServerSettings, port: int) -> list[str]:
    if settings.artifacts is None:
        assert settings.location.artifacts is not None
        folder = settings.location.artifacts.as_uri()
        artifacts = ("--default-artifact-root", folder, "--artifacts-destination", folder)
    else:
        # Through the server: clients need no credentials of the storage.
        artifacts = ("--default-artifact-root", "mlflow-artifacts:/",
                     "--artifacts-destination", settings.artifacts)  # fmt: skip
    # -P: no module of the folder that it runs in. The backend's URI, which may hold a password,
    # goes by the environment, where other users cannot read it.
    return [
        *(sys.executable, "-P", "-m", "mlflow", "server"),
        *("--host", settings.host, "--port", str(port), "--workers", str(settings.workers)),
        *artifacts,
    ]


def _environment(settings: ServerSettings) -> dict[str, str]:
    environment = {
        **os.environ,
        "MLFLOW_BACKEND_STORE_URI": settings.location.tracking_uri,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    # It serves its backend: what this process records in, and by which account, is another matter.
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD",
                 "MLFLOW_TRACKING_TOKEN"):  # fmt: skip
        environment.pop(name, None)
    if settings.names:
        hosts = [f"{n}{end}" for n in (*settings.names, *_LOOPBACK) for end in ("", ":*")]
        environment["MLFLOW_SERVER_ALLOWED_HOSTS"] = ",".join(dict.fromkeys(hosts))
    return environment


def _free_port(host: str, port: int | None) -> int:
    try:
        family = socket.getaddrinfo(host, None)[0][0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port or 0))
            return int(probe.getsockname()[1])
    except OSError as error:
        what = f"port {port}" if port else f"address {host}"
        raise UserError(
            f"{what} cannot be used ({error.strerror}).",
            hint="Leave --port out to take a free one.",
        ) from None


def _await_ready(process: "subprocess.Popen[bytes]", settings: ServerSettings, port: int) -> None:
    deadline = time.monotonic() + READY_SECONDS
    waiting = list(_names(settings))
    while waiting:
        answer = probe(settings.host, port, waiting[0])
        if answer == 200:
            waiting.pop(0)
            continue
        if answer == 403:
            raise UserError(
                f"the server would refuse clients that ask for '{waiting[0]}'.",
                where="--allowed-hosts",
                hint="Name every host name that clients use.",
            )
        if process.poll() is not None:
            raise KeepgainError(f"the MLflow server ended at its start: {_tail(settings.log)}")
        if time.monotonic() > deadline:
            raise KeepgainError(
                f"the MLflow server is not ready after {READY_SECONDS:.0f} s: see {settings.log}"
            )
        time.sleep(0.2)


def probe(host: str, port: int, name: str) -> int | None:
    """HTTP status of a real question asked as `name`; None: no answer.

    `/health` says yes too early, and to anybody.
    """
    to = HOST if host in EVERYWHERE else host
    connection = http.client.HTTPConnection(to, port, timeout=5)
    headers = {"Content-Type": "application/json", "Host": f"{_bracketed(name)}:{port}"}
    question = json.dumps({"max_results": 1})
    try:
        connection.request("POST", "/api/2.0/mlflow/experiments/search", question, headers)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None  # not yet; the caller has a deadline and watches the process
    finally:
        connection.close()


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f"{redact(lines[-1]) if lines else 'no output'} (see {log})"
