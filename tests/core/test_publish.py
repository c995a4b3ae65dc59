"""Published folders, here and on URLs. The object store of these tests is fsspec's own in memory;
S3 itself is not run (docs/cluster.md)."""

import json
import os
import stat
import subprocess
import sys
import uuid
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from keepgain.core.errors import UserError
from keepgain.core.object_store import (
    check_place,
    files_of,
    is_empty,
    published_below,
)
from keepgain.core.publish import (
    MANIFEST,
    DamagedError,
    exists,
    fetch,
    located,
    parse_manifest,
    publish,
    remove,
    remove_leftovers,
    sweep_key,
    verify,
)

KEY, OTHER = b"k" * 32, b"o" * 32


def write(folder: Path) -> None:
    (folder / "a.bin").write_bytes(bytes(range(100)))
    (folder / "sub").mkdir()
    (folder / "sub" / "b.txt").write_text("b")


@pytest.fixture
def published(tmp_path):
    publish(tmp_path / "c", write)
    return tmp_path / "c"


@pytest.fixture
def url() -> Iterator[str]:
    place = f"memory://{uuid.uuid4().hex}/run/checkpoint-r0"
    yield place
    MemoryFileSystem().rm(place.removeprefix("memory:/").rpartition("/run")[0], recursive=True)


def content(folder: Path) -> dict[str, bytes]:
    files = (p for p in folder.rglob("*") if p.is_file() and p.name != MANIFEST)
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


def test_a_published_folder_is_whole_and_nothing_else_is_left(published):
    verify(published)
    assert [p.name for p in published.parent.iterdir()] == ["c"]


@pytest.mark.fault("C1")
def test_a_flipped_bit_is_found(published):
    data = bytearray((published / "a.bin").read_bytes())
    data[50] ^= 1
    (published / "a.bin").write_bytes(data)
    with pytest.raises(DamagedError, match="is not what was written"):
        verify(published)


@pytest.mark.fault("C1", "C6")
def test_truncated_missing_and_linked_files_are_found(published):
    (published / "a.bin").write_bytes(b"")
    with pytest.raises(DamagedError, match="not what was written"):
        verify(published)
    (published / "a.bin").unlink()
    with pytest.raises(DamagedError, match="missing"):
        verify(published)
    (published / "a.bin").symlink_to("/etc/hostname")
    with pytest.raises(DamagedError, match="missing or not inside"):
        verify(published)


@pytest.mark.fault("C6")
@pytest.mark.parametrize(
    "name",
    ["../outside", "/etc/hostname", "sub/../../outside", "..", "", ".", "a//b", "./a", "a\\b",
     "a\nb", "manifest.json"],
)  # fmt: skip
def test_a_manifest_may_not_lead_outside(published, name):
    manifest = {"files": {name: {"bytes": 1, "sha256": "x"}}}
    (published / "manifest.json").write_text(json.dumps(manifest))
    (published.parent / "outside").write_text("x")
    with pytest.raises(DamagedError, match="not inside"):
        verify(published)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "null", '{"files": []}', '{"files": {"a": 1}}', '{"files": {"a": {}}}',
     '{"files": {"a.bin": {"bytes": "x", "sha256": ""}}}', "[" * 100_000],
)  # fmt: skip
def test_a_manifest_that_is_none_is_refused_in_one_line(published, text):
    (published / MANIFEST).write_text(text)
    with pytest.raises(DamagedError, match="no readable manifest") as caught:
        verify(published)
    assert "\n" not in str(caught.value)


@pytest.mark.fault("C5")
@pytest.mark.parametrize("name", ["rng.pkl", "sub/training_args.bin"])
def test_a_file_that_was_added_is_found(published, name):
    """Libraries read what lies in a folder, whatever its manifest says."""
    (published / name).write_bytes(b"x")
    with pytest.raises(DamagedError, match=f"'{name}' was added"):
        verify(published)


@pytest.mark.fault("C6")
def test_a_linked_folder_is_found(published, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (published / "more").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DamagedError, match="'more' was added"):
        verify(published)


def test_a_folder_without_manifest_is_no_checkpoint(tmp_path):
    with pytest.raises(DamagedError, match="not a finished checkpoint"):
        verify(tmp_path)


def test_a_writer_that_fails_leaves_the_old_folder_as_it_was(published):
    def fail(folder: Path) -> None:
        (folder / "a.bin").write_text("half")
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        publish(published, fail)
    verify(published)
    assert [p.name for p in published.parent.iterdir()] == ["c"]
    publish(published, lambda f: (f / "new").write_text("n") and None)
    verify(published)
    assert not (published / "a.bin").exists()


