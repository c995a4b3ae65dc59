"""A process behind pipes: started from a `LaunchSpec`, asked one request at a time.

The process belongs to whoever started it: it is killed with its parent (Linux: parent-death
signal), so a lost trial leaves nothing behind.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keepgain.core.errors import KeepgainError
from keepgain.core.launch import PRIVATE_UMASK, LaunchSpec
from keepgain.core.redaction import copy_redacted

LOG_SECONDS = 5.0
"""Longest wait for the rest of a log once its process has ended."""
_PR_SET_PDEATHSIG = 1


class WorkerLost(KeepgainError):  # noqa: N818 - an event, named as such
    """The process ended, or did not answer in time; what it held in memory is gone."""

    def __init__(self, text: str, process_code: int | None = None) -> None:
        super().__init__(text)
        self.process_code = process_code
        """What the process ended with; None if it did not end by itself."""


class WorkerProcess:
    """One process: a worker alone, or one of its ranks (see `cluster.ranks`).

    Args:
        env: What this rank has beside `spec.env`.
    """

    def __init__(self, spec: LaunchSpec, env: Mapping[str, str] | None = None) -> None:
        self._spec = spec
        read_fd, write_fd = os.pipe()
        env = {**os.environ, **spec.env, **(env or {}), "KEEPGAIN_REPLY_FD": str(write_fd)}
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", spec.entry_point],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if spec.log_path else subprocess.DEVNULL,
                stderr=subprocess.STDOUT,
                env=env,
                pass_fds=(write_fd,),
                preexec_fn=_die_with_parent,
                umask=PRIVATE_UMASK,  # the raylet that we are a child of may have any
            )
        finally:
            os.close(write_fd)
        self._log = None
        if spec.log_path:
            assert self._process.stdout is not None
            self._log = copy_redacted(self._process.stdout, Path(spec.log_path))
        self._replies = os.fdopen(read_fd, "rb", buffering=0)
        self._buffer = b""
        self._sign = time.monotonic()

    @property
    def pid(self) -> int:
        """Process id of the rank."""
        return self._process.pid

    def send(self, message: dict[str, Any]) -> None:
        """Sends one message; `receive` has its reply.

        Raises:
            WorkerLost: The process has ended.
        """
        assert self._process.stdin is not None
        self._sign = time.monotonic()
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):
            raise self._lost() from None

    def fileno(self) -> int:
        """For `select`: readable when `receive` has something to read."""
        return self._replies.fileno()

    def receive(self) -> Any | None:
        """Reads what has come, without waiting if `fileno` is readable.

        Returns:
            The reply, or None while it is not whole. An empty line is a sign of life and no reply.

        Raises:
            WorkerLost: The process ended before it answered.
        """
        block = self._replies.read(1 << 16)
        if not block:
            raise self._lost()
        self._sign = time.monotonic()
        self._buffer = (self._buffer + block).lstrip(b"\n")
        if b"\n" not in self._buffer:
            return None
        line, self._buffer = self._buffer.split(b"\n", 1)
        return json.loads(line)

    @property
    def silent_seconds(self) -> float:
        """Since it was asked something, or gave its last sign of life."""
        return time.monotonic() - self._sign

    @property
    def is_silent(self) -> bool:
        """Whether it has been so for longer than it may."""
        return self._spec.hang_seconds is not None and self.silent_seconds > self._spec.hang_seconds

    def close(self, grace_seconds: float = 5.0) -> None:
        """Closes the input, waits, then kills; the process is gone when this returns."""
        if self._process.stdin and not self._process.stdin.closed:
            try:
                self._process.stdin.close()
            except BrokenPipeError:
                pass  # it is gone already, which is what we want
        try:
            self._process.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._end_log()
        self._replies.close()

    def kill(self) -> None:
        """Ends the process at once, whatever it is doing."""
        self._process.kill()
        self.close()

    def _end_log(self) -> None:
        """All that was printed is in the file; not waited for where a child holds the pipe open."""
        if self._log is not None:
            self._log.join(LOG_SECONDS)

    def _lost(self) -> WorkerLost:
        code = self._process.wait()
        self._end_log()
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        log = f"; see {self._spec.log_path}" if self._spec.log_path else ""
        return WorkerLost(f"the worker process ended ({how}){log}", code)


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
