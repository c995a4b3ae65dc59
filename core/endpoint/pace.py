"""How fast an endpoint is asked: limits a minute, and pauses before another attempt."""

import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
LONGEST_ASKED = 600.0
"""Seconds; an endpoint that asks for a longer pause is given up for now."""


class Pace:
    """Spreads amounts evenly: after each, the next begins when the rate allows it. Threads wait in
    turn.

    Args:
        requests_per_minute: None: as many as there are.
        tokens_per_minute: The same.
        clock: Seconds, as `time.monotonic`.
        sleep: As `time.sleep`; one that returns true ends the waiting.
    """

    def __init__(
        self,
        requests_per_minute: float | None,
        tokens_per_minute: float | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._per_request = 60.0 / requests_per_minute if requests_per_minute else 0.0
        self._per_token = 60.0 / tokens_per_minute if tokens_per_minute else 0.0
        self._clock, self._sleep = clock, sleep
        self._lock = threading.Lock()
        self._requests_from = self._tokens_from = self._held_until = -float("inf")

    def wait(self, tokens: float) -> None:
        """Until a request with so many tokens may be sent, or waiting was ended."""
        with self._lock:
            now = self._clock()
            begin = max(now, self._requests_from, self._tokens_from, self._held_until)
            self._requests_from = begin + self._per_request
            self._tokens_from = begin + self._per_token * tokens
        while (left := max(begin, self._held_until) - self._clock()) > 0:
            if self._sleep(left):
                return

    def correct(self, tokens: float) -> None:
        """Of a request that had so many more tokens than it was thought to have."""
        with self._lock:
            self._tokens_from += self._per_token * tokens

    def hold(self, seconds: float) -> None:
        """Nobody sends anything for so long: the endpoint has asked for it."""
        with self._lock:
            self._held_until = max(self._held_until, self._clock() + seconds)


def pause(attempt: int, asked: float | None, rng: random.Random) -> float:
    """Seconds before attempt `attempt` + 1: drawn from 0 to what doubles with each attempt ("full
    jitter", Brooker 2015), and at least what the endpoint asks for.

    Args:
        attempt: From 1.
        asked: Of `retry_after`.
        rng: Differs between processes, or all would come back at once.
    """
    drawn = rng.uniform(0, min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (attempt - 1)))
    return drawn if asked is None else asked + drawn / 4


def retry_after(value: str | None) -> float | None:
    """Seconds that a `Retry-After` header asks for, given as such or as a date (RFC 9110, 10.2.3);
    None if it says nothing."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            date = parsedate_to_datetime(value)
        except ValueError:
            return None
        if date.tzinfo is None:
            date = date.replace(tzinfo=UTC)
        seconds = (date - datetime.now(UTC)).total_seconds()
    return max(0.0, seconds) if seconds == seconds else None
