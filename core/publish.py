"""Folders that are either complete and unchanged, or not there: here, or in an object store.

A folder is written under a temporary name, each file synced, a manifest with sizes and hashes
added, and renamed: a kill at any moment leaves the old folder or the new one. On a URL, where
nothing can be renamed, `core.object_store` does the same with the manifest alone. Loading verifies
the manifest first, because a flipped bit in a weight file otherwise loads without a word.

Some checkpoints hold pickles, and reading one runs what is in it. Those are signed with a key that
only the sweep's own folder has (`sweep_key`), and read back by that key alone: so whoever else can
write to the shared place cannot have them unpickled.
"""

import ctypes
import hashlib
import hmac
import json
import os
import re
import secrets
import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from keepgain.core.errors import UserError
from keepgain.core.identity import canonical_json, file_digest

MANIFEST = "manifest.json"
TEMPORARY = "tmp."
KEY = "checkpoint.key"
"""In the folder of a sweep, mode 0600."""

_URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://")
_EXCHANGE = 2  # RENAME_EXCHANGE of renameat2(2)
_HERE = -100  # AT_FDCWD


class DamagedError(UserError):
    """A folder that is not there, not finished, or not what was written."""


def is_url(place: Path | str) -> bool:
    """True for `s3://bucket/folder` and the like; `file:///folder` is one too."""
    return isinstance(place, str) and _URL.match(place) is not None


def located(base: Path, text: str) -> Path | str:
    """A place as records name it: a URL, an absolute folder, or one below `base`.

    `file:///folder` is that folder, where renaming works.
    """
    if text.startswith("file:///"):
        return Path(text.removeprefix("file://"))
    return text if is_url(text) else base / text


def publish(
    target: Path | str,
    write: Callable[[Path], None],
    *,
    key: bytes | None = None,
    staging: Path | None = None,
) -> None:
    """Makes `target` appear with everything that `write` puts into the folder it is given.

    An existing `target` is replaced. Raises whatever `write` raises; `target` is then unchanged.

    Args:
        target: A folder, or a URL as of `located`.
        key: Signs the manifest; see `sweep_key`.
        staging: Existing folder on whose file system the files of a URL are written first.
    """
    if isinstance(target, Path):
        temporary = target.parent / _unique()
    else:
        assert staging is not None, "a URL needs a folder to write in first"
        temporary = staging / _unique()
    temporary.mkdir(parents=True)
    try:
        write(temporary)
        _seal(temporary, key)
        if isinstance(target, Path):
            _replace(temporary, target)
        else:
            from keepgain.core.object_store import upload

            upload(temporary, target)
    finally:
        # After a rename nothing is there; after an exchange, the old folder.
        shutil.rmtree(temporary, ignore_errors=True)


def fetch(place: Path | str, copy: Path, *, key: bytes | None = None) -> Path:
    """A published folder as files here, verified: `place` itself, or `copy` made of a URL.

    Raises:
        DamagedError: As `verify`; `copy` is then gone.
    """
    if isinstance(place, Path):
        verify(place, key=key)
        return place
    from keepgain.core.object_store import download

    try:
        download(place, copy)
        verify(copy, key=key)
    except BaseException:
        shutil.rmtree(copy, ignore_errors=True)
        raise
    return copy


def exists(place: Path | str) -> bool:
    """True if something was published there; it may be damaged."""
    if isinstance(place, Path):
        return place.exists()
    from keepgain.core.object_store import is_published

    return is_published(place)


