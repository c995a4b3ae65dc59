"""What a sweep will take, before it is started: runs, tokens, FLOPs, memory, disk, time, money.

Counts follow from the spec; time and money rest on a throughput that is a stated guess unless the
user gives a measured one. What cannot fit is refused with its arithmetic.
"""

import os
import shutil
from collections.abc import Mapping

from keepgain.core.errors import UserError
from keepgain.core.schema import StrictModel
from keepgain.core.status import Stage
from keepgain.core.units import human_bytes
from keepgain.sweeps.gates.resources import Machine, Slots, detect_machine, plan_slots
from keepgain.sweeps.plan_trial import ModelPlan, model_plan
from keepgain.sweeps.prepare import Prepared
from keepgain.sweeps.spec import spec_space

CPU_FLOPS = 20e9
"""Guess for one CPU core; tiny models reached 15 to 38 GFLOP/s, measured."""
GPU_FLOPS = 100e12
"""Guess for one GPU, not measured: about a third of the bfloat16 peak of an A100 (312 TFLOP/s)."""
START_SECONDS = 15.0
"""Ray and the first worker: 10 to 20 s measured."""
CHECKPOINT_BYTES = {"full": 12, "lora": 0}
"""Of a paused trial, per parameter: weights and two moments in float32; adapters are small."""
MODEL_BYTES = 4
"""Of tuned weights kept for the test stage, per parameter: float32."""
NEARLY_FULL = 0.8


class StagePlan(StrictModel):
    """What one stage takes, at most."""

    stage: Stage
    runs: int
    training_tokens: int
    scored_tokens: int
    flops: float
    seconds: float
    """Wall-clock, with all slots busy."""


class Plan(StrictModel):
    """The whole sweep, at most: trials that are pruned, repeated or reused take less."""

    schema_version: int = 1
    sweep: str
    models: tuple[ModelPlan, ...]
    stages: tuple[StagePlan, ...]
    slots: int
    slots_reason: str
    cpus_per_trial: float
    gpus_per_trial: float
    throughput_flops: float
    """FLOP/s of one trial."""
    throughput_basis: str
    """`guess: ...` or `given`."""
    seconds: float
    gpu_hours: float
    usd: float | None
    """None: no price in the spec, or no GPU is used."""
    memory_available_bytes: int | None
    """Of one GPU, or of this machine; None: not known."""
    disk_bytes: int
    disk_free_bytes: int
    warnings: tuple[str, ...] = ()


def make_plan(
    prepared: Prepared, machine: Machine | None = None, throughput_flops: float | None = None
) -> Plan:
    """Plans the sweep on a machine.

    Args:
        prepared: The sweep.
        machine: None: this machine.
        throughput_flops: Measured training FLOP/s of one trial; None: a guess.

    Raises:
        UserError: A trial, the slots or the disk do not fit; the message shows the sums.
    """
    machine = machine or detect_machine()
    slots, warnings = _slots(prepared, machine)
    throughput, basis = _throughput(slots, throughput_flops)
    space = spec_space(prepared.loaded)
    models = tuple(model_plan(prepared, space, model, throughput) for model in prepared.models)
    available = machine.gpu_memory_bytes if slots.gpus_per_trial else machine.memory_bytes
    warnings += _check_memory(models, slots, available)
    stages = tuple(_stages(prepared, models, slots.count, throughput))
    disk, free = _disk(prepared, models), shutil.disk_usage(prepared.loaded.folder).free
    if disk > free:
        raise UserError(
            f"the sweep may keep {human_bytes(disk)} of checkpoints and tuned models, and "
            f"{human_bytes(free)} are free at {prepared.loaded.folder}.",
            hint="Free some space, or lower trials_per_model, confirm.seeds or the rungs.",
        )
    points = space.grid_points()
    if points is not None and points < prepared.spec.search.trials_per_model:
        warnings += (f"the space has only {points} configurations; repeated ones cost nothing.",)
    busy = sum(stage.flops for stage in stages) / throughput
    gpu_hours = busy * slots.gpus_per_trial / 3600
    price = prepared.spec.prices.gpu_hour_usd
    return Plan(
        sweep=prepared.sweep_id,
        models=models,
        stages=stages,
        slots=slots.count,
        slots_reason=slots.reason,
        cpus_per_trial=slots.cpus_per_trial,
        gpus_per_trial=slots.gpus_per_trial,
        throughput_flops=throughput,
        throughput_basis=basis,
        seconds=START_SECONDS + sum(stage.seconds for stage in stages),
        gpu_hours=gpu_hours,
        usd=gpu_hours * price if price is not None and gpu_hours else None,
        memory_available_bytes=available,
        disk_bytes=disk,
        disk_free_bytes=free,
        warnings=warnings,
    )


