"""A real PostgreSQL for tests: on loopback, with a password, in a folder that is thrown away.

Debian's package `postgresql` is enough; its own cluster and service are not touched.
"""

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from keepgain.core.launch import free_port

ACCOUNT = "postgres"
"""PostgreSQL refuses to run as root; Debian's package makes this account."""
USER = "keepgain"
READY_SECONDS = 30.0


@dataclass
class Postgres:
    """A running server."""

    port: int
    password: str
    process: "subprocess.Popen[bytes]"

    def uri(self, database: str = "postgres") -> str:
        """For SQLAlchemy, with the password in it."""
        return f"postgresql://{USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def create(self, database: str) -> str:
        """Makes an empty database and returns its URI."""
        self.ask(f'CREATE DATABASE "{database}"')
        return self.uri(database)

    def ask(self, query: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Rows of a query; statements that give none return an empty list."""
        import psycopg

        with psycopg.connect(self.uri(database), autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(query)
            return cursor.fetchall() if cursor.description else []


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for the tests of a process; each test makes a database of its own."""
    with run_postgres() as server:
        yield server


@contextlib.contextmanager
def run_postgres() -> Iterator[Postgres]:
    """Starts a server and ends it; skips the test, with the reason, where that cannot be."""
    programs = _programs()
    pytest.importorskip("psycopg", reason="the extra `postgres` is not installed")
    # Not below pytest's folder, which only its owner may enter. /tmp: a socket's path is short.
    folder = Path(tempfile.mkdtemp(prefix="kgpg", dir="/tmp"))
    server = None
    try:
        password = secrets.token_hex(16)
        (folder / "password").write_text(password)
        if os.geteuid() == 0:
            account = pwd.getpwnam(ACCOUNT)
            for path in (folder, folder / "password"):
                os.chown(path, account.pw_uid, account.pw_gid)
        data = folder / "data"
        subprocess.run(
            [
                *(*_as_account(), str(programs / "initdb"), "-D", str(data), "-U", USER),
                *("-E", "UTF8", "--locale=C", "--no-sync", "--auth=scram-sha-256"),
                f"--pwfile={folder / 'password'}",
            ],
            check=True,
            cwd=folder,
            capture_output=True,
        )
        with (folder / "log").open("wb") as log:
            port = free_port()
            process = subprocess.Popen(
                [
                    *(*_as_account(), str(programs / "postgres"), "-D", str(data)),
                    *("-h", "127.0.0.1", "-p", str(port), "-k", str(folder), "-F"),
                ],
                cwd=folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        server = Postgres(port, password, process)
        _await_ready(server, folder / "log")
        yield server
    finally:
        if server is not None:
            _end(server.process)
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path:
    """The folder of `initdb` and `postgres`: Debian keeps it off the path."""
    packaged = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)
    found = [*packaged, *(Path(p) for p in [shutil.which("initdb")] if p)]
    folders = [p.parent for p in found if (p.parent / "postgres").exists()]
    if not folders:
        pytest.skip("no PostgreSQL here (Debian: apt-get install postgresql)")
    if os.geteuid() == 0:
        try:
            pwd.getpwnam(ACCOUNT)
        except KeyError:
            pytest.skip(f"root cannot run PostgreSQL, and there is no account '{ACCOUNT}'")
    return folders[0]


def _as_account() -> tuple[str, ...]:
    if os.geteuid() != 0:
        return ()
    # It ends with its parent even if the tests are killed.
    return ("setpriv", f"--reuid={ACCOUNT}", f"--regid={ACCOUNT}", "--clear-groups",
            "--pdeathsig=INT")  # fmt: skip


def _await_ready(server: Postgres, log: Path) -> None:
    import time

    import psycopg

    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            server.ask("SELECT 1")
            return
        except psycopg.OperationalError as error:
            if server.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"no PostgreSQL: {error}\n{log.read_text()}") from error
            time.sleep(0.1)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """SIGINT: clients are cut off, the data is put in order."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
