"""A worker process behind pipes: started from a `LaunchSpec`, asked one request at a time.

The process belongs to whoever started it: it is killed with its parent (Linux: parent-death
signal), so a lost trial leaves nothing behind.
"""

import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from typing import Any

from keepgain.core.errors import KeepgainError, UserError
from keepgain.core.launch import LaunchSpec

_PR_SET_PDEATHSIG = 1


class WorkerLost(KeepgainError):  # noqa: N818 - an event, named as such
    """The process ended, or did not answer in time; what it held in memory is gone."""


class WorkerProcess:
    """One rank of one worker.

    Raises:
        UserError: `spec.world_size` is above 1 (multi-worker trials are not available yet).
    """

    def __init__(self, spec: LaunchSpec) -> None:
        if spec.world_size != 1:
            raise UserError(
                f"a trial of {spec.world_size} workers was asked for; this version runs 1.",
                hint="Set resources to one worker per trial.",
            )
        self._spec = spec
        read_fd, write_fd = os.pipe()
        env = {**os.environ, **spec.env, "KEEPGAIN_REPLY_FD": str(write_fd)}
        log = open(spec.log_path, "ab") if spec.log_path else None
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", spec.entry_point],
                stdin=subprocess.PIPE,
                stdout=log or subprocess.DEVNULL,
                stderr=subprocess.STDOUT if log else subprocess.DEVNULL,
                env=env,
                pass_fds=(write_fd,),
                preexec_fn=_die_with_parent,
            )
        finally:
            os.close(write_fd)
            if log:
                log.close()
        self._replies = os.fdopen(read_fd, "rb", buffering=0)
        self._buffer = b""

    @property
    def pid(self) -> int:
        """Process id of the rank."""
        return self._process.pid

    def request(self, message: dict[str, Any], timeout_seconds: float | None = None) -> Any:
        """Sends one message and waits for its reply.

        Raises:
            WorkerLost: The process ended before it answered, or the time ran out (then it is
                killed, since a late answer would be taken for the next one's).
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):
            raise self._lost() from None
        return json.loads(self._read_line(timeout_seconds))

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
        self._replies.close()

    def kill(self) -> None:
        """Ends the process at once, whatever it is doing."""
        self._process.kill()
        self.close()

    def _read_line(self, timeout_seconds: float | None) -> bytes:
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while b"\n" not in self._buffer:
            wait = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select([self._replies], [], [], wait)
            if not ready:
                self.kill()
                raise WorkerLost(f"no answer within {timeout_seconds} s; the worker was killed")
            block = self._replies.read(1 << 16)
            if not block:
                raise self._lost()
            self._buffer += block
        line, self._buffer = self._buffer.split(b"\n", 1)
        return line

    def _lost(self) -> WorkerLost:
        code = self._process.wait()
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        log = f"; see {self._spec.log_path}" if self._spec.log_path else ""
        return WorkerLost(f"the worker process ended ({how}){log}")


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