def test_leftovers_of_a_killed_writer_are_removed(published):
    (published.parent / "tmp.dead").mkdir()
    remove_leftovers(published.parent)
    assert [p.name for p in published.parent.iterdir()] == ["c"]


def test_another_folder_takes_the_place_of_the_old_one_in_one_step(published):
    """No moment without either: watched by another process that looks all the time."""
    watch = (
        "import os, sys\n"
        "print('ready', flush=True)\n"
        "missing = 0\n"
        "while not os.path.exists(sys.argv[2]):\n"
        "    missing += not os.path.exists(sys.argv[1])\n"
        "print(missing)\n"
    )
    end = published.parent / "end"
    watcher = subprocess.Popen(
        [sys.executable, "-c", watch, str(published), str(end)], stdout=subprocess.PIPE, text=True
    )
    assert watcher.stdout is not None and watcher.stdout.readline() == "ready\n"
    for _ in range(100):
        publish(published, write)
    end.touch()
    assert watcher.communicate(timeout=60)[0].strip() == "0"
    verify(published)


def test_what_is_on_a_url_comes_back_as_it_was_written(url, tmp_path):
    assert is_empty(url) and not exists(url)
    publish(url, write, key=KEY, staging=tmp_path)
    assert list(tmp_path.iterdir()) == [], "nothing is left here"
    assert exists(url) and not is_empty(url)
    folder = fetch(url, tmp_path / "copy", key=KEY)
    assert content(folder) == {"a.bin": bytes(range(100)), "sub/b.txt": b"b"}
    store = MemoryFileSystem()
    (attempt,) = [p for p in store.ls(url, detail=False) if "attempt-" in p]
    assert files_of(url) == f"memory:/{attempt}"
    (size,) = published_below(url.rpartition("/run")[0]).values()
    assert size == 101 + len(store.cat_file(f"{url}/{MANIFEST}"))
    remove(url)
    assert not exists(url) and is_empty(url)
    remove(url)


def test_a_url_of_a_file_is_a_folder():
    assert located(Path("/sweep"), "file:///shared/x") == Path("/shared/x")
    assert located(Path("/sweep"), "runs/x") == Path("/sweep/runs/x")
    assert located(Path("/sweep"), "/shared/x") == Path("/shared/x")
    assert located(Path("/sweep"), "s3://bucket/x") == "s3://bucket/x"


class Breaks(MemoryFileSystem):
    """Takes a number of objects, and then no more."""

    protocol = "breaks"
    left = 0

    def put_file(self, lpath: str, rpath: str, *rest: Any, **options: Any) -> None:
        if Breaks.left == 0:
            raise OSError("the connection was lost")
        Breaks.left -= 1
        super().put_file(lpath, rpath, *rest, **options)

    def pipe_file(self, path: str, value: bytes, **options: Any) -> None:
        if Breaks.left == 0:
            raise OSError("the connection was lost")
        Breaks.left -= 1
        super().pipe_file(path, value, **options)


@pytest.mark.parametrize("taken", [0, 1, 2])
def test_an_upload_that_breaks_leaves_what_was_there(tmp_path, taken):
    """Two files and the manifest, the last of which makes it count."""
    fsspec.register_implementation("breaks", Breaks, clobber=True)
    url = f"breaks://{uuid.uuid4().hex}/c"
    Breaks.left = 3
    publish(url, write, key=KEY, staging=tmp_path)
    Breaks.left = taken
    with pytest.raises(OSError, match="connection was lost"):
        publish(url, other, key=KEY, staging=tmp_path)
    assert content(fetch(url, tmp_path / "copy", key=KEY))["a.bin"] == bytes(range(100))
    Breaks.left = 3
    publish(url, other, key=KEY, staging=tmp_path)
    assert content(fetch(url, tmp_path / "new", key=KEY)) == {"a.bin": b"2", "sub/b.txt": b"2"}
    listed = Breaks().ls(url, detail=False)
    assert len(listed) == 2, f"leftovers are collected: {listed}"


def other(folder: Path) -> None:
    (folder / "a.bin").write_text("2")
    (folder / "sub").mkdir()
    (folder / "sub" / "b.txt").write_text("2")


