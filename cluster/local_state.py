"""What is recorded of a local cluster: a folder of mode 0700 with a token and a state file."""

import fcntl
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from keepgain.core.errors import UserError
from keepgain.core.schema import StrictModel

ROOT_VARIABLE = "KEEPGAIN_CLUSTERS"
DEFAULT_NAME = "local"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,29}")


class StartedProcess(StrictModel):
    """One of Ray's own processes, as it was when its node had started."""

    pid: int
    started: float
    """Seconds since 1970; with the id it names one process for ever."""
    what: str
    """`raylet`, `gcs_server`, ..."""


class NodeState(StrictModel):
    """One node."""

    number: int
    """0 is the head."""
    cpus: int
    gpus: int = 0
    memory_gb: float | None = None
    """None: what Ray finds."""
    labels: dict[str, str] = {}
    processes: list[StartedProcess] = []


class ClusterState(StrictModel):
    """One cluster."""

    name: str
    mark: str
    """Random; see `cluster.marked`."""
    temporary: str
    """Ray's files: a short path, since sockets lie below it."""
    created: float
    """Seconds since 1970."""
    address: str = ""
    """HOST:PORT for drivers; empty until the head has started."""
    jobs_address: str = ""
    """http://HOST:PORT for `ray job submit`."""
    nodes: list[NodeState] = []


def clusters_root() -> Path:
    """`$KEEPGAIN_CLUSTERS`, else `~/.keepgain/clusters`."""
    named = os.environ.get(ROOT_VARIABLE)
    return Path(named).absolute() if named else Path.home() / ".keepgain" / "clusters"


def cluster_folder(name: str, root: Path | None = None) -> Path:
    """Where the cluster of this name keeps its state.

    Raises:
        UserError: Not a name.
    """
    if not _NAME.fullmatch(name):
        raise UserError(
            f"'{name}' cannot name a cluster: 1 to 30 of a-z, 0-9 and '-', not '-' first.",
            where="--name",
        )
    return (root or clusters_root()).absolute() / name


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keeps other commands from the same cluster.

    Raises:
        UserError: One is at work.
    """
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder.parent / f".{folder.name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"another command is at work on the cluster '{folder.name}'.",
                hint="Wait for it, or end it.",
            ) from None
        yield


def create(folder: Path) -> Path:
    """The folder with a new token in it; returns the token's path."""
    folder.mkdir(mode=0o700)
    token = folder / "token"
    descriptor = os.open(token, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(32))
    return token


def write_state(folder: Path, state: ClusterState) -> None:
    """Replaces the state file as a whole."""
    part = folder / "state.json.part"
    part.write_text(state.model_dump_json(indent=1), encoding="utf-8")
    part.chmod(0o600)
    part.replace(folder / "state.json")


def read_state(folder: Path) -> ClusterState | None:
    """The state; None without one.

    Raises:
        UserError: It is not a state file of ours.
    """
    path = folder / "state.json"
    try:
        return ClusterState.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except ValueError as error:
        said = str(error).splitlines()[0]
        raise UserError(f"cannot be read ({said}).", where=str(path)) from None


def remove(folder: Path, state: ClusterState | None) -> None:
    """Deletes the folder and Ray's files; what is gone already is no fault."""
    for path in [folder, *([Path(state.temporary)] if state else [])]:
        if path.exists():
            shutil.rmtree(path)
