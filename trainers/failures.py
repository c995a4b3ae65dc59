"""What an exception means for a trial: its cause, and a detail that helps without a traceback."""

import logging
import re
import traceback
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.distributed

from keepgain.core.config import TrialConfig
from keepgain.core.errors import NO_ROOM, TrialFailure, UserError
from keepgain.core.redaction import redact
from keepgain.core.status import FailureCause
from keepgain.core.units import human_bytes, human_count
from keepgain.core.work import WorkReply
from keepgain.trainers.engine import smaller_micro_batch

log = logging.getLogger(__name__)

_NO_MEMORY = (
    "can't allocate memory",
    "std::bad_alloc",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)
"""In plain RuntimeErrors: of PyTorch's CPU allocator, of C++, and of CUDA outside its allocator."""
_PEER_LOST = ("gloo/transport/", "[gloo]", "Connection closed by peer", "NCCL watchdog")
"""In plain RuntimeErrors of gloo, whose collectives know no class of their own."""
_OS_ERROR = re.compile(r"\(os error (\d+)\)")
"""As Rust writes it: safetensors raises an error of its own."""
_NOT_WRITTEN = ("PytorchStreamWriter failed writing", "] . unexpected pos ")
"""In plain RuntimeErrors of `torch.save`, which do not say why."""


class OutOfMemory(TrialFailure):
    """Memory ran out in a training step.

    Args:
        error: What was raised.
        step: Optimizer steps before it.
        peak: Bytes at most, so far.
        sizes: `rows` and `tokens` of the micro-batch, and `parameters`.
    """

    def __init__(
        self,
        error: Exception,
        config: TrialConfig,
        step: int,
        peak: int,
        sizes: Mapping[str, int],
    ) -> None:
        self.smaller = smaller_micro_batch(config)
        detail = (
            f"memory ran out at step {step} with a peak of {human_bytes(peak)}: a micro-batch of "
            f"{sizes.get('rows', 0)} rows, {sizes.get('tokens', 0)} tokens, and "
            f"{human_count(sizes['parameters'])} parameters ({_last_line(error)})"
        )
        if self.smaller is None:
            detail += "; no smaller micro-batch is left: shorten max_length, or set "
            detail += "gradient_checkpointing"
        super().__init__(FailureCause.OUT_OF_MEMORY, detail)


def reply_of(error: Exception) -> WorkReply:
    """The reply for a job that raised `error`; an unexpected one is logged with its traceback."""
    if isinstance(error, OutOfMemory):
        log.error("memory ran out", exc_info=error)
        reply = _reply(FailureCause.OUT_OF_MEMORY, error.detail)
        return reply.model_copy(update={"smaller_micro_batch": error.smaller})
    if isinstance(error, TrialFailure):
        return _reply(FailureCause(error.cause), error.detail)
    if isinstance(error, UserError):
        return _reply(FailureCause.EXCEPTION, str(error))
    log.error("the job failed", exc_info=error)
    if is_memory(error):
        return _reply(FailureCause.OUT_OF_MEMORY, _last_line(error))
    if is_disk_full(error):
        return _reply(FailureCause.DISK_FULL, _last_line(error))
    if is_peer_lost(error):
        return _reply(FailureCause.WORKER_LOST, f"the other ranks are gone: {_last_line(error)}")
    return _reply(FailureCause.EXCEPTION, f"{_last_line(error)} ({_place(error)})")


def is_memory(error: BaseException) -> bool:
    """True if memory ran out, on the GPU or on the host."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _NO_MEMORY)


def is_disk_full(error: BaseException) -> bool:
    """True if a file found no room: on the disk, in a quota or below a limit of file sizes."""
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return True
    found = _OS_ERROR.search(str(error))
    if found is not None and int(found[1]) in NO_ROOM:
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _NOT_WRITTEN)


def is_peer_lost(error: BaseException) -> bool:
    """True if another rank of this trial is gone, or did not come in time."""
    if isinstance(error, torch.distributed.DistError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _PEER_LOST)


def _reply(cause: FailureCause, detail: str) -> WorkReply:
    detail = redact(detail)  # before anybody writes it: Tune, too, keeps errors in files
    log.error("%s: %s", cause.value, detail)
    return WorkReply(cause=cause, detail=detail)


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or ["no message"]
    return f"{type(error).__name__}: {lines[-1]}"


def _place(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "no traceback"