def remove(place: Path | str) -> None:
    """Removes a published folder, its manifest first; nothing there is fine."""
    if isinstance(place, Path):
        (place / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(place, ignore_errors=True)
        return
    from keepgain.core.object_store import delete

    delete(place)


def verify(folder: Path, *, key: bytes | None = None) -> None:
    """Checks every file of a published folder against its manifest.

    Args:
        key: The manifest must be signed with it; None: whoever wrote it is trusted.

    Raises:
        DamagedError: No manifest or another's, a name that leads outside, a link, a file missing
            or added, or one with other bytes than were written.
    """
    try:
        files = parse_manifest((folder / MANIFEST).read_bytes(), str(folder), key=key)["files"]
    except OSError:
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
    # Libraries read what they find, not what a manifest names.
    for path in _all_of(folder):
        if (name := path.relative_to(folder).as_posix()) not in files and name != MANIFEST:
            raise DamagedError(f"the file '{name}' was added to it.", where=str(folder))


def parse_manifest(text: bytes, where: str, *, key: bytes | None = None) -> dict[str, Any]:
    """A manifest: `files` (name → bytes, sha256), `signature`, and whatever else it says.

    Raises:
        DamagedError: It is none, leads outside its folder, or `key` has not signed it.
    """
    try:
        manifest: dict[str, Any] = json.loads(text)
        files = {str(n): (int(e["bytes"]), str(e["sha256"])) for n, e in manifest["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise DamagedError(
            "no readable manifest, so this is not a finished checkpoint.", where=where
        ) from None
    for name in files:
        if not _is_inner(name):
            raise DamagedError(f"the manifest's file {name!r} is not inside.", where=where)
    if key is not None:
        said = str(manifest.get("signature", ""))
        if not hmac.compare_digest(said.encode(), _signature(manifest["files"], key).encode()):
            raise DamagedError(
                "this sweep has not written it (the manifest is not signed with its key).",
                where=where,
            )
    return manifest


def remove_leftovers(folder: Path) -> None:
    """Removes what killed writers left in `folder`; one process at a time writes there."""
    for path in folder.glob(f"{TEMPORARY}*"):
        shutil.rmtree(path, ignore_errors=True)


def sweep_key(folder: Path) -> bytes:
    """The key that signs the checkpoints of the sweep in `folder`; made when it is first asked for.

    Several processes may ask at once: all get the same.
    """
    path = folder / KEY
    if not path.exists():
        temporary = folder / _unique()
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(32))
                file.flush()
                os.fsync(file.fileno())
            os.link(temporary, path)  # whole, or not at all: another may have been first
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
    return path.read_bytes()


def write_json(path: Path, value: Any) -> None:
    """Readable JSON, without NaN."""
    path.write_text(json.dumps(value, indent=1, allow_nan=False), encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Reads what `write_json` wrote."""
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return value


def _seal(folder: Path, key: bytes | None) -> None:
    """Writes the manifest; everything is on disk afterwards."""
    files = sorted(p for p in _all_of(folder) if p.is_file())
    entries = {
        p.relative_to(folder).as_posix(): {"bytes": p.stat().st_size, "sha256": file_digest(p)}
        for p in files
    }
    manifest: dict[str, Any] = {"files": entries}
    if key is not None:
        manifest["signature"] = _signature(entries, key)
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1))
    for path in (*files, folder / MANIFEST, folder):
        _sync(path)


def _replace(temporary: Path, target: Path) -> None:
    if not target.exists():
        temporary.rename(target)
    elif not _exchange(temporary, target):
        # Two renames: a kill between them leaves neither, which is found and passed over.
        old = target.parent / _unique()
        target.rename(old)
        temporary.rename(target)
        old.rename(temporary)
    _sync(target.parent)


def _exchange(a: Path, b: Path) -> bool:
    """Swaps two folders in one step; False where the system or the file system cannot."""
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    return bool(call(_HERE, os.fsencode(a), _HERE, os.fsencode(b), _EXCHANGE) == 0)


def _signature(files: Mapping[str, Any], key: bytes) -> str:
    return hmac.new(key, canonical_json(files).encode(), hashlib.sha256).hexdigest()


def _is_inner(name: str) -> bool:
    """A plain relative name: no way up, no root, nothing that a file system reads otherwise."""
    path = PurePosixPath(name)
    return (
        name == str(path)
        and name not in ("", ".", MANIFEST)
        and not path.is_absolute()
        and ".." not in path.parts
        and not any(c == "\\" or ord(c) < 32 for c in name)
    )


def _all_of(folder: Path) -> list[Path]:
    """Files and links at every depth; links are not followed."""
    found = []
    for root, folders, files in os.walk(folder):
        found += [Path(root, n) for n in files]
        found += [p for n in folders if (p := Path(root, n)).is_symlink()]
    return found


def _unique() -> str:
    return f"{TEMPORARY}{uuid.uuid4().hex}"


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
