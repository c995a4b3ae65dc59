"""Finds a sweep by what a person calls it: an id, `last`, or `example`."""

from pathlib import Path

from keepgain.core.errors import UserError
from keepgain.core.record import Evidence
from keepgain.core.store.location import resolve_store
from keepgain.core.store.reader import open_reader
from keepgain.core.store.record_files import load_folder

EXAMPLE = Path(__file__).parent / "example"


def load_evidence(sweep: str, store: str | None = None) -> Evidence:
    """Reads a sweep.

    Args:
        sweep: Its id; `last`, the newest of the store; or `example`, the one that is shipped.
        store: Folder or tracking URI; None: found by the environment, else upwards.

    Raises:
        UserError: No such store or sweep; the message names the nearest known ids.
    """
    if sweep == "example":
        return load_folder(EXAMPLE)
    location = resolve_store(store)
    reader = open_reader(location)
    if sweep == "last":
        known = reader.sweep_ids()
        if not known:
            raise UserError(
                f"store {location.display} holds no sweep (found by {location.described}).",
                hint="`sweep run` records one; name another store with --store.",
            )
        sweep = known[0]
    return reader.load(sweep)
