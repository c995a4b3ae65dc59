"""Answers on disk, and what was paid for them: an SQLite file that processes may share.

It holds hashes of questions, and answers; no question and no key. `max_usd` is a limit on all that
was ever paid into the file, over runs and processes: before a request its highest price is set
aside, afterwards what it cost takes the place of that. What a crash leaves set aside stays counted:
the request may have been billed.
"""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from keepgain.core.endpoint.messages import Answer
from keepgain.core.errors import UserError

WAIT_SECONDS = 60.0
"""For another process that writes."""
_TABLES = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, model TEXT NOT NULL, text TEXT NOT NULL, finish TEXT NOT NULL,
    input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, counted INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS paid (one INTEGER PRIMARY KEY CHECK (one = 1), usd REAL NOT NULL);
INSERT OR IGNORE INTO paid VALUES (1, 0.0);
"""


class Cache:
    """The file; made with mode 0600 where it is not there. Threads may share it.

    Raises:
        UserError: The file cannot be made, or is another thing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        with _faults(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._file = sqlite3.connect(
                path, timeout=WAIT_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._file.executescript(_TABLES)

    def get(self, key: str) -> Answer | None:
        """The answer to a question that was asked before."""
        columns = "text, finish, input_tokens, output_tokens, counted"
        with self._lock, _faults(self.path):
            query = f"SELECT {columns} FROM answers WHERE key = ?"
            row = self._file.execute(query, (key,)).fetchone()
        if row is None:
            return None
        text, finish, asked, answered, counted = row
        return Answer(text, finish, asked, answered, bool(counted), cached=True)

    def put(self, key: str, model: str, answer: Answer, set_aside: float, usd: float) -> None:
        """Keeps an answer, and counts what it cost in place of what was set aside."""
        row = (key, model, answer.text, answer.finish)
        tokens = (answer.input_tokens, answer.output_tokens, answer.counted)
        with self._transaction():
            self._file.execute(
                "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?)", (*row, *tokens)
            )
            self._pay(usd - set_aside)

    def set_aside(self, usd: float, most: float | None) -> bool:
        """Counts what a request may cost; False, and nothing is, if that passed `most`."""
        if not usd:
            return True
        with self._transaction():
            if most is not None and self._paid() + usd > most:
                return False
            self._pay(usd)
        return True

    def give_back(self, usd: float) -> None:
        """Of a request that was not billed."""
        if usd:
            with self._transaction():
                self._pay(-usd)

    @property
    def paid(self) -> float:
        """US dollars that were paid into the file, or may have been."""
        with self._lock, _faults(self.path):
            return self._paid()

    def close(self) -> None:
        """Lets go of the file."""
        self._file.close()

    def _paid(self) -> float:
        return float(self._file.execute("SELECT usd FROM paid").fetchone()[0])

    def _pay(self, usd: float) -> None:
        if usd:
            self._file.execute("UPDATE paid SET usd = max(0, usd + ?)", (usd,))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock, _faults(self.path):
            self._file.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._file.execute("ROLLBACK")
                raise
            self._file.execute("COMMIT")


@contextmanager
def _faults(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise UserError(
            f"the cache of answers cannot be used ({error}).",
            where=str(path),
            hint="Name another file in `cache`.",
        ) from None
