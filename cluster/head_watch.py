"""Ends a driver whose Ray head is gone, with a message and in time.

Without its head (the GCS) Ray starts nothing, and after a minute ends the process from C++, without
any Python being run (2.60). A driver that ends before that can mark what ran.
"""

import os
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from keepgain.core.errors import EXIT_FAILED

EVERY_SECONDS = 5.0
LOST_SECONDS = 20.0
"""Not one answer in so long: a head that restarts within it is not noticed."""
END_SECONDS = 30.0
"""For the orderly end; then the process ends in whatever state, as if it were killed."""

_HOST_AND_PORT = re.compile(r"\[?([^\[\]]+?)\]?:(\d+)")


@contextmanager
def watched_head(say: Callable[[str], None]) -> Iterator[None]:
    """Watches the head of the cluster that this process is connected to.

    When it is lost this process gets SIGTERM, as if a person had ended it, and is ended for good if
    it is still there `END_SECONDS` later.
    """
    import ray

    address = ray.get_runtime_context().gcs_address
    done = threading.Event()
    thread = threading.Thread(target=_watch, args=(address, done, say), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()


def answers(address: str, seconds: float = EVERY_SECONDS) -> bool:
    """Whether something listens at `HOST:PORT`."""
    match = _HOST_AND_PORT.fullmatch(address)
    assert match is not None, address
    try:
        socket.create_connection((match[1], int(match[2])), seconds).close()
    except OSError:
        return False
    return True


def _watch(address: str, done: threading.Event, say: Callable[[str], None]) -> None:
    silent = 0.0
    while silent < LOST_SECONDS:
        if done.wait(EVERY_SECONDS):
            return
        silent = 0.0 if answers(address) else silent + EVERY_SECONDS
    say(
        f"the head of the Ray cluster at {address} does not answer any more: this driver ends, and "
        "the same command continues on a cluster that does"
    )
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(END_SECONDS)
    os._exit(EXIT_FAILED)
