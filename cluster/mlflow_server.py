"""The MLflow server of a team, started once on one machine: its state, its start, its end.

State is `mlflow.json` (mode 0600) in a folder `NAME.mlflow` beside those of local clusters, whose
names have no dot: the process with the time of its start, so that another one that has got its
number later is left alone.
"""

import contextlib
import json
import os
import signal
import subprocess
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from keepgain.cluster.local_state import cluster_folder, held
from keepgain.cluster.marked import is_live, recorded
from keepgain.core.errors import KeepgainError, UserError
from keepgain.core.paths import expanded
from keepgain.core.store.location import StoreLocation, resolve_store
from keepgain.core.store.server import ServerSettings, probe, start_server, stop_server

BACKEND_VARIABLE = "KEEPGAIN_MLFLOW_BACKEND"
"""URI of the server's database, where its password shall be in no shell history and no `ps`."""
STATE_NAME = "mlflow.json"
LOG_NAME = "mlflow.log"
DOWN_SECONDS = 20.0
_SQLITE_WORKERS, _WORKERS = 1, 4


@dataclass(frozen=True)
class ServerState:
    """A server that was started."""

    pid: int
    """Leader of its process group."""
    started: float
    """When the process was made, seconds since 1970 as the system says."""
    url: str
    """For clients: `sweep run --store URL`."""
    host: str
    """Address that it listens at."""
    backend: str
    """Without passwords."""
    artifacts: str
    log: str


def state_folder(name: str) -> Path:
    """The folder of a server's state, existing or not.

    Raises:
        UserError: Not a name.
    """
    folder = cluster_folder(name)
    return folder.with_name(f"{folder.name}.mlflow")


def up(
    name: str,
    backend: str | None,
    *,
    artifacts: str | None = None,
    host: str,
    port: int | None = None,
    names: tuple[str, ...] = (),
    upgrade: bool = False,
) -> tuple["subprocess.Popen[bytes]", ServerState]:
    """Starts the server and notes it; it outlives this process.

    Args:
        backend: `postgresql://...`, `sqlite:///PATH`, or a folder; None: `BACKEND_VARIABLE`, else
            the folder of the state.
        artifacts: A folder or a URI; None: beside the state or the SQLite file.

    Raises:
        UserError: It runs already, or the settings cannot be used.
        KeepgainError: It did not start.
    """
    folder = state_folder(name)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with held(folder):
        known = read_state(folder)
        if known is not None and recorded(known.pid, known.started) is not None:
            raise UserError(
                f"an MLflow server '{name}' runs already: {known.url} (process {known.pid}).",
                hint="`cluster mlflow down` ends it; another --name makes another one.",
            )
        location = _backend(backend, folder)
        where = _artifacts(artifacts, location, folder)
        process, url = start_server(
            ServerSettings(
                location=location,
                log=folder / LOG_NAME,
                host=host,
                port=port,
                names=names,
                artifacts=where,
                workers=_SQLITE_WORKERS if location.database else _WORKERS,
                upgrade=upgrade,
            )
        )
        state = ServerState(
            pid=process.pid,
            started=psutil.Process(process.pid).create_time(),
            url=url,
            host=host,
            backend=location.display,
            artifacts=where,
            log=str(folder / LOG_NAME),
        )
        try:
            _write_state(folder, state)
        except BaseException:
            stop_server(process)
            raise
    return process, state


def down(name: str) -> ServerState | None:
    """Ends the server and everything that it started; None: none ran.

    Raises:
        KeepgainError: A process of it is still there after its SIGKILL.
    """
    folder = state_folder(name)
    if not folder.exists():
        return None
    with held(folder):
        state = read_state(folder)
        if state is None:
            return None
        members = _group(state)
        for number in (signal.SIGTERM, signal.SIGKILL):
            # The first to all of them: a leader that was killed cannot end its workers.
            for member in filter(is_live, members):
                with contextlib.suppress(psutil.NoSuchProcess):
                    member.send_signal(number)
            psutil.wait_procs(members, timeout=DOWN_SECONDS / 2)
        if left := [str(p.pid) for p in _group(state)]:
            raise KeepgainError(
                f"processes of the MLflow server cannot be ended: {', '.join(left)}."
            )
        (folder / STATE_NAME).unlink()
    return state if members else None


@dataclass(frozen=True)
class Status:
    """What there is to say of a server."""

    state: ServerState
    runs: bool
    answers: bool
    """It answers a client that asks by its own name."""


def status(name: str) -> Status | None:
    """Looks at the process and asks the server; None: none was started, or it was ended."""
    state = read_state(state_folder(name))
    if state is None:
        return None
    parts = urlsplit(state.url)
    assert parts.hostname is not None and parts.port is not None
    answer = probe(state.host, parts.port, parts.hostname)
    return Status(state, recorded(state.pid, state.started) is not None, answer == 200)


def read_state(folder: Path) -> ServerState | None:
    """The state in a folder; None if there is none.

    Raises:
        UserError: It cannot be read.
    """
    path = folder / STATE_NAME
    try:
        return ServerState(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"the state of the MLflow server cannot be read ({error}).",
            where=str(path),
            hint="End the server by hand (`ps` shows `mlflow server`), and delete the file.",
        ) from None


def _write_state(folder: Path, state: ServerState) -> None:
    temporary = folder / f"{STATE_NAME}.tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
        json.dump(asdict(state), handle, indent=1)
    temporary.replace(folder / STATE_NAME)


def _backend(text: str | None, folder: Path) -> StoreLocation:
    text = text or os.environ.get(BACKEND_VARIABLE) or str(folder)
    location = resolve_store(text, create=True)
    if location.is_server:
        raise UserError(
            "the backend of a server is a database, not another server.",
            where="--backend",
            hint="A folder, sqlite:///PATH, or postgresql://USER:PASSWORD@HOST/DATABASE.",
        )
    # Its lock lies with the server's state, whatever KEEPGAIN_WORK says of sweeps.
    return location if location.folder else replace(location, work=folder / "sweeps")


def _artifacts(text: str | None, location: StoreLocation, folder: Path) -> str:
    if text is None:
        return ((location.folder or folder) / "artifacts").as_uri()
    if "://" in text:
        parts = urlsplit(text)
        if parts.password or parts.username:
            raise UserError(
                "credentials do not belong in the URI: it is on the server's command line.",
                where="--artifacts",
                hint="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for the server.",
            )
        return text
    return expanded(text, "--artifacts").resolve().as_uri()


def _group(state: ServerState) -> list[psutil.Process]:
    """Its process and the workers, which outlive one that was killed.

    They have its session. A session's number is not given out again while it has a member, so the
    only stranger can be a process with that very number.
    """
    try:
        leader = psutil.Process(state.pid)
        if abs(leader.create_time() - state.started) >= 1:
            return []
    except psutil.NoSuchProcess:
        pass  # ended, and waited for
    found = []
    for one in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getsid(one.pid) == state.pid and is_live(one):
                found.append(one)
    return found
