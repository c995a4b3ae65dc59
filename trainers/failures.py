"""What an exception means for a trial: its cause, and a detail that helps without a traceback."""

import errno
import logging
import traceback
from pathlib import Path

import torch

from keepgain.core.errors import TrialFailure, UserError
from keepgain.core.status import FailureCause
from keepgain.core.work import WorkReply

log = logging.getLogger(__name__)


def reply_of(error: Exception) -> WorkReply:
    """The reply for a job that raised `error`; an unexpected one is logged with its traceback."""
    if isinstance(error, TrialFailure):
        return _reply(FailureCause(error.cause), error.detail)
    if isinstance(error, UserError):
        return _reply(FailureCause.EXCEPTION, str(error))
    log.error("the job failed", exc_info=error)
    if is_memory(error):
        return _reply(FailureCause.OUT_OF_MEMORY, _last_line(error))
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _reply(FailureCause.DISK_FULL, _last_line(error))
    return _reply(FailureCause.EXCEPTION, f"{_last_line(error)} ({_place(error)})")


def is_memory(error: BaseException) -> bool:
    """True if memory ran out, on the GPU or on the host."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # PyTorch's CPU allocator raises a plain RuntimeError.
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def _reply(cause: FailureCause, detail: str) -> WorkReply:
    log.error("%s: %s", cause.value, detail)
    return WorkReply(cause=cause, detail=detail)


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or ["no message"]
    return f"{type(error).__name__}: {lines[-1]}"


def _place(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "no traceback"
