import stat
from pathlib import Path

import pytest

from keepgain.core.errors import UserError
from keepgain.core.store.location import redact, require_durable, resolve_store


def test_order_is_option_then_variables_then_nearest_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".keepgain").mkdir()
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert resolve_store(None, cwd=below).folder == tmp_path / ".keepgain"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracker:5000")
    assert resolve_store(None, cwd=below).tracking_uri == "http://tracker:5000"
    monkeypatch.setenv("KEEPGAIN_STORE", f"sqlite:///{tmp_path}/x/mlflow.db")
    found = resolve_store(None, cwd=below)
    assert (found.folder, found.work) == (tmp_path / "x", tmp_path / "x" / "sweeps")
    assert "KEEPGAIN_STORE" in found.described
    explicit = resolve_store(str(tmp_path / "y"), create=True, cwd=below)
    assert explicit.tracking_uri == f"sqlite:///{tmp_path}/y/mlflow.db"


def test_nothing_is_written_unless_asked(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"KEEPGAIN_STORE.*{tmp_path}"):
        resolve_store(None, cwd=tmp_path)
    with pytest.raises(UserError, match="no Keepgain store in"):
        resolve_store(str(tmp_path / "absent"), cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []
    created = resolve_store(None, create=True, cwd=tmp_path)
    assert created.folder == tmp_path / ".keepgain"
    assert stat.S_IMODE((tmp_path / ".keepgain").stat().st_mode) == 0o700


def test_a_server_keeps_sweep_folders_in_the_nearest_keepgain(tmp_path: Path) -> None:
    found = resolve_store("postgresql://me:secret@db/mlflow", cwd=tmp_path)
    assert found.folder is None
    assert found.work == tmp_path / ".keepgain" / "sweeps"
    assert found.artifacts == tmp_path / ".keepgain" / "artifacts"
    for text in (found.described, found.display, repr(found)):
        assert "secret" not in text
    assert resolve_store("http://h:1", cwd=tmp_path).artifacts is None


@pytest.mark.parametrize("text", ["file:///tmp/x", "./mlruns", "mlruns", "/a/b/mlruns/"])
def test_file_stores_are_refused_with_the_way_out(text: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"maintenance mode.*migrate-filestore"):
        resolve_store(text, cwd=tmp_path)


@pytest.mark.parametrize("text", ["s3://bucket/x", "sqlite://", "sqlite:///:memory:", "ftp:x"])
def test_other_kinds_are_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--store"):
        resolve_store(text, cwd=tmp_path)


def test_folder_around_a_store_is_pointed_at(tmp_path: Path) -> None:
    (tmp_path / ".keepgain").mkdir()
    with pytest.raises(UserError, match=r"Did you mean .*\.keepgain"):
        resolve_store(".", cwd=tmp_path)


def test_relative_sqlite_paths_start_at_the_working_directory(tmp_path: Path) -> None:
    found = resolve_store("sqlite:///runs/m.db?timeout=5", cwd=tmp_path)
    assert found.tracking_uri == f"sqlite:///{tmp_path}/runs/m.db?timeout=5"
    assert found.database == tmp_path / "runs" / "m.db"


@pytest.mark.parametrize("text", [None, "store", "./.keepgain", "sqlite:///m.db", "INSIDE"])
def test_a_ray_job_refuses_stores_that_vanish_with_it(text: str | None, tmp_path: Path) -> None:
    given = str(tmp_path / "job" / "store") if text == "INSIDE" else text
    with pytest.raises(UserError, match=r"temporary copy.*absolute path"):
        require_durable(given, tmp_path / "job")


@pytest.mark.parametrize("text", ["http://tracker:5000", "postgresql://me:secret@db/mlflow"])
def test_a_server_in_a_ray_job_needs_a_durable_work_folder(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, work = tmp_path / "job", tmp_path / "work"
    with pytest.raises(
        UserError, match=r"the ledger and the checkpoints.*KEEPGAIN_WORK"
    ) as refused:
        require_durable(text, job)
    assert "secret" not in str(refused.value)
    for inside in (job / "w", job):
        monkeypatch.setenv("KEEPGAIN_WORK", str(inside))
        with pytest.raises(UserError, match=r"KEEPGAIN_WORK.*temporary copy"):
            require_durable(text, job)
    monkeypatch.setenv("KEEPGAIN_WORK", "relative")
    with pytest.raises(UserError, match=r"KEEPGAIN_WORK.*not an absolute path"):
        require_durable(text, job)
    monkeypatch.setenv("KEEPGAIN_WORK", str(work))
    require_durable(text, job)
    assert resolve_store(text, cwd=job, create=True).work == work / "sweeps"
    assert stat.S_IMODE(work.stat().st_mode) == 0o700
    local = resolve_store(str(tmp_path / "local"), create=True)
    assert local.work == tmp_path / "local" / "sweeps", "a local store has its own folder"


@pytest.mark.parametrize("text", ["/data/store", "sqlite:////data/m.db"])
def test_a_ray_job_takes_durable_stores(text: str, tmp_path: Path) -> None:
    require_durable(text, tmp_path)


def test_redact_leaves_no_secret() -> None:
    text = redact("at postgresql://u:pw@h/db?sslpassword=abc&x=1 with hf_abcdefghijkl")
    assert text == "at postgresql://u:***@h/db?sslpassword=***&x=1 with hf_***"
