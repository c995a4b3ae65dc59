"""Folders that are either complete and unchanged, or not there.

A folder is written under a temporary name, each file synced, a manifest with sizes and hashes
added, and renamed: a kill at any moment leaves the old folder or the new one. Loading verifies the
manifest first, because a flipped bit in a weight file otherwise loads without a word.
"""

import json
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keepgain.core.errors import UserError
from keepgain.core.identity import file_digest

MANIFEST = "manifest.json"
TEMPORARY = "tmp."


class DamagedError(UserError):
    """A folder that is not there, not finished, or not what was written."""


def publish(target: Path, write: Callable[[Path], None]) -> None:
    """Makes `target` appear with everything that `write` puts into the folder it is given.

    An existing `target` is replaced. Raises whatever `write` raises; `target` is then unchanged.
    """
    temporary = target.parent / f"{TEMPORARY}{uuid.uuid4().hex}"
    temporary.mkdir(parents=True)
    try:
        write(temporary)
        files = sorted(p for p in temporary.rglob("*") if p.is_file())
        manifest = {
            str(p.relative_to(temporary)): {"bytes": p.stat().st_size, "sha256": file_digest(p)}
            for p in files
        }
        (temporary / MANIFEST).write_text(json.dumps({"files": manifest}, indent=1))
        for path in (*files, temporary / MANIFEST, temporary):
            _sync(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    if target.exists():
        # A folder cannot be replaced in one step; both moves are renames, so nothing is half there.
        old = target.parent / f"{TEMPORARY}{uuid.uuid4().hex}"
        target.rename(old)
        temporary.rename(target)
        shutil.rmtree(old)
    else:
        temporary.rename(target)
    _sync(target.parent)


def verify(folder: Path) -> None:
    """Checks every file of a published folder against its manifest.

    Raises:
        DamagedError: No manifest, a name that leads outside, a link, a file missing, or one with
            other bytes than were written.
    """
    try:
        files: dict[str, Any] = json.loads((folder / MANIFEST).read_text())["files"]
    except (OSError, ValueError, KeyError):
        raise DamagedError(
            "no readable manifest, so this is not a finished checkpoint.", where=str(folder)
        ) from None
    for name, entry in files.items():
        path = folder / name
        inside = path.resolve().is_relative_to(folder.resolve())
        if not inside or path.is_symlink() or not path.is_file():
            raise DamagedError(f"the file '{name}' is missing or not inside.", where=str(folder))
        if path.stat().st_size != entry["bytes"] or file_digest(path) != entry["sha256"]:
            raise DamagedError(
                f"the file '{name}' is not what was written (size or SHA-256 differ).",
                where=str(folder),
            )


def remove_leftovers(folder: Path) -> None:
    """Removes what killed writers left in `folder`; one process at a time writes there."""
    for path in folder.glob(f"{TEMPORARY}*"):
        shutil.rmtree(path, ignore_errors=True)


def write_json(path: Path, value: Any) -> None:
    """Readable JSON, without NaN."""
    path.write_text(json.dumps(value, indent=1, allow_nan=False), encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Reads what `write_json` wrote."""
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return value


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
