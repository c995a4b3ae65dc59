"""Names of the hardware that runs compute on, spelt alike by the worker that measures a speed and
by the plan that looks one up. Neither torch nor Ray."""

import platform
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")


def cpu_name() -> str:
    """The processor's model, e.g. `AMD EPYC 7763 64-Core Processor`."""
    try:
        lines = CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (x.partition(":")[2].strip() for x in lines if x.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def cpu_label(threads: int) -> str:
    """What speeds on a CPU are compared by: the processor and the threads of one trial."""
    return f"{cpu_name()}, {threads} thread{'' if threads == 1 else 's'}"