def _slots(prepared: Prepared, machine: Machine) -> tuple[Slots, tuple[str, ...]]:
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
    )
    return slots, ()


def _throughput(slots: Slots, given: float | None) -> tuple[float, str]:
    if given is not None:
        return given, "given"
    if slots.gpus_per_trial:
        basis = f"guess: {GPU_FLOPS / 1e12:g} TFLOP/s a GPU, not measured"
        return GPU_FLOPS * slots.gpus_per_trial, basis
    basis = f"guess: {CPU_FLOPS / 1e9:g} GFLOP/s a CPU, not measured here"
    return CPU_FLOPS * slots.cpus_per_trial, basis


def _check_memory(
    models: tuple[ModelPlan, ...], slots: Slots, available: int | None
) -> tuple[str, ...]:
    """Refuses trials that do not fit alone or side by side; a GPU is not shared by the sums."""
    if available is None:
        return ("the memory of the GPUs is not known, so the fit of the trials is not checked.",)
    together = 1 if slots.gpus_per_trial else slots.count
    place = "a GPU" if slots.gpus_per_trial else "this machine"
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


def _stages(
    prepared: Prepared, models: tuple[ModelPlan, ...], slots: int, throughput: float
) -> list[StagePlan]:
    spec, arms = prepared.spec, len(prepared.arms)
    score = {s: {m.model: _scored(prepared, m.model, s) for m in models} for s in ("val", "test")}
    each = spec.search.trials_per_model
    finalists = _finalists(prepared, models)
    rungs = len(prepared.rungs)

    def stage(
        name: Stage, trained: Mapping[str, int], scored: Mapping[str, int], split: str
    ) -> StagePlan:
        runs = sum(trained.values()) or sum(scored.values())
        tokens = sum(trained.get(m.model, 0) * m.tokens_per_trial for m in models)
        items = sum(scored[m.model] * score[split][m.model] for m in models)
        flops = sum(
            trained.get(m.model, 0) * max(p.flops for p in m.methods)
            + 2.0 * m.non_embedding_parameters * scored[m.model] * score[split][m.model]
            for m in models
        )
        seconds = flops / throughput / max(1, min(slots, runs))
        return StagePlan(
            stage=name,
            runs=runs,
            training_tokens=tokens,
            scored_tokens=items,
            flops=flops,
            seconds=seconds,
        )

    base = {m.model: 1 + arms for m in models}
    search = {m.model: each for m in models}
    confirm = {m: n * spec.confirm.seeds for m, n in finalists.items()}
    test = {m: base[m] + confirm[m] for m in base}
    return [
        stage(Stage.BASE, {}, base, "val"),
        stage(Stage.SEARCH, search, {m: n * rungs for m, n in search.items()}, "val"),
        stage(Stage.CONFIRM, confirm, {m: n * rungs for m, n in confirm.items()}, "val"),
        stage(Stage.TEST, {}, test, "test"),
    ]


def _finalists(prepared: Prepared, models: tuple[ModelPlan, ...]) -> dict[str, int]:
    """Finalists are dealt over the models in turn; the best random trial may come on top, and is
    taken to be of the dearest model."""
    count = max(prepared.spec.confirm.finalists, len(models))
    each, over = divmod(count, len(models))
    dealt = {m.model: each + (i < over) for i, m in enumerate(models)}
    dealt[max(models, key=lambda m: m.seconds_per_trial).model] += 1
    most = prepared.spec.search.trials_per_model
    return {m: min(n, most) for m, n in dealt.items()}


def _scored(prepared: Prepared, model: str, split: str) -> int:
    """Tokens of scoring all suites once: prompts and answers, without worked examples."""
    part = "validation" if split == "val" else "test"
    return sum(
        prepared.token_stats[model, f"{s.name}/{part}"].tokens for s in prepared.suites.values()
    )


def _disk(prepared: Prepared, models: tuple[ModelPlan, ...]) -> int:
    """Checkpoints of paused search trials, and tuned weights of confirmed runs."""
    finalists = _finalists(prepared, models)
    total = 0
    for model in models:
        each = max(CHECKPOINT_BYTES[m.method] for m in model.methods) * model.parameters
        paused = prepared.spec.search.trials_per_model if len(prepared.rungs) > 1 else 0
        kept = finalists[model.model] * prepared.spec.confirm.seeds
        total += paused * each + kept * MODEL_BYTES * model.parameters
    return total
