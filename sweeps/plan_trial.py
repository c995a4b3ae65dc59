"""What one trial of each base model takes: tokens, FLOPs and memory, at its largest settings."""

import math
from typing import Any

from keepgain.core.config import Method, TrialConfig
from keepgain.core.errors import UserError
from keepgain.core.schema import StrictModel
from keepgain.sweeps.base_models import BaseModel
from keepgain.sweeps.prepare import Prepared
from keepgain.sweeps.search.dimensions import Choice, Fixed, Real, Whole
from keepgain.sweeps.search.space import Space
from keepgain.trainers.cost import Shape, lora_parameters, shape_of, training_flops
from keepgain.trainers.memory import Estimate, Part, training_memory


class MethodPlan(StrictModel):
    """One trial of one base model by one method, at the largest settings that the space allows."""

    method: Method
    trainable_parameters: int
    memory_bytes: int
    memory_arithmetic: str
    flops: float
    """Of training, an estimate."""


class ModelPlan(StrictModel):
    """What one base model takes."""

    model: str
    parameters: int
    non_embedding_parameters: int
    tokens_per_trial: int
    """Training tokens, replay included."""
    methods: tuple[MethodPlan, ...]
    seconds_per_trial: float
    """Of the dearest method, by the plan's throughput."""


def model_plan(prepared: Prepared, space: Space, model: BaseModel, throughput: float) -> ModelPlan:
    name = model.ref.name
    shape = _shape(model)
    n = shape.non_embedding_parameters if shape else _non_embedding(model)
    tokens = _tokens_per_trial(prepared, name)
    methods = []
    for method in _values(space, "method", prepared.spec.training.method):
        config = _largest_config(prepared, space, name, method)
        adapters = None if config.lora is None else _adapters(model, shape, config)
        memory = _memory(prepared, model, shape, config, adapters)
        methods.append(
            MethodPlan(
                method=method,
                trainable_parameters=model.parameters if adapters is None else adapters,
                memory_bytes=memory.bytes,
                memory_arithmetic=memory.explain(),
                flops=training_flops(n, tokens, adapters),
            )
        )
    return ModelPlan(
        model=name,
        parameters=model.parameters,
        non_embedding_parameters=n,
        tokens_per_trial=tokens,
        methods=tuple(methods),
        seconds_per_trial=max(m.flops for m in methods) / throughput,
    )


def _shape(model: BaseModel) -> Shape | None:
    """None for a family that `trainers.cost` does not know; its stored tensors are used then."""
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


def _adapters(model: BaseModel, shape: Shape | None, config: TrialConfig) -> int:
    assert config.lora is not None
    if shape is not None:
        return lora_parameters(shape, config.lora.rank, config.lora.targets)
    matrices = [s for _, s in model.parameter_shapes if len(s) == 2]
    return config.lora.rank * sum(a + b for a, b in matrices)


def _memory(
    prepared: Prepared,
    model: BaseModel,
    shape: Shape | None,
    config: TrialConfig,
    adapters: int | None,
) -> Estimate:
    name = model.ref.name
    longest = max(s.longest for (m, _), s in prepared.token_stats.items() if m == name)
    if shape is not None:
        return training_memory(shape, config, length=min(longest, config.max_length))
    trained = model.parameters if adapters is None else adapters
    return Estimate(
        (
            Part("weights", 4 * model.parameters, f"{model.parameters} x 4 B (float32)"),
            Part("training", 12 * trained, f"{trained} x 12 B: gradient, moments"),
            Part("activations", 0, "not estimated for this model type"),
        )
    )


def _largest_config(prepared: Prepared, space: Space, model: str, method: Method) -> TrialConfig:
    """The configuration of this method that needs most: largest batch, rows and adapters."""
    training = prepared.spec.training
    params: dict[str, object] = {"method": method, "learning_rate": training.learning_rate or 0.0}
    for name in ("batch_size", "max_length"):
        params[name] = max(_values(space, name, getattr(training, name)))
    if method == "lora":
        params["lora.rank"] = max(_values(space, "lora.rank", training.lora.rank))
    return prepared.trial_config(model, params)


def _values(space: Space, name: str, default: object) -> tuple[Any, ...]:
    """Values that a parameter may take; the ends of a range; the default if it is not searched."""
    for parameter in space.parameters:
        if parameter.name == name:
            dimension = parameter.dimension
            match dimension:
                case Fixed():
                    return (dimension.value,)
                case Choice():
                    return dimension.choices
                case Real() | Whole():
                    return (dimension.low, dimension.high)
    return (default,)


def _tokens_per_trial(prepared: Prepared, model: str) -> int:
    """Of a budget in examples: as if all came from the source with the longest rows."""
    if prepared.budget_unit == "tokens":
        return prepared.budget
    stats = [prepared.token_stats[model, f"{s.name}/train"] for s in prepared.source_refs]
    return round(prepared.budget * max(s.tokens / s.rows for s in stats))
