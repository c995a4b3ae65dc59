"""What a sweep will take, before it is started: runs, tokens, memory, disk, time, money.

Counts follow from the spec; time and money rest on a speed, and every speed says where it is from
(`plan.speed`). What cannot fit is refused with its arithmetic.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from keepgain.core.errors import UserError
from keepgain.core.hardware import cpu_label
from keepgain.core.schema import StrictModel
from keepgain.core.status import Stage
from keepgain.core.units import human_bytes
from keepgain.sweeps.gates.resources import Machine, Slots, detect_machine, plan_slots
from keepgain.sweeps.limits import Planned, limit_lines
from keepgain.sweeps.loaded_spec import spec_space
from keepgain.sweeps.plan.course import stages_of, trials_of
from keepgain.sweeps.plan.devices import device
from keepgain.sweeps.plan.disk import NEARLY_FULL, DiskPart, check_disk, disk_parts, free_bytes
from keepgain.sweeps.plan.measured import Measured
from keepgain.sweeps.plan.speed import Hardware
from keepgain.sweeps.plan.stages import Amount, StagePlan
from keepgain.sweeps.plan.trial import ModelPlan, model_plan
from keepgain.sweeps.prepare import Prepared

START_SECONDS = 15.0
"""Ray and the first worker: 10 to 20 s measured."""


class Plan(StrictModel):
    """The whole sweep. Trials that are repeated or reused cost nothing, and are not foreseen."""

    schema_version: int = 2
    sweep: str
    models: tuple[ModelPlan, ...]
    stages: tuple[StagePlan, ...]
    least: Amount
    """Of all stages with the start of Ray; so the next two."""
    expected: Amount
    most: Amount
    slots: int
    slots_reason: str
    hardware: str
    dtype: str
    cpus_per_trial: float
    gpus_per_trial: float
    cpu_hours: float
    """Expected: CPUs of a trial times the hours in which slots are busy."""
    gpu_hours: float
    usd: float | None
    """Expected, at `prices.gpu_hour_usd`; None: no price in the spec, or no GPU is used."""
    filters: tuple[str, ...] = ()
    """What filters of sources leave, in words."""
    limits: tuple[str, ...]
    """What `limits:` mean for the search, in words."""
    memory_available_bytes: int | None
    """Of one GPU, or of this machine; None: not known."""
    disk: tuple[DiskPart, ...]
    disk_free_bytes: int
    """Where the sweep's folder will be."""
    warnings: tuple[str, ...] = ()

    @property
    def disk_bytes(self) -> int:
        """At most."""
        return sum(part.bytes for part in self.disk)


def make_plan(
    prepared: Prepared,
    machine: Machine | None = None,
    *,
    measured: Sequence[Measured] = (),
    throughput_flops: float | None = None,
    folder: Path | None = None,
) -> Plan:
    """Plans the sweep on a machine.

    Args:
        prepared: The sweep.
        machine: None: this machine.
        measured: Speeds that the store knows.
        throughput_flops: Training FLOP/s of one trial as the user states it; None: as measured,
            else guessed.
        folder: Of the sweep, existing or not; None: the spec's.

    Raises:
        UserError: A trial, the slots or the disk do not fit; the message shows the sums.
    """
    machine = machine or detect_machine()
    slots, warnings = slots_of(prepared, machine)
    hardware = hardware_of(prepared, machine, slots)
    space = spec_space(prepared.loaded)
    models = tuple(
        model_plan(prepared, space, model, hardware, measured, throughput_flops)
        for model in prepared.models
    )
    available = machine.gpu_memory_bytes if hardware.gpus else machine.memory_bytes
    warnings += _check_memory(models, slots, hardware, available)
    stages = tuple(stages_of(prepared, space, models, slots.count))
    start = Amount(seconds=START_SECONDS)
    totals = {
        name: sum((getattr(s, name) for s in stages), start)
        for name in ("least", "expected", "most")
    }
    folder, disk = folder or prepared.loaded.folder, disk_parts(prepared, models, stages)
    warnings += check_disk(disk, folder)
    points = space.grid_points()
    most = max(trials_of(prepared).values())
    if points is not None and points < most:
        warnings += (f"the space has only {points} configurations; repeated ones cost nothing.",)
    hours = totals["expected"].busy_seconds / 3600
    search = next(s.expected for s in stages if s.stage is Stage.SEARCH)
    return Plan(
        sweep=prepared.sweep_id,
        models=models,
        stages=stages,
        **totals,
        slots=slots.count,
        slots_reason=slots.reason,
        hardware=hardware.label,
        dtype=hardware.dtype,
        cpus_per_trial=slots.cpus_per_trial,
        gpus_per_trial=hardware.gpus,
        cpu_hours=hours * slots.cpus_per_trial,
        gpu_hours=hours * hardware.gpus,
        usd=_usd(prepared, hours * hardware.gpus),
        filters=tuple(f"{v.source.name} {v.said}" for v in prepared.variants.values()),
        limits=_limits(prepared, search, hardware.gpus),
        memory_available_bytes=available,
        disk=disk,
        disk_free_bytes=free_bytes(folder),
        warnings=warnings,
    )


