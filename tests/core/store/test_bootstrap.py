import contextlib
import socket
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from keepgain.core.errors import UserError
from keepgain.core.store.bootstrap import database_state, prepare_store
from keepgain.core.store.location import StoreLocation, resolve_store

FIRST_TOUCH = """
import sys
from keepgain.core.store.bootstrap import prepare_store
from keepgain.core.store.location import resolve_store
from keepgain.core.store.client import new_client
location = resolve_store(sys.argv[1], create=True)
experiment = prepare_store(location, "tickets")
new_client(location).create_run(experiment)
print(experiment)
"""


@contextlib.contextmanager
def deaf_server() -> Iterator[str]:
    """Accepts connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.fault("L3")
@pytest.mark.processes
def test_four_processes_may_touch_a_new_store_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FIRST_TOUCH, str(tmp_path / "store")]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    answers = [(p.communicate(timeout=120), p.returncode) for p in processes]
    assert [code for _, code in answers] == [0] * 4, answers
    assert len({out for (out, _), _ in answers}) == 1, "all in one experiment"
    database = tmp_path / "store" / "mlflow.db"
    with contextlib.closing(sqlite3.connect(database)) as db:
        assert db.execute("SELECT count(*) FROM runs").fetchone() == (4,)
    assert stat.S_IMODE(database.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "store").stat().st_mode) == 0o700
    assert not list((tmp_path / "store").glob("*.new-*"))


def test_artifacts_of_a_local_store_lie_in_its_folder(location: StoreLocation) -> None:
    from keepgain.core.store.client import new_client

    experiment = new_client(location).get_experiment(prepare_store(location, "tickets"))
    assert experiment.name == "keepgain/tickets"
    assert location.artifacts is not None
    assert experiment.artifact_location.startswith(location.artifacts.as_uri())
    assert prepare_store(location, "tickets") == experiment.experiment_id


def test_an_empty_half_made_schema_is_set_aside_and_replaced(tmp_path: Path) -> None:
    location = resolve_store(str(tmp_path), create=True)
    assert location.database is not None
    with contextlib.closing(sqlite3.connect(location.database)) as db:
        db.execute("CREATE TABLE _alembic_tmp_runs (x)")
    assert database_state(location.database) == "broken"
    prepare_store(location, "tickets")
    assert database_state(location.database) == "ready"
    assert len(list(tmp_path.glob("mlflow.db.broken-*"))) == 1


def test_a_half_made_schema_with_runs_and_foreign_files_are_left_alone(tmp_path: Path) -> None:
    half, foreign, junk = (tmp_path / name for name in ("half.db", "foreign.db", "junk.db"))
    with contextlib.closing(sqlite3.connect(half)) as db:
        db.execute("CREATE TABLE _alembic_tmp_x (x)")
        db.execute("CREATE TABLE runs (x)")
        db.execute("INSERT INTO runs VALUES (1)")
        db.commit()
    with contextlib.closing(sqlite3.connect(foreign)) as db:
        db.execute("CREATE TABLE songs (x)")
    junk.write_bytes(b"not a database" * 100)
    for path, words in ((half, "half migrated"), (foreign, "another program"), (junk, "not a")):
        before = path.read_bytes()
        with pytest.raises(UserError, match=words):
            prepare_store(resolve_store(f"sqlite:///{path}"), "tickets")
        assert path.read_bytes() == before


def test_a_deleted_experiment_is_explained(location: StoreLocation) -> None:
    from keepgain.core.store.client import new_client

    new_client(location).delete_experiment(prepare_store(location, "tickets"))
    with pytest.raises(UserError, match="experiments restore"):
        prepare_store(location, "tickets")


def test_unreachable_servers_are_named_within_seconds(tmp_path: Path) -> None:
    for scheme in ("http", "postgresql"):
        uri = f"{scheme}://user:secret@127.0.0.1:{closed_port()}/db"
        began = time.monotonic()
        with pytest.raises(UserError, match=r"127\.0\.0\.1") as caught:
            prepare_store(resolve_store(uri, cwd=tmp_path), "tickets")
        assert time.monotonic() - began < 5
        assert "secret" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.fault("P11")
def test_a_server_that_hangs_is_named_within_seconds(tmp_path: Path) -> None:
    with deaf_server() as uri:
        began = time.monotonic()
        with pytest.raises(UserError, match=f"{uri} cannot be used"):
            prepare_store(resolve_store(uri, cwd=tmp_path), "tickets")
        assert time.monotonic() - began < 10


@pytest.mark.fault("R5")
def test_an_unwritable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be created"):
        resolve_store(str(tmp_path / "file" / "store"), create=True)


KILLED_WRITER = """
import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA cache_size = 1")  # so that pages are written before the commit
db.execute("BEGIN")
db.executemany("INSERT INTO experiments (name) VALUES (?)", ((f"e{i}" * 50,) for i in range(500)))
os._exit(1)
"""


def test_a_writer_killed_within_a_transaction_leaves_a_usable_store(tmp_path: Path) -> None:
    location = resolve_store(str(tmp_path / "store"), create=True)
    prepare_store(location, "tickets")
    database = location.database
    assert database is not None
    subprocess.run([sys.executable, "-c", KILLED_WRITER, str(database)], check=False)
    journal = database.with_name(f"{database.name}-journal")
    assert journal.stat().st_size > 0, "there is something to be rolled back"
    assert database_state(database) == "ready"
    with contextlib.closing(sqlite3.connect(database)) as db:
        assert db.execute("SELECT count(*) FROM experiments WHERE name LIKE 'e0%'").fetchone() == (
            0,
        )
