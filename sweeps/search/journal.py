"""Optuna's journal beside the sweep: a view for people and dashboards, rebuilt at every start."""

import json
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend


class _OneWriterJournal(JournalFileBackend):
    """A journal file without lock and sync.

    The parent takes a lock and syncs at each entry, about ten times a draw (the tests of this
    package took 97 s with it and 15 s without, on a busy disk). That guards against other writers
    and crashes; here the ledger's lock does the first, and the rebuild from the ledger the second.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        with self._path.open("ab") as handle:
            handle.write(lines.encode())


def fresh_journal(path: Path) -> JournalStorage:
    """An empty journal in place of whatever is there."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    return JournalStorage(_OneWriterJournal(path))
