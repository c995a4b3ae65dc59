"""Where, when and with what a sweep ran: kept with the record, so that a figure can be traced."""

import getpass
import os
import platform
import socket
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from keepgain.cluster import ray_cluster

PACKAGES = (
    "keepgain", "ray", "optuna", "mlflow", "torch", "transformers", "peft", "deepspeed", "numpy",
)  # fmt: skip


def provenance(spec_folder: Path, cluster: str | None) -> dict[str, str]:
    """Versions, machine, commit of the folder that holds the spec, Ray job, time (UTC)."""
    facts = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "cpus": str(os.cpu_count()),
    }
    if cluster is not None:
        facts["cluster"] = cluster
    facts |= {f"version.{p}": v for p in PACKAGES if (v := _version(p)) is not None}
    if (job := ray_cluster.submission_id()) is not None:
        facts["ray_job"] = job
    return facts | _commit(spec_folder)


def person() -> str:
    """Who runs this, for the record; containers may have a user without a name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid-{os.getuid()}"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit(folder: Path) -> dict[str, str]:
    """The commit and whether the tree was clean; nothing outside a git checkout."""

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", *words], cwd=folder, capture_output=True, text=True, timeout=10, check=False
            )
        except (FileNotFoundError, subprocess.TimeoutExpired):
            return None  # no git here: there is no commit to name
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    if commit is None:
        return {}
    return {"commit": commit, "tree": "dirty" if git("status", "--porcelain") else "clean"}
