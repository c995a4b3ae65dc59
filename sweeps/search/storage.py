"""Where Optuna's studies are kept: a view for people and dashboards, rebuilt at every start."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, get_storage
from optuna.storages.journal import JournalFileBackend

from keepgain.core.errors import UserError
from keepgain.sweeps.search.space import Space

DESIGN_KEY = "search"
"""User attribute of a study: the design of its search."""


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


def open_storage(journal: Path | None, url: str | None) -> BaseStorage:
    """A database, or an empty journal in place of whatever is there, or memory.

    Args:
        journal: Used without `url`.
        url: RDB URL as SQLAlchemy reads it, e.g. `sqlite:///optuna.db`.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if url is not None:
        return get_storage(url)
    if journal is None:
        return InMemoryStorage()
    journal.parent.mkdir(parents=True, exist_ok=True)
    journal.unlink(missing_ok=True)
    return JournalStorage(_OneWriterJournal(journal))


def clear_studies(
    storage: BaseStorage, prefix: str, space: Space, directions: Sequence[str]
) -> None:
    """Deletes the studies of an earlier driver of this sweep, which the ledger brings back.

    Args:
        storage: May hold studies of others, which stay.
        prefix: Ours are named `<prefix>/...`.
        space: Of this search.
        directions: `minimize` or `maximize` of each objective.

    Raises:
        UserError: A study of such a name is of another search; nothing was deleted.
    """
    found = optuna.get_all_study_summaries(storage, include_best_trial=False)
    ours = [s for s in found if s.study_name.startswith(f"{prefix}/")]
    for study in ours:
        design = study.user_attrs.get(DESIGN_KEY, {})
        if [d.name.lower() for d in study.directions] != list(directions):
            other = "directions"
        elif design.get("space") != space.identity:
            other = "space"
        else:
            continue
        raise UserError(
            f"the storage has a study '{study.study_name}' of a search with another {other}.",
            where="search.storage",
            hint="Delete it there, or give another storage or another name of the sweep.",
        )
    for study in ours:
        optuna.delete_study(study_name=study.study_name, storage=storage)


def check_url(url: str, where: str, *, connect: bool) -> None:
    """Sees that a database can be used; writes nothing.

    Args:
        connect: Also that it answers.

    Raises:
        UserError: Not a URL, no driver for it, or nothing answers there.
    """
    from sqlalchemy import create_engine, make_url  # not at import: it takes a third of a second
    from sqlalchemy.exc import SQLAlchemyError

    try:
        parsed = make_url(url)
        engine = create_engine(parsed)
    except (SQLAlchemyError, ImportError, ValueError) as error:
        raise UserError(
            f"not the URL of a database that can be used here ({error}).",
            where=where,
            hint="E.g. sqlite:////path/optuna.db or postgresql+psycopg2://user@host/optuna.",
        ) from None
    if not connect:
        return
    if parsed.get_backend_name() == "sqlite":  # connecting would make the file
        folder = Path(parsed.database or "").parent
        if not folder.is_dir():
            raise UserError(f"there is no folder {folder}.", where=where, hint="Make it.")
        return
    try:
        engine.connect().close()
    except (SQLAlchemyError, OSError) as error:
        shown = parsed.render_as_string(hide_password=True)
        raise UserError(
            f"{shown} does not answer ({type(error).__name__}).",
            where=where,
            hint="Start the database, or leave `storage` out for a journal file.",
        ) from None
    finally:
        engine.dispose()
