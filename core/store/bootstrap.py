"""Makes a store ready before any worker starts: schema, experiment, reachability.

A new SQLite store takes MLflow a few seconds and a dozen migrations, and is left broken when two
processes do that at once. So it is made under a lock, in a file of its own, and moved into place.
A database server's schema is made under a lock as well, in PostgreSQL under one of its own, which
holds for all hosts.
"""

import contextlib
import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from keepgain.core.errors import UserError
from keepgain.core.store.client import new_client, quiet_imports, require_reachable, store_errors
from keepgain.core.store.location import StoreLocation, make_private
from keepgain.core.store.names import experiment_name

if TYPE_CHECKING:
    from sqlalchemy import Engine

LOCK_NAME = ".bootstrap.lock"
_SCHEMA_LOCK = 0x6B656570
"""Any number that nobody else takes for an advisory lock of the same database."""


def prepare_store(location: StoreLocation, sweep_name: str) -> str:
    """Makes the store usable for a sweep and returns its experiment's id; safe to repeat.

    Raises:
        UserError: Unreachable (within seconds), unwritable, or of another schema.
    """
    require_reachable(location)
    folder = location.folder or location.work.parent
    with _writable(folder):
        make_private(folder)
        location.work.mkdir(mode=0o700, exist_ok=True)
    with exclusive(folder / LOCK_NAME):
        ensure_schema(location)
        return _experiment(location, experiment_name(sweep_name))


def ensure_schema(location: StoreLocation, *, upgrade: bool = False) -> None:
    """Makes the schema of a database that has none; needs the lock of the store's folder.

    Args:
        upgrade: Brings an older MLflow's schema up to date, which cannot be undone.

    Raises:
        UserError: The database is of another MLflow or of another program.
    """
    if location.database is None:
        if not location.is_server:
            _ensure_server_schema(location, upgrade)
        return
    _ensure_file(location, location.database)
    if upgrade:
        _ensure_server_schema(location, upgrade)


def _ensure_file(location: StoreLocation, database: Path) -> None:
    state = database_state(database)
    if state == "ready":
        return
    if state == "broken":
        # An interrupted first touch by plain MLflow; nothing was recorded in it.
        database.rename(database.with_name(f"{database.name}.broken-{int(time.time())}"))
    new = database.with_name(f"{database.name}.new-{os.getpid()}")
    new.unlink(missing_ok=True)
    try:
        with store_errors(location), _writable(database.parent):
            _create(new, location)
            new.replace(database)
    finally:
        new.unlink(missing_ok=True)


def database_state(database: Path) -> str:
    """`missing`, `ready`, or `broken` (a half-made schema without any run).

    Raises:
        UserError: Not an SQLite file, or a half-made schema that holds runs.
    """
    if not database.exists() or database.stat().st_size == 0:
        return "missing"
    try:
        # Not `mode=ro`: a writer that was killed may have left a journal to be rolled back first.
        with contextlib.closing(sqlite3.connect(f"{database.as_uri()}?mode=rw", uri=True)) as db:
            names = {row[0] for row in db.execute("SELECT name FROM sqlite_master")}
            runs = db.execute("SELECT count(*) FROM runs").fetchone()[0] if "runs" in names else 0
    except sqlite3.Error as error:
        raise UserError(f"not a usable SQLite database ({error}).", where=str(database)) from None
    half = any(name.startswith("_alembic_tmp_") for name in names)
    if {"runs", "experiments", "alembic_version"} <= names and not half:
        return "ready"
    if runs:
        raise UserError(
            "the schema is half migrated, and runs are recorded in it.",
            where=str(database),
            hint="Back the file up; then `mlflow db upgrade`, or name another store.",
        )
    ours = any(name.startswith(("_alembic_tmp_", "alembic_")) for name in names)
    if names and not ours:
        raise UserError("this SQLite file belongs to another program.", where=str(database))
    return "broken"


def _ensure_server_schema(location: StoreLocation, upgrade: bool) -> None:
    """What `mlflow db upgrade URI` does, without the password on a command line."""
    with store_errors(location):
        import sqlalchemy
        from mlflow.store.db import utils

        engine = utils.create_sqlalchemy_engine_with_retry(location.tracking_uri)
        try:
            with _database_lock(engine):
                names = set(sqlalchemy.inspect(engine).get_table_names())
                if not names or ("experiments" in names and "alembic_version" not in names):
                    # Nothing, or a first touch that was interrupted before its first migration.
                    utils._initialize_tables(engine)
                elif "experiments" not in names:
                    raise UserError(
                        f"the database of store {location.display} belongs to another program "
                        f"(it has a table '{min(names)}').",
                        hint="Make a database for MLflow alone.",
                    )
                elif upgrade:
                    utils._upgrade_db(engine)
                utils._verify_schema(engine)
        finally:
            engine.dispose()


@contextlib.contextmanager
def _database_lock(engine: "Engine") -> Iterator[None]:
    """Waits for other hosts that make the schema; PostgreSQL alone has such a lock at hand."""
    if engine.dialect.name != "postgresql":
        yield
        return
    import sqlalchemy

    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f"SELECT pg_advisory_lock({_SCHEMA_LOCK})"))
        try:
            yield
        finally:
            connection.execute(sqlalchemy.text(f"SELECT pg_advisory_unlock({_SCHEMA_LOCK})"))


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Holds a lock file: waits for other processes, and is released when this one ends."""
    with _writable(path.parent), path.open("a", encoding="utf-8") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _create(new: Path, location: StoreLocation) -> None:
    quiet_imports()
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    assert location.artifacts is not None
    store = SqlAlchemyStore(f"sqlite:///{new}", location.artifacts.as_uri())
    store.engine.dispose()
    new.chmod(0o600)


def _experiment(location: StoreLocation, name: str) -> str:
    with store_errors(location):
        from mlflow.exceptions import MlflowException

        client = new_client(location)
        found = client.get_experiment_by_name(name)
        if found is None:
            artifacts = location.artifacts
            try:
                where = artifacts / _file_name(name) if artifacts else None
                return str(client.create_experiment(name, where.as_uri() if where else None))
            except MlflowException as error:
                # Another host was quicker; anything else is not ours to hide.
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                found = client.get_experiment_by_name(name)
    if found is None or found.lifecycle_stage != "active":
        raise UserError(
            f"experiment '{name}' of store {location.display} was deleted.",
            hint="`mlflow experiments restore` brings it back; or rename the sweep.",
        )
    return str(found.experiment_id)


def _file_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in name)


@contextlib.contextmanager
def _writable(folder: Path) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise UserError(f"the store cannot be written ({error}).", where=str(folder)) from None
