"""Finds a sweep by what a person calls it: an id, `last`, or `example`."""

from pathlib import Path

from keepgain.core.errors import UserError
from keepgain.core.record import Evidence, RecordReader
from keepgain.core.store.location import StoreLocation, resolve_store
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
    return reader.load(id_of(sweep, reader, location))


def id_of(given: str, reader: RecordReader, location: StoreLocation) -> str:
    """The id itself, or for `last` that of the newest sweep.

    Raises:
        UserError: There is no sweep at all.
    """
    if given != "last":
        return given
    known = reader.sweep_ids()
    if not known:
        raise UserError(
            f"store {location.display} holds no sweep (found by {location.described}).",
            hint="`sweep run` records one; name another store with --store.",
        )
    return known[0]
