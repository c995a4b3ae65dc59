"""This process: its threads and determinism, its peak memory, where its log goes."""

import logging
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from keepgain.core.hardware import cpu_label
from keepgain.core.redaction import RedactingFormatter

log = logging.getLogger(__name__)


def prepare_libraries() -> None:
    """As many threads as `OMP_NUM_THREADS` says (1), deterministic kernels, no progress bars.

    On a GPU some operations have no deterministic kernel; they warn instead of raising.
    """
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
    if torch.cuda.is_available() and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        # Before anything is loaded: `cuda` without a number means this one from here on.
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    # Filling fresh memory with NaN only serves to find reads of it, and costs time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def hardware_label(device: torch.device) -> str:
    """What a run computes on: the GPU's model, or the CPU's with the threads of this process."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return cpu_label(torch.get_num_threads())


def reset_peak_memory() -> None:
    """Starts a new measurement of `peak_memory_bytes`, where the system can do that."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError as error:
        log.info("peak memory covers the whole process (%s)", error)


def peak_memory_bytes(device: torch.device) -> int:
    """Highest memory since the reset: allocated on the GPU, else resident in this process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def energy_joules(device: torch.device) -> float | None:
    """What the GPU has drawn since its driver was loaded, by NVML; None where that is not known: on
    a CPU, without `nvidia-ml-py`, on GPUs that do not count it (before Volta, shared by MIG)."""
    if device.type != "cuda":
        return None
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        uuid = torch.cuda.get_device_properties(device).uuid
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
        return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1000
    except pynvml.NVMLError as error:
        log.info("energy is not measured (%s)", error)
        return None


@contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Appends what is logged in the context to `path`, besides where it goes anyway."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(RedactingFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        # On a full disk: what the log lacks is in the reply.
        with suppress(OSError):
            handler.close()
