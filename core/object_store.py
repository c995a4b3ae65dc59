"""Published folders on URLs of fsspec: `s3://bucket/folder`, `gs://...` and the like.

Object stores cannot rename. So the files of a folder go below an attempt's name that nobody can
guess, and the manifest is written last, as one object that names the attempt: that is the commit.
Readers look at the manifest alone. What killed writers left is removed by the next one.

    URL/manifest.json        {"files": {...}, "attempt": "attempt-1f..."}
    URL/attempt-1f.../...    the files

Credentials are not in URLs: the libraries find them in their own environment variables and files.
"""

import json
import re
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from keepgain.core.errors import UserError
from keepgain.core.publish import MANIFEST, DamagedError, is_url, parse_manifest

PACKAGES = {
    "s3": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "az": "adlfs",
    "hdfs": "pyarrow",
}
"""Protocol → the package that speaks it, which the user installs on every node."""
ATTEMPT = re.compile(r"attempt-[0-9a-f]{32}")
_AZURE = ("abfs", "abfss")  # `abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/...`


def check_place(text: str, where: str, *, absolute: bool = True) -> str:
    """A folder or URL that can be published to, without a slash at its end; nothing is contacted.

    Args:
        where: `file:key` for messages.
        absolute: Folders must be.

    Raises:
        UserError: Credentials in it, an unknown protocol or one whose package is not installed, or
            a relative folder.
    """
    if "::" in text or ("://" in text and not is_url(text)):
        raise UserError("not a plain URL.", where=where, hint=f"Known: {_known()}.")
    if not is_url(text):
        if absolute and not Path(text).is_absolute():
            raise UserError(
                f"'{text}' is not an absolute path.",
                where=where,
                hint=f"Give a folder that all nodes have, or a URL ({_known()}).",
            )
        return text.rstrip("/") or "/"
    parts = urlsplit(text)
    user, at, host = parts.netloc.rpartition("@")
    if at and (parts.scheme not in _AZURE or ":" in user):
        raise UserError(
            f"the URL {parts.scheme}://***@{host}{parts.path} has credentials in it, which would "
            "stand in records and logs.",
            where=where,
            hint="Leave them out: the library reads its own environment variables and files.",
        )
    if parts.query or parts.fragment:
        raise UserError(
            f"the URL {parts.scheme}://{parts.netloc}{parts.path} has options behind it.",
            where=where,
            hint="Give a plain URL; options stand in the library's own configuration.",
        )
    if parts.scheme == "file":
        return check_place(parts.netloc + parts.path, where)
    if parts.scheme not in PACKAGES:
        raise UserError(
            f"unknown protocol '{parts.scheme}'.", where=where, hint=f"Known: {_known()}."
        )
    if not parts.netloc and parts.scheme != "hdfs":
        raise UserError(f"the URL '{text}' names no bucket.", where=where)
    _require(parts.scheme, where)
    return text.rstrip("/")


def upload(folder: Path, url: str) -> None:
    """Publishes the sealed `folder`; what was at `url` is replaced in the last step.

    Raises:
        OSError: The store did not take a file; what was there still is.
    """
    files, root = _filesystem(url)
    manifest = json.loads((folder / MANIFEST).read_text())
    attempt = f"attempt-{uuid.uuid4().hex}"
    try:
        for name, entry in manifest["files"].items():
            files.put_file(str(folder / name), f"{root}/{attempt}/{name}")
            if (there := files.size(f"{root}/{attempt}/{name}")) != entry["bytes"]:
                raise OSError(f"{url}: {name} has {there} bytes there, not {entry['bytes']}")
    except BaseException:
        _remove_attempts(files, root, keep=None, only=attempt)
        raise
    commit = json.dumps({**manifest, "attempt": attempt}, indent=1)
    files.pipe_file(f"{root}/{MANIFEST}", commit.encode())
    _remove_attempts(files, root, keep=attempt)


def download(url: str, into: Path) -> None:
    """Copies what the manifest names to `into`, with the manifest; the caller verifies it.

    Raises:
        DamagedError: No manifest, one that leads outside, or a file that is not there.
    """
    files, root = _filesystem(url)
    text = _manifest(files, root, url)
    manifest = parse_manifest(text, url)
    attempt = _attempt(manifest, url)
    into.mkdir(parents=True)
    for name in manifest["files"]:
        (into / name).parent.mkdir(parents=True, exist_ok=True)
        try:
            files.get_file(f"{root}/{attempt}/{name}", str(into / name))
        except FileNotFoundError:
            raise DamagedError(f"the file '{name}' is missing.", where=url) from None
    (into / MANIFEST).write_bytes(text)


def is_published(url: str) -> bool:
    """True if there is a manifest."""
    files, root = _filesystem(url)
    return bool(files.exists(f"{root}/{MANIFEST}"))


def is_empty(url: str) -> bool:
    """True if there is nothing at or below `url`."""
    files, root = _filesystem(url)
    return not files.exists(root) or (files.isdir(root) and not files.ls(root, detail=False))


def files_of(url: str) -> str:
    """URL of the folder that holds the published files.

    Raises:
        DamagedError: There is none.
    """
    files, root = _filesystem(url)
    return f"{url}/{_attempt(parse_manifest(_manifest(files, root, url), url), url)}"


def delete(url: str) -> None:
    """Removes everything at `url`, the manifest first."""
    files, root = _filesystem(url)
    for path in (f"{root}/{MANIFEST}", root):
        if files.exists(path):
            files.rm(path, recursive=path == root)


def published_below(url: str) -> dict[str, int]:
    """URL of each published folder below `url` → bytes there, leftovers of killed writers too."""
    files, root = _filesystem(url)
    found = files.find(root, detail=True) if files.exists(root) else {}
    places = [p.removesuffix(f"/{MANIFEST}") for p in found if p.endswith(f"/{MANIFEST}")]
    return {
        url + place.removeprefix(root): sum(
            int(i["size"] or 0) for p, i in found.items() if p.startswith(f"{place}/")
        )
        for place in places
    }


def _manifest(files: Any, root: str, url: str) -> bytes:
    try:
        text: bytes = files.cat_file(f"{root}/{MANIFEST}")
    except FileNotFoundError:
        raise DamagedError(
            "no manifest, so nothing was published there, or not to its end.", where=url
        ) from None
    return text


def _attempt(manifest: dict[str, Any], url: str) -> str:
    attempt = str(manifest.get("attempt"))
    if not ATTEMPT.fullmatch(attempt):
        raise DamagedError(f"the manifest names no attempt ({attempt!r}).", where=url)
    return attempt


def _remove_attempts(files: Any, root: str, *, keep: str | None, only: str = "") -> None:
    files.invalidate_cache()
    listed = files.ls(root, detail=False) if files.exists(root) else []
    for path in listed:
        name = path.rstrip("/").rpartition("/")[2]
        if ATTEMPT.fullmatch(name) and name != keep and name.startswith(only):
            files.rm(path, recursive=True)


def _filesystem(url: str) -> tuple[Any, str]:
    """fsspec's file system and the path there."""
    import fsspec

    files, root = fsspec.url_to_fs(url)
    return files, str(root).rstrip("/")


def _require(protocol: str, where: str) -> None:
    import fsspec

    try:
        fsspec.get_filesystem_class(protocol)
    except ImportError:
        package = PACKAGES[protocol]
        raise UserError(
            f"{protocol}:// needs the package {package}, which is not installed.",
            where=where,
            hint=f"Run `pip install {package}` here and on every node.",
        ) from None


def _known() -> str:
    return ", ".join(f"{protocol}://" for protocol in PACKAGES)
