"""A disk without room under the ledger: one clear line in place of a trace of what it led to."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from keepgain.core.errors import NO_ROOM, KeepgainError


@contextmanager
def said_of_full_disk(folder: Path) -> Iterator[None]:
    """Whatever the context raises because there was no room becomes one message; exit code 1.

    Nothing that the ledger has is lost by it: an event is there whole or not at all.
    """
    try:
        yield
    except Exception as error:
        if (full := _no_room(error)) is None:
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
