"""Regular expressions of users: compiled once with a clear error, and stopped if they hang."""

import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated

from pydantic import AfterValidator

from keepgain.core.errors import UserError
from keepgain.core.safe_patterns import ENDLESS, MAX_PATTERN_CHARACTERS

PATTERN_SECONDS = 20.0
"""For a chunk of rows; `(a+)+$` would take years on one of them."""


def _compiles(pattern: str) -> str:
    if len(pattern) > MAX_PATTERN_CHARACTERS:
        raise ValueError(f"a pattern may have {MAX_PATTERN_CHARACTERS} characters")
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(
            f"is no regular expression of Python's `re` ({error}); in YAML it stands best in "
            "single quotes, where a backslash is a backslash"
        ) from None
    except (OverflowError, RecursionError) as error:
        raise ValueError(f"the pattern is too large ({error})") from None
    return pattern


PatternText = Annotated[str, AfterValidator(_compiles)]
"""A text that `re.compile` takes."""


@contextmanager
def stopped_after(seconds: float, what: str) -> Iterator[None]:
    """Ends matching that takes too long; `re` looks at signals while it matches.

    Signals reach the main thread only, so that in another one nothing is limited.

    Args:
        seconds: Wall time.
        what: The key of the pattern, for the message.

    Raises:
        UserError: It took longer.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_: int, __: FrameType | None) -> None:
        raise UserError(
            f"matching took more than {seconds:g} s on some rows.",
            where=what,
            hint=ENDLESS,
        )

    handler = signal.signal(signal.SIGALRM, stop)
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        used = seconds - signal.setitimer(signal.ITIMER_REAL, 0)[0]
        signal.signal(signal.SIGALRM, handler)
        if left:  # somebody else's alarm
            signal.setitimer(signal.ITIMER_REAL, max(left - used, 0.001), interval)
