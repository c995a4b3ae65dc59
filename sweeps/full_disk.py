"""A disk without room under the ledger: one clear line in place of a trace of what it led to."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from keepgain.core.errors import NO_ROOM, KeepgainError


@contextmanager
def said_of_full_disk(folder: Path) -> Iterator[None]:
    """Whatever the context raises because there was no room becomes one message; exit code 1.

    Libraries may hide the cause: Tune leaves an empty file where it could write none, and fails
    when it reads it. So an error of any kind is laid to the disk if nothing can be written there.
    Nothing that the ledger has is lost by it: an event is there whole or not at all.
    """
    try:
        yield
    except Exception as error:
        full = _no_room(error)
        if full is None and not isinstance(error, KeepgainError):
            full = _full_now(folder)
        if full is None:
            raise
        raise KeepgainError(
            f"{folder}: the driver could not write ({full.strerror}), so it ended. What the ledger "
            "has is kept: free some space (`sweep prune` lists what finished sweeps need not keep) "
            "and run the same command again."
        ) from None


def _no_room(error: BaseException | None) -> OSError | None:
    """The cause, however many other errors it has led to since."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            return error
        error = error.__cause__ or error.__context__
    return None


def _full_now(folder: Path) -> OSError | None:
    """What keeps a page from being written there, if it is want of room."""
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            file.write(bytes(4096))
    except OSError as error:
        return error if error.errno in NO_ROOM else None
    return None
