import json
from pathlib import Path

import pytest

from keepgain.trainers.checkpoint import DamagedError, publish, remove_leftovers, verify


def write(folder: Path) -> None:
    (folder / "a.bin").write_bytes(bytes(range(100)))
    (folder / "sub").mkdir()
    (folder / "sub" / "b.txt").write_text("b")


@pytest.fixture
def published(tmp_path):
    publish(tmp_path / "c", write)
    return tmp_path / "c"


def test_a_published_folder_is_whole_and_nothing_else_is_left(published):
    verify(published)
    assert [p.name for p in published.parent.iterdir()] == ["c"]


def test_a_flipped_bit_is_found(published):
    data = bytearray((published / "a.bin").read_bytes())
    data[50] ^= 1
    (published / "a.bin").write_bytes(data)
    with pytest.raises(DamagedError, match="is not what was written"):
        verify(published)


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


def test_a_manifest_may_not_lead_outside(published):
    manifest = {"files": {"../outside": {"bytes": 1, "sha256": "x"}}}
    (published / "manifest.json").write_text(json.dumps(manifest))
    (published.parent / "outside").write_text("x")
    with pytest.raises(DamagedError, match="not inside"):
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
