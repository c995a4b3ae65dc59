"""What this machine has, and how many trials fit on it at a time; without torch and without Ray."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from keepgain.core.errors import UserError
from keepgain.core.launch import Placement
from keepgain.sweeps.gates.findings import Finding


@dataclass(frozen=True)
class Machine:
    """Resources of the machine that asks."""

    cpus: int
    memory_bytes: int
    gpus: int = 0
    gpu_memory_bytes: int | None = None
    """Of the smallest GPU; None: no GPU, or not known."""
    gpu_name: str | None = None
    """Model of the first GPU; None: no GPU, or not known."""
    nodes: int = 1
    """More for a cluster of machines."""


@dataclass(frozen=True)
class Slots:
    """How many trials run at a time, what each gets, and why."""

    count: int
    cpus_per_trial: float
    gpus_per_trial: float
    reason: str


def detect_machine() -> Machine:
    """Asks the operating system and `nvidia-smi`."""
    gpus = _gpus()
    return Machine(
        cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else _cpu_count(),
        memory_bytes=_memory_bytes(),
        gpus=len(gpus),
        gpu_memory_bytes=min((m for _, m in gpus if m is not None), default=None),
        gpu_name=gpus[0][0] if gpus else None,
    )


def plan_slots(
    machine: Machine,
    *,
    cpus_per_trial: float | None = None,
    gpus_per_trial: float | None = None,
    slots: int | None = None,
    workers_per_trial: int = 1,
    placement: Placement = "strict_pack",
) -> Slots:
    """As many trials at a time as fit, or as are asked for.

    Raises:
        UserError: Not one trial fits, or not as many as asked for; with the arithmetic.
    """
    cpus = cpus_per_trial if cpus_per_trial is not None else float(workers_per_trial)
    default_gpus = float(workers_per_trial) if machine.gpus else 0.0
    gpus = gpus_per_trial if gpus_per_trial is not None else default_gpus
    if workers_per_trial > 1 and gpus not in (0, workers_per_trial):
        raise UserError(
            f"{workers_per_trial} processes of one trial share {gpus:g} GPUs; each needs one.",
            where="resources.gpus_per_trial",
            hint=f"Set it to {workers_per_trial}, or change workers_per_trial.",
        )
    if placement == "strict_spread" and workers_per_trial > machine.nodes:
        raise UserError(
            f"{workers_per_trial} workers on {workers_per_trial} different machines, and this is "
            "one machine.",
            where="resources.placement",
            hint="Set it to `pack`, or run on a Ray cluster (`--address`, RAY_ADDRESS).",
        )
    by_cpu = int(machine.cpus / cpus + 1e-9)
    by_gpu = None
    if gpus:  # a share of a GPU lies whole on one
        by_gpu = machine.gpus * int(1 / gpus + 1e-9) if gpus < 1 else int(machine.gpus / gpus)
    fit = by_cpu if by_gpu is None else min(by_cpu, by_gpu)
    wanted = slots or 1
    if fit < wanted:
        short, need, have = (
            ("GPUs", gpus, machine.gpus)
            if by_gpu is not None and by_gpu < wanted
            else ("CPUs", cpus, machine.cpus)
        )
        times = (
            f"{wanted} trials × {need:g} {short}" if wanted > 1 else f"one trial × {need:g} {short}"
        )
        raise UserError(
            f"{times} = {wanted * need:g} {short}, and this machine has {have}.",
            where="resources",
            hint="Lower `slots`, `gpus_per_trial` or `cpus_per_trial`, or use a larger machine.",
        )
    if slots is not None:
        return Slots(slots, cpus, gpus, f"as `resources.slots` says; {fit} would fit")
    reason = f"{machine.cpus} CPUs / {cpus:g} a trial = {by_cpu}"
    if by_gpu is not None:
        reason += f"; {machine.gpus} GPUs / {gpus:g} a trial = {by_gpu}"
    return Slots(fit, cpus, gpus, reason)


def check_resources(
    machine: Machine,
    *,
    cpus_per_trial: float | None,
    gpus_per_trial: float | None,
    slots: int | None,
    workers_per_trial: int,
    placement: Placement = "strict_pack",
) -> list[Finding]:
    """An error if the trials do not fit on this machine; a Ray cluster is not looked at here."""
    if os.environ.get("RAY_ADDRESS"):
        return [
            Finding(
                code="resources_not_checked",
                severity="warning",
                where="resources",
                message="RAY_ADDRESS is set: trials run on that cluster, which is not asked here.",
            )
        ]
    try:
        plan_slots(
            machine,
            cpus_per_trial=cpus_per_trial,
            gpus_per_trial=gpus_per_trial,
            slots=slots,
            workers_per_trial=workers_per_trial,
            placement=placement,
        )
    except UserError as error:
        return [
            Finding(
                code="too_few_resources",
                severity="error",
                where=error.where or "resources",
                message=error.problem,
                hint=error.hint,
            )
        ]
    return []


def _cpu_count() -> int:
    return os.cpu_count() or 1


def _memory_bytes() -> int:
    """Of the machine, or less where a container limits it."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            total = min(total, int(Path(name).read_text()))
        except (OSError, ValueError):
            continue
    return total


_Gpu = tuple[str | None, int | None]
"""Model and bytes of memory; None where only the device file is known."""


def _gpus() -> list[_Gpu]:
    """The visible GPUs."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    found = _ask_nvidia_smi()
    if found is None:
        found = [(None, None) for p in Path("/dev").glob("nvidia*") if p.name[6:].isdigit()]
    if visible is None:
        return found
    chosen = [v for v in visible.split(",") if v.strip() and v.strip() != "-1"]
    return found[: len(chosen)]


def _ask_nvidia_smi() -> list[_Gpu] | None:
    """None where there is no such program, or it fails."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, "--query-gpu=memory.total,name", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    rows = [line.partition(",") for line in answer.stdout.splitlines() if line.strip()]
    return [
        (name.strip() or None, int(size) << 20 if size.strip().isdigit() else None)
        for size, _, name in rows
    ]
