"""What one trial of each base model takes at its largest settings: tokens, memory and time."""

import math
from collections.abc import Sequence
from typing import Any

from keepgain.core.config import (
    LORA_FAMILY,
    LoraSettings,
    Method,
    SuiteRef,
    TrialConfig,
    has_adapter,
)
from keepgain.core.errors import UserError
from keepgain.core.schema import StrictModel
from keepgain.core.scorers import scorer
from keepgain.sweeps.base_models import BaseModel
from keepgain.sweeps.methods import methods_of
from keepgain.sweeps.plan.measured import Measured, suites_label
from keepgain.sweeps.plan.speed import Hardware, Scoring, Speed, choose_speed
from keepgain.sweeps.prepare import Prepared
from keepgain.sweeps.search.dimensions import ends
from keepgain.sweeps.search.space import Space
from keepgain.trainers.cost import BYTES, adapter_parameters, peft_rank, training_flops
from keepgain.trainers.memory import Estimate, Part, memory_by_stage, training_memory
from keepgain.trainers.shape import Shape, shape_of

CHECKPOINT_BYTES = 12
"""Of a paused trial, per trained parameter: weights and two moments in float32."""
WORKER_BYTES = 500 << 20
"""Resident memory of a worker on the CPU beside its model: 475 to 541 MiB, measured."""
USUAL_ANSWER = 8
"""Tokens that a batch generates beyond the mean answer until its last one has ended, assumed."""


class StageMemory(StrictModel):
    """Memory of one rank under DeepSpeed."""

    zero_stage: int
    world_size: int
    memory_bytes: int


class MethodPlan(StrictModel):
    """One trial of one base model by one method, at the largest settings that the space allows."""

    method: Method
    trainable_parameters: int
    memory_bytes: int
    memory_arithmetic: str
    memory_by_stage: tuple[StageMemory, ...]
    """Empty for a model type whose layers are not known."""
    flops: float
    """Of training, an estimate."""
    speed: Speed
    train_seconds: float
    checkpoint_bytes: int
    """From which a paused trial goes on."""
    export_bytes: int
    """Tuned weights that are kept for the test stage."""


class ModelPlan(StrictModel):
    """What one base model takes."""

    model: str
    parameters: int
    non_embedding_parameters: int
    """Of one token, where experts share the work."""
    tokens_per_trial: int
    """Training tokens, replay included, of the longest `duration`; it may be passed by less than
    one batch."""
    shortest: float
    """Shortest `duration` over the longest: 1 where it is not searched."""
    scored_tokens: int
    """Of all validation suites once."""
    methods: tuple[MethodPlan, ...]
    train_seconds: float
    """Mean over the methods, which are taken to be equally frequent; so the next two."""
    score_seconds: float
    other_seconds: float


