"""Signs of life of this worker: whoever waits for it can tell slow from hung.

They come from the work itself, a micro-batch or a batch of scoring at a time: a thread of its own
would go on while the work stands still, e.g. in a collective whose other ranks are gone.
"""

import time
from typing import IO

_INTERVAL = 1.0
"""Seconds between two signs, at least."""
_replies: IO[str] | None = None
_last = 0.0


def give_signs_on(replies: IO[str]) -> None:
    """Where replies go, on which an empty line is a sign of life."""
    global _replies
    _replies = replies


def sign_of_life() -> None:
    """Says that the work goes on; does nothing outside a worker process."""
    global _last
    now = time.monotonic()
    if _replies is not None and now >= _last + _INTERVAL:
        _last = now
        _replies.write("\n")
        _replies.flush()
