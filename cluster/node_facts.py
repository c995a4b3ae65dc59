"""What one machine says about itself, for `sweep doctor`. The standard library alone.

Sent to the nodes of a cluster by value, so that Keepgain need not be installed there: nothing here
may refer to another module of ours, and every import is at the top of this file.
"""

import glob
import importlib.metadata
import os
import platform
import resource
import shutil
import socket
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import Any

TCP_LISTEN = "0A"
"""State of a socket in /proc/net/tcp."""


class Probe:
    """One a node: an actor on a cluster, an ordinary object on this machine."""

    def facts(self, question: dict[str, Any]) -> dict[str, Any]:
        """As `gather`."""
        return gather(question)

    def clock(self) -> float:
        """Seconds since 1970."""
        return time.time()


def gather(question: dict[str, Any]) -> dict[str, Any]:
    """All facts of this machine, as JSON values.

    Args:
        question: `packages` (names), `folders` (label → path), `canary` (None, or `read` and
            `write`: paths, `text`: to be found and to be written), `mlflow` (None, or `url` and
            `headers`).
    """
    return {
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": {name: _version(name) for name in question["packages"]},
        "gpus": _gpus(),
        "folders": {label: _folder(path) for label, path in question["folders"].items()},
        "canary": _canary(question["canary"]),
        "mlflow": _mlflow(question["mlflow"]),
        "shm_bytes": _size("/dev/shm"),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "open_files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "tools": {name: _tool(name) for name in ("g++", "ninja")},
        "locks": _locks(),
        "auth_mode": os.environ.get("RAY_AUTH_MODE"),
        "token": _token(),
        "listening": _listening(),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _gpus() -> list[dict[str, str]]:
    """Name, memory and driver of each, as nvidia-smi has them; none without it."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    words = [program, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return [{"name": f"nvidia-smi failed: {error}", "memory": "", "driver": ""}]
    if done.returncode:
        said = (done.stdout + done.stderr).strip().splitlines()[:1]
        return [{"name": f"nvidia-smi failed: {' '.join(said)}", "memory": "", "driver": ""}]
    rows = [[cell.strip() for cell in line.split(",")] for line in done.stdout.splitlines()]
    return [dict(zip(("name", "memory", "driver"), row, strict=False)) for row in rows if row]


def _folder(path: str) -> dict[str, Any]:
    """Of the folder, or of the nearest one above it that is there."""
    near = os.path.abspath(path)
    while not os.path.isdir(near) and near != os.path.dirname(near):
        near = os.path.dirname(near)
    usage = shutil.disk_usage(near)
    return {
        "path": path,
        "exists": os.path.isdir(path),
        "writable": os.access(near, os.W_OK | os.X_OK),
        "free_bytes": usage.free,
        "total_bytes": usage.total,
    }


def _canary(asked: dict[str, str] | None) -> dict[str, str | None] | None:
    """Why the driver's file could not be read here, and why ours could not be written; None: both
    could."""
    if asked is None:
        return None
    found: dict[str, str | None] = {"read": None, "write": None}
    try:
        with open(asked["read"], encoding="utf-8") as file:
            if file.read() != asked["text"]:
                found["read"] = "another file lies there"
    except OSError as error:
        found["read"] = error.strerror or str(error)
    try:
        with open(asked["write"], "x", encoding="utf-8") as file:
            file.write(asked["text"])
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        found["write"] = error.strerror or str(error)
    return found


def _mlflow(asked: dict[str, Any] | None) -> dict[str, Any] | None:
    """HTTP status of a real question, and what was said; status None: nothing answered."""
    if asked is None:
        return None
    headers = {"Content-Type": "application/json", **asked["headers"]}
    address = asked["url"].rstrip("/") + "/api/2.0/mlflow/experiments/search"
    request = urllib.request.Request(address, data=b'{"max_results": 1}', headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return {"status": answer.status, "said": ""}
    except urllib.error.HTTPError as error:
        return {"status": error.code, "said": error.read(300).decode(errors="replace")}
    except (OSError, ValueError) as error:
        return {"status": None, "said": str(getattr(error, "reason", error))}


def _size(path: str) -> int | None:
    try:
        return shutil.disk_usage(path).total
    except OSError:
        return None


def _tool(name: str) -> str | None:
    """Where a program is, on the PATH or beside this Python."""
    beside = os.path.join(os.path.dirname(sys.executable), name)
    return shutil.which(name) or (beside if os.access(beside, os.X_OK) else None)


def _locks() -> list[dict[str, Any]]:
    """Lock files of torch's compiled extensions and their ages in seconds: a killed build leaves
    one, and whoever comes later waits for it without end."""
    root = os.environ.get("TORCH_EXTENSIONS_DIR") or os.path.expanduser("~/.cache/torch_extensions")
    found = []
    for pattern in ("*/lock", "*/*/lock"):
        for path in glob.glob(os.path.join(glob.escape(root), pattern)):
            try:
                age = time.time() - os.stat(path).st_mtime
            except FileNotFoundError:
                continue  # its build has just ended
            found.append({"path": path, "age_seconds": age})
    return found


def _token() -> dict[str, Any]:
    """Where Ray finds its token: in the environment, or in a file with a mode."""
    path = os.environ.get("RAY_AUTH_TOKEN_PATH") or os.path.expanduser("~/.ray/auth_token")
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode)
    except OSError:
        mode = None
    return {"in_environment": bool(os.environ.get("RAY_AUTH_TOKEN")), "path": path, "mode": mode}


def _listening() -> list[dict[str, Any]]:
    """TCP sockets that listen beyond the loopback: port, address and the program, if it is ours to
    see. Linux; empty elsewhere."""
    sockets: dict[str, tuple[str, int]] = {}
    for name, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        try:
            with open(f"/proc/net/{name}") as table:
                lines = table.read().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            columns = line.split()
            host, _, port = columns[1].partition(":")
            if columns[3] == TCP_LISTEN and not _is_loopback(address := _address(host, family)):
                sockets[columns[9]] = (address, int(port, 16))
    owners = _owners(set(sockets))
    return sorted(
        (
            {"address": address, "port": port, "program": owners.get(inode)}
            for inode, (address, port) in sockets.items()
        ),
        key=lambda s: s["port"],
    )


def _address(text: str, family: int) -> str:
    """From the kernel's hexadecimal words, each in the byte order of the machine."""
    words = [bytes.fromhex(text[at : at + 8]) for at in range(0, len(text), 8)]
    raw = b"".join(word[::-1] if sys.byteorder == "little" else word for word in words)
    return socket.inet_ntop(family, raw)


def _is_loopback(address: str) -> bool:
    return address == "::1" or address.removeprefix("::ffff:").startswith("127.")


def _owners(inodes: set[str]) -> dict[str, str]:
    """Inode of a socket → the command line that holds it; processes of others are not seen."""
    found: dict[str, str] = {}
    for folder in glob.glob("/proc/[0-9]*"):
        try:
            for entry in os.listdir(f"{folder}/fd"):
                link = os.readlink(f"{folder}/fd/{entry}")
                inode = link[8:-1] if link.startswith("socket:[") else ""
                if inode in inodes:
                    with open(f"{folder}/cmdline", "rb") as file:
                        found[inode] = file.read().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it ended meanwhile, or is somebody else's
    return found