def model_plan(
    prepared: Prepared,
    space: Space,
    model: BaseModel,
    hardware: Hardware,
    measured: Sequence[Measured] = (),
    given: float | None = None,
) -> ModelPlan:
    """Plans the trials of one base model; arguments as of `speed.choose_speed`."""
    name = model.ref.name
    shape = _shape(model)
    n = shape.active_non_embedding_parameters if shape else _non_embedding(model)
    durations = _values(space, "duration", 1.0)
    tokens = round(tokens_per_trial(prepared, name) * max(durations))
    scoring = _scoring(prepared, model, n, hardware.dtype)
    methods = []
    for method in methods_of(prepared.spec, space):
        config = largest_config(prepared, space, name, method)
        adapters = _adapters(model, shape, config)
        trained = model.parameters if adapters is None else adapters
        length = _longest(prepared, model, config)
        memory = _memory(model, shape, config, adapters, length, hardware)
        stages = (
            memory_by_stage(shape, config, length=length, dtype=hardware.dtype) if shape else {}
        )
        flops = training_flops(n, tokens, adapters)
        speed = choose_speed(
            measured,
            hardware,
            scoring,
            digest=model.ref.digest,
            parameters=model.parameters,
            method=method,
            given=given,
        )
        exported = BYTES[hardware.dtype] if adapters is None else BYTES["float32"]
        methods.append(
            MethodPlan(
                method=method,
                trainable_parameters=trained,
                memory_bytes=memory.bytes,
                memory_arithmetic=memory.explain(),
                memory_by_stage=tuple(
                    StageMemory(zero_stage=s, world_size=w, memory_bytes=e.bytes)
                    for (s, w), e in stages.items()
                ),
                flops=flops,
                speed=speed,
                train_seconds=flops / speed.flops_per_second,
                checkpoint_bytes=CHECKPOINT_BYTES * trained,
                export_bytes=exported * trained,
            )
        )
    return ModelPlan(
        model=name,
        parameters=model.parameters,
        non_embedding_parameters=n,
        tokens_per_trial=tokens,
        shortest=min(durations) / max(durations),
        scored_tokens=scoring.tokens,
        methods=tuple(methods),
        train_seconds=_mean([m.train_seconds for m in methods]),
        score_seconds=_mean([m.speed.score_seconds for m in methods]),
        other_seconds=_mean([m.speed.other_seconds for m in methods]),
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _scoring(prepared: Prepared, model: BaseModel, non_embedding: int, dtype: str) -> Scoring:
    stats = {
        s.name: prepared.token_stats[model.ref.name, f"{s.name}/validation"]
        for s in prepared.suites.values()
    }
    batch, steps = prepared.spec.training.scoring_batch_size, 0
    tokens = 0
    for ref in prepared.score_suites("validation"):
        tokens += round(stats[ref.name].tokens * _passes(prepared, ref))
        if scorer(ref.scorer).generates:
            each = stats[ref.name].answer_tokens / max(1, stats[ref.name].rows) + USUAL_ANSWER
            longest = min(each, ref.max_new_tokens or math.inf)
            steps += math.ceil(ref.items / batch) * math.ceil(longest)
    return Scoring(
        suites=suites_label((s.name, s.scorer) for s in prepared.score_suites("validation")),
        items=sum(s.items for s in prepared.score_suites("validation")),
        tokens=tokens,
        decoding_steps=steps,
        batch_size=batch,
        non_embedding=non_embedding,
        weight_bytes=BYTES[dtype] * model.parameters,
    )


def _passes(prepared: Prepared, ref: SuiteRef) -> float:
    """Times that an item of the suite goes through the model, generation of an answer apart."""
    if scorer(ref.scorer).needs == "base":
        return 2.0
    counts = prepared.suites[ref.name].choice_counts("validation")
    task = ref.options.lm_eval if ref.options else None
    # A worked example of a task is about as long as the question.
    shots = 1 + ((task.num_fewshot or 0) if task else 0)
    return shots * sum(counts) / len(counts) if counts else shots


def _shape(model: BaseModel) -> Shape | None:
    """None for a family that `trainers.shape` does not know; its stored tensors are used then."""
    try:
        return shape_of(model.config, str(model.folder / "config.json"))
    except UserError:
        return None


def _non_embedding(model: BaseModel) -> int:
    embedding = ("embed", "wte", "wpe", "lm_head")
    return sum(
        math.prod(shape)
        for name, shape in model.parameter_shapes
        if not any(part in name for part in embedding)
    )


def _adapters(model: BaseModel, shape: Shape | None, config: TrialConfig) -> int | None:
    """Parameters of the adapter; None where all weights train."""
    if shape is not None:
        return adapter_parameters(shape, config)
    if not has_adapter(config.method):
        return None
    matrices = [s for _, s in model.parameter_shapes if len(s) == 2]
    rank = peft_rank(config.peft) if config.peft else (config.lora or LoraSettings()).rank
    return rank * sum(a + b for a, b in matrices)


def _longest(prepared: Prepared, model: BaseModel, config: TrialConfig) -> int:
    """Tokens of the longest row that a trial meets."""
    stats = prepared.token_stats.items()
    longest = max(s.longest for (name, _), s in stats if name == model.ref.name)
    return min(longest, config.max_length)


def _memory(
    model: BaseModel,
    shape: Shape | None,
    config: TrialConfig,
    adapters: int | None,
    length: int,
    hardware: Hardware,
) -> Estimate:
    worker = Part("worker process", WORKER_BYTES, "torch and transformers, measured")
    beside = () if hardware.gpus else (worker,)
    if shape is not None:
        known = training_memory(shape, config, length=length, dtype=hardware.dtype)
        return Estimate((*known.parts, *beside))
    trained = model.parameters if adapters is None else adapters
    return Estimate(
        (
            Part("weights", 4 * model.parameters, f"{model.parameters} x 4 B (float32)"),
            Part("training", 12 * trained, f"{trained} x 12 B: gradient, moments"),
            Part("activations", 0, "not estimated for this model type"),
            *beside,
        )
    )


def largest_config(prepared: Prepared, space: Space, model: str, method: Method) -> TrialConfig:
    """The configuration of this method that needs most: largest batch, rows and adapters."""
    training = prepared.spec.training
    params: dict[str, object] = {"method": method, "learning_rate": training.learning_rate or 0.0}
    for name in ("batch_size", "max_length"):
        params[name] = max(_values(space, name, getattr(training, name)))
    if method in LORA_FAMILY:
        params["lora.rank"] = max(_values(space, "lora.rank", training.lora.rank))
    return prepared.trial_config(model, params)


def _values(space: Space, name: str, default: object) -> tuple[Any, ...]:
    """Values that a parameter may take; the ends of a range; the default if it is not searched."""
    for parameter in space.parameters:
        if parameter.name == name:
            return ends(parameter.dimension)
    return (default,)


def tokens_per_trial(prepared: Prepared, model: str) -> int:
    """Of a budget in examples: as if all came from the source with the longest rows."""
    if prepared.budget_unit == "tokens":
        return prepared.budget
    stats = [prepared.token_stats[model, f"{s.name}/train"] for s in prepared.source_refs]
    return round(prepared.budget * max(s.tokens / s.rows for s in stats))