@pytest.mark.fault("C1")
@pytest.mark.parametrize("how", ["cut", "empty", "gone", "flipped", "no manifest"])
def test_damage_on_a_url_is_found_and_no_copy_is_left(url, tmp_path, how):
    publish(url, write, key=KEY, staging=tmp_path)
    store = MemoryFileSystem()
    path = f"{files_of(url)}/a.bin"
    data = store.cat_file(path)
    if how == "no manifest":
        store.rm(f"{url}/{MANIFEST}")
    elif how == "gone":
        store.rm(path)
    else:
        changed = {"cut": data[:50], "empty": b"", "flipped": data[:50] + b"\0" + data[51:]}
        store.pipe_file(path, changed[how])
    with pytest.raises(DamagedError):
        fetch(url, tmp_path / "copy", key=KEY)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.fault("C6")
@pytest.mark.parametrize("name", ["../../escaped", "/tmp/escaped", "sub/../../escaped"])
def test_a_manifest_on_a_url_may_not_lead_outside(url, tmp_path, name):
    publish(url, write, staging=tmp_path)
    store = MemoryFileSystem()
    manifest = json.loads(store.cat_file(f"{url}/{MANIFEST}"))
    manifest["files"][name] = manifest["files"].pop("a.bin")
    store.pipe_file(f"{url}/{MANIFEST}", json.dumps(manifest).encode())
    with pytest.raises(DamagedError, match="not inside"):
        fetch(url, tmp_path / "copy")
    manifest["files"] = {"a.bin": manifest["files"][name]}
    manifest["attempt"] = "../../elsewhere"
    store.pipe_file(f"{url}/{MANIFEST}", json.dumps(manifest).encode())
    with pytest.raises(DamagedError, match="names no attempt"):
        fetch(url, tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.fault("C5")
def test_only_the_key_that_signed_a_folder_opens_it(published, tmp_path):
    with pytest.raises(DamagedError, match="this sweep has not written it"):
        verify(published, key=KEY)
    publish(published, write, key=KEY)
    verify(published, key=KEY)
    verify(published)
    with pytest.raises(DamagedError, match="not signed with its key"):
        verify(published, key=OTHER)
    manifest = json.loads((published / MANIFEST).read_text())
    manifest["files"]["a.bin"]["sha256"] = "0" * 64
    with pytest.raises(DamagedError, match="not signed with its key"):
        parse_manifest(json.dumps(manifest).encode(), "here", key=KEY)


@pytest.mark.fault("S4")
def test_all_processes_that_ask_at_once_get_one_key_that_only_its_owner_can_read(tmp_path):
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from keepgain.core.publish import sweep_key\n"
        "print('ready', flush=True)\nsys.stdin.readline()\n"
        "print(sweep_key(Path(sys.argv[1])).hex())\n"
    )
    asking = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(4)
    ]  # fmt: skip
    for one in asking:
        assert one.stdout is not None and one.stdout.readline() == "ready\n"
    said = {one.communicate("go\n", timeout=60)[0].strip() for one in asking}
    assert said == {sweep_key(tmp_path).hex()} and len(sweep_key(tmp_path)) == 32
    (file,) = tmp_path.iterdir()
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("s3://key:canary@bucket/x", "credentials"),
        ("s3://canary@bucket/x", "credentials"),
        ("abfs://box:canary@account.dfs.core.windows.net/x", "credentials"),
        ("s3://bucket/x?token=canary", "options behind it"),
        ("simplecache::s3://key:canary@bucket/x", "not a plain URL"),
        ("http://host/x", "unknown protocol 'http'"),
        ("memory://x", "unknown protocol 'memory'"),
        ("ftp://host/x", "unknown protocol 'ftp'.*s3://, gs://"),
        ("s3:///x", "names no bucket"),
        ("checkpoints", "not an absolute path"),
        ("../x", "not an absolute path"),
        ("file://x/y", "not an absolute path"),
    ],
)
@pytest.mark.fault("S3")
def test_places_that_cannot_be_used_are_refused_and_secrets_not_shown(text, said):
    with pytest.raises(UserError, match=said) as caught:
        check_place(text, "sweep.yaml:storage.checkpoints")
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(("protocol", "package"), [("s3", "s3fs"), ("gs", "gcsfs")])
def test_a_protocol_without_its_package_names_what_to_install(protocol, package):
    if find_spec(package):
        pytest.skip(f"{package} is installed")
    with pytest.raises(UserError, match=f"pip install {package}"):
        check_place(f"{protocol}://bucket/x", "here")


def test_a_folder_is_a_place_and_a_slash_at_its_end_does_not_matter():
    assert check_place("/shared/x/", "here") == "/shared/x"
    assert check_place("file:///shared/x", "here") == "/shared/x"
    assert check_place("model", "--to", absolute=False) == "model"
