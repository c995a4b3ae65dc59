"""Signs of life of a driver: a tag of the sweep's own run, and a file beside its spool.

The tag's time is the server's own, as far as a server says it, for writer and reader alike: the
clocks of two machines may be an hour apart. The file is there from the start of a driver to its
end in order: where nobody holds the spool's lock and the file is there, the driver was killed.
"""

import http.client
import json
import os
import platform
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

from keepgain.core.store.location import StoreLocation

BEAT_SECONDS = 30.0
STALE_SECONDS = 150.0
"""Without a sign of life for so long a driver is taken for dead: a call that hangs takes 30 s."""
OWNER_NAME = ".owner.json"
_CLOCK_SECONDS = 5.0


class Heartbeat:
    """When to say what."""

    def __init__(self, owner: Mapping[str, str]) -> None:
        self._owner = dict(owner)
        self._ahead_ms = 0
        self._last: float | None = None

    def set_clock(self, location: StoreLocation) -> None:
        """Looks what time it is for the store, whose answer counts for writer and reader."""
        self._ahead_ms = clock_ahead_ms(location)

    def due(self) -> str | None:
        """The tag's value if it is time to write it."""
        if self._last is not None and time.monotonic() - self._last < BEAT_SECONDS:
            return None
        now = int(time.time() * 1000) + self._ahead_ms
        return json.dumps({**self._owner, "at_ms": now})

    def said(self) -> None:
        """It was written."""
        self._last = time.monotonic()


def is_stale(heartbeat: str | None, ahead_ms: int) -> bool:
    """True if the driver of a tag of a running sweep must be dead; unknown counts as alive.

    Args:
        heartbeat: The tag's value; None: of a version that gave none.
        ahead_ms: As `clock_ahead_ms` of the same store says here.
    """
    try:
        at = json.loads(heartbeat or "{}")["at_ms"]
        return time.time() * 1000 + ahead_ms - float(at) > STALE_SECONDS * 1000
    except (ValueError, KeyError, TypeError):
        return False


def clock_ahead_ms(location: StoreLocation) -> int:
    """By how much the clock of an MLflow server is ahead of ours; 0 where no server says a time.

    To a second: that is what its `Date` header has.
    """
    if not location.is_server:
        return 0
    parts = urlsplit(location.tracking_uri)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=_CLOCK_SECONDS)
    try:
        connection.request("GET", f"{parts.path.rstrip('/')}/health")
        said = connection.getresponse().getheader("Date")
        return round((parsedate_to_datetime(said).timestamp() - time.time()) * 1000) if said else 0
    except (OSError, http.client.HTTPException, ValueError):
        return 0  # behind a proxy that hides it, perhaps: our own clock then has to do
    finally:
        connection.close()


def whose(more: Mapping[str, str]) -> dict[str, str]:
    """Who this process is; `more` is what it knows of its job, e.g. `submission`."""
    return {"host": platform.node(), "pid": str(os.getpid()), **more}


def note_owner(spool_folder: Path, owner: Mapping[str, str]) -> None:
    """Leaves word that a driver has begun."""
    temporary = spool_folder / f"{OWNER_NAME}.tmp"
    temporary.write_text(json.dumps(dict(owner)), encoding="utf-8")
    temporary.replace(spool_folder / OWNER_NAME)


def forget_owner(spool_folder: Path) -> None:
    """It has ended in order."""
    (spool_folder / OWNER_NAME).unlink(missing_ok=True)


def was_left(spool_folder: Path) -> bool:
    """True if a driver has begun and not ended; whether it is alive, the lock says."""
    return (spool_folder / OWNER_NAME).exists()
