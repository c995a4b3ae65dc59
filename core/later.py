"""Evidence that comes after a sweep was decided: reviews by people, results of a live test.

It lies beside the record, in `later.jsonl` of the sweep's folder, and never in it: the record says
what the sweep measured. Entries are only added.
"""

import json
from pathlib import Path
from typing import Any

from keepgain.core.errors import UserError
from keepgain.core.inside import inside
from keepgain.core.schema import StrictModel, parse

FILE_NAME = "later.jsonl"


class LaterEvidence(StrictModel):
    """One entry."""

    kind: str
    """`outcomes`, `review`."""
    time: str
    """UTC, ISO 8601: when it was recorded."""
    data: dict[str, Any]
    """As the module that owns the kind writes it."""


def read_later(folder: Path, kind: str | None = None) -> tuple[LaterEvidence, ...]:
    """The entries of a sweep's folder, in the order in which they were recorded.

    Args:
        folder: Of the sweep; there need be none.
        kind: Only these; None: all.

    Raises:
        UserError: The file was changed by hand and a line of it is no entry, as `file:line`.
    """
    path = inside(folder, FILE_NAME)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return ()
    found = []
    # What follows the last line feed is torn, or being written.
    for number, line in enumerate(data[: data.rfind(b"\n") + 1].splitlines(), 1):
        where = f"{path}:{number}"
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise UserError(f"not JSON ({error}).", where=where) from None
        found.append(parse(LaterEvidence, entry, source=where))
    return tuple(e for e in found if kind is None or e.kind == kind)