def slots_of(prepared: Prepared, machine: Machine) -> tuple[Slots, tuple[str, ...]]:
    """Trials at a time and what each gets; and what is not known about that."""
    resources = prepared.spec.resources
    if os.environ.get("RAY_ADDRESS"):
        count = resources.slots or 1
        cpus, gpus = resources.cpus_per_trial or 1.0, resources.gpus_per_trial or 0.0
        note = "RAY_ADDRESS is set: that cluster is not asked here; one slot is assumed."
        if resources.slots:
            note = "RAY_ADDRESS is set: that cluster is not asked here."
        return Slots(count, cpus, gpus, "on the Ray cluster"), (note,)
    slots = plan_slots(
        machine,
        cpus_per_trial=resources.cpus_per_trial,
        gpus_per_trial=resources.gpus_per_trial,
        slots=resources.slots,
        workers_per_trial=resources.workers_per_trial,
        placement=resources.placement,
    )
    return slots, ()


def hardware_of(prepared: Prepared, machine: Machine, slots: Slots) -> Hardware:
    """What one trial computes on."""
    training = prepared.spec.training
    gpus = slots.gpus_per_trial if prepared.spec.resources.device != "cpu" else 0.0
    dtype = training.dtype
    if dtype == "auto":
        dtype = "bfloat16" if gpus and device(machine.gpu_name).bfloat16 else "float32"
    threads = max(1, int(slots.cpus_per_trial))
    return Hardware(
        label=(machine.gpu_name or "a GPU") if gpus else cpu_label(threads),
        gpu=machine.gpu_name if gpus else None,
        gpus=gpus,
        cpus=slots.cpus_per_trial,
        dtype=dtype,
        engine=training.engine,
    )


def hardware_here(prepared: Prepared) -> Hardware:
    """As `hardware_of`, on this machine.

    Raises:
        UserError: The slots do not fit.
    """
    machine = detect_machine()
    return hardware_of(prepared, machine, slots_of(prepared, machine)[0])


def _check_memory(
    models: Sequence[ModelPlan], slots: Slots, hardware: Hardware, available: int | None
) -> tuple[str, ...]:
    """Refuses trials that do not fit alone or side by side; a GPU is not shared by the sums."""
    if available is None:
        return ("the memory of the GPUs is not known, so the fit of the trials is not checked.",)
    together = 1 if hardware.gpus else slots.count
    place = "a GPU" if hardware.gpus else "this machine"
    warnings: tuple[str, ...] = ()
    for model in models:
        for method in model.methods:
            need = method.memory_bytes * together
            sums = f"{human_bytes(need)} of {human_bytes(available)} on {place}"
            if together > 1:
                sums = f"{together} × {human_bytes(method.memory_bytes)} = {sums}"
            what = f"{model.model} by {method.method} needs about {sums}"
            if need > available:
                smaller = "training.micro_batch_size, batch_size or max_length"
                lower = f"resources.slots, {smaller}" if together > 1 else smaller
                raise UserError(
                    f"{what}:\n{method.memory_arithmetic}\n",
                    where="memory",
                    hint=f"Lower {lower}, or leave this model or method out.",
                )
            if need > NEARLY_FULL * available:
                warnings += (f"{what}; the estimate may be off by some tens of percent.",)
    return warnings


def _usd(prepared: Prepared, gpu_hours: float) -> float | None:
    price = prepared.spec.prices.gpu_hour_usd
    return gpu_hours * price if price is not None and gpu_hours else None


def _limits(prepared: Prepared, search: Amount, gpus: float) -> tuple[str, ...]:
    """What each limit means, and which of them ends the search and when."""
    gpu_hours = search.busy_seconds / 3600 * gpus
    planned = Planned(
        trials=search.runs,
        tokens=search.training_tokens,
        hours=search.seconds / 3600,
        gpu_hours=gpu_hours,
        usd=_usd(prepared, gpu_hours) or (0.0 if not gpus else None),
    )
    lines = limit_lines(prepared.spec.limits, planned)
    shares: Mapping[str, float] = {
        name: allowed / needed
        for name, allowed in prepared.spec.limits.model_dump(exclude_none=True).items()
        if (needed := getattr(planned, name))
    }
    first = min(shares, key=lambda n: shares[n], default=None)
    if first is not None and shares[first] < 1:
        hours = shares[first] * planned.hours
        lines.append(
            f"limit   {first} ends the search first, after about {shares[first]:.0%} of it "
            f"({shares[first] * search.runs:.0f} trials, {hours:.2g} h)"
        )
    return tuple(lines)
