"""How much memory training needs, from config.json and the settings: an estimate with its sums.

Weights, gradients and optimizer states follow from the parameter counts. Activations are counted
layer by layer as what the backward pass keeps (attention without its score matrix), and are the
part that may be off by some tens of percent. With gradient checkpointing that is the input of each
layer, and all of the one layer whose pass is being repeated (Chen et al. 2016, arXiv 1604.06174).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from keepgain.core.config import Runtime, TrialConfig
from keepgain.core.units import human_bytes, human_count
from keepgain.trainers.cost import BYTES, adapter_parameters, peft_rank
from keepgain.trainers.shape import Shape

_ADAM_BYTES = 8
"""Two float32 moments."""
_GRADIENT_BYTES = 4
_MASTER_BYTES = 4
_NF4_BYTES = (4 + 0.127) / 8
"""A weight in 4 bits and its share of the doubly quantised constants (Dettmers et al. 2023, arXiv
2305.14314, section 3)."""
ZERO_STAGES = (0, 1, 2, 3)


@dataclass(frozen=True)
class Part:
    """One summand, with the arithmetic that gave it."""

    name: str
    bytes: int
    arithmetic: str


@dataclass(frozen=True)
class Estimate:
    """Memory of one rank while it trains."""

    parts: tuple[Part, ...]

    @property
    def bytes(self) -> int:
        """The sum of all parts."""
        return sum(p.bytes for p in self.parts)

    def explain(self) -> str:
        """One line a part, and the sum; for the plan and for refusals."""
        width = max(len(p.name) for p in self.parts)
        lines = [
            f"{p.name:<{width}}  {human_bytes(p.bytes):>9}  {p.arithmetic}" for p in self.parts
        ]
        return "\n".join([*lines, f"{'sum':<{width}}  {human_bytes(self.bytes):>9}"])


def training_memory(
    shape: Shape, config: TrialConfig, *, length: int | None = None, dtype: str = "float32"
) -> Estimate:
    """Peak memory of a training step on one rank, by the engine, ZeRO stage and world size of
    `config.runtime`.

    Args:
        length: Tokens of the longest row; None: `config.max_length`.
        dtype: The dtype of computation, `float32` or `bfloat16`.
    """
    compute = BYTES[dtype]
    adapter = adapter_parameters(shape, config)
    if adapter is None:
        parts = _full(shape.parameters, config.runtime, compute)
    else:
        parts = (_frozen(shape, config, compute), _adapter(adapter, config))
    share = -(-config.batch_size // config.runtime.world_size)
    rows = min(config.runtime.micro_batch_size or share, share)
    tokens = rows * (length or config.max_length)
    repeated = config.runtime.gradient_checkpointing
    return Estimate((*parts, *_activations(shape, tokens, compute, repeated)))


def memory_by_stage(
    shape: Shape,
    config: TrialConfig,
    *,
    worlds: Sequence[int] = (1, 2, 4, 8),
    length: int | None = None,
    dtype: str = "float32",
) -> dict[tuple[int, int], Estimate]:
    """(ZeRO stage, ranks) → memory of one rank under DeepSpeed; ranks that do not divide the batch
    are left out. Arguments as of `training_memory`."""
    found = {}
    for world in worlds:
        if config.batch_size % world:
            continue
        for stage in ZERO_STAGES:
            update = {"engine": "deepspeed", "zero_stage": stage, "world_size": world}
            runtime = config.runtime.model_copy(update=update)
            spread = config.model_copy(update={"runtime": runtime})
            found[stage, world] = training_memory(shape, spread, length=length, dtype=dtype)
    return found


def _full(n: int, runtime: Runtime, compute: int) -> tuple[Part, ...]:
    """Weights in float32 (see `methods`) and the copies of a 16-bit forward pass; under DeepSpeed
    weights in the dtype of computation and the optimizer's own float32 copy of them."""
    held = compute if runtime.engine == "deepspeed" else _MASTER_BYTES
    parts = [
        _part("weights", n, held, _spread(runtime, 3)),
        _part("gradients", n, held, _spread(runtime, 2)),
        _part("AdamW moments", n, _ADAM_BYTES, _spread(runtime, 1)),
    ]
    if runtime.engine != "deepspeed" and compute < held:
        parts.append(_part("16-bit copies", n, compute, 1))
    if runtime.engine == "deepspeed" and (runtime.zero_stage or compute < _MASTER_BYTES):
        parts.append(_part("float32 copy", n, _MASTER_BYTES, _spread(runtime, 1)))
    return tuple(parts)


def _frozen(shape: Shape, config: TrialConfig, compute: int) -> Part:
    ranks = _spread(config.runtime, 3)
    if config.method != "qlora":
        return _part("frozen weights", shape.parameters, compute, ranks)
    packed = shape.layers * sum(x.inputs * x.outputs for x in shape.linears)
    rest = shape.parameters - packed
    return Part(
        "frozen weights",
        round(packed * _NF4_BYTES) + rest * compute,
        f"{human_count(packed)} x {_NF4_BYTES:.3f} B (4 bits) + {human_count(rest)} x {compute} B",
    )


def _adapter(a: int, config: TrialConfig) -> Part:
    runtime = config.runtime
    size = (
        a * _MASTER_BYTES // _spread(runtime, 3)
        + a * _GRADIENT_BYTES // _spread(runtime, 2)
        + a * _ADAM_BYTES // _spread(runtime, 1)
    )
    each = _MASTER_BYTES + _GRADIENT_BYTES + _ADAM_BYTES
    split = f", by ZeRO {runtime.zero_stage} over {runtime.world_size} ranks"
    kind = f"rank {config.lora.rank}" if config.lora else "the default rank"
    if config.peft is not None:
        kind = f"{config.peft.type}, taken as LoRA of rank {peft_rank(config.peft)}"
    return Part(
        "adapters",
        size,
        f"{human_count(a)} ({kind}) x {each} B: weight, gradient, moments"
        + (split if size < a * each else ""),
    )


def _spread(runtime: Runtime, stage: int) -> int:
    """Over how many ranks a part lies that ZeRO splits from `stage` on (Rajbhandari et al. 2020,
    arXiv 1910.02054): 1 the optimizer's states, 2 the gradients too, 3 the weights too."""
    return runtime.world_size if runtime.zero_stage >= stage else 1


def _part(name: str, n: int, each: int, ranks: int) -> Part:
    split = f" / {ranks} ranks" if ranks > 1 else ""
    return Part(name, n * each // ranks, f"{human_count(n)} x {each} B{split}")


def _activations(
    shape: Shape, tokens: int, compute: int, repeated: bool = False
) -> tuple[Part, ...]:
    h, f, kv = shape.hidden, shape.intermediate, shape.kv_heads * shape.head_dim
    q = shape.heads * shape.head_dim
    # Kept per token and layer: two norms (input in float32 and normalised), queries, keys and
    # values before and after rotation, the attention's output, and four vectors of the MLP.
    gated = 4 if shape.family != "gpt_neox" else 2
    values = 4 * h + 3 * q + 3 * kv + gated * f
    kept, sum_of = shape.layers * values, f"{shape.layers} layers x {values}"
    if repeated:
        kept, sum_of = shape.layers * h + values, f"({shape.layers} layers x {h} + {values})"
    # Logits, their float32 copy and its log-softmax.
    heads = tokens * shape.vocabulary * (compute + 8)
    return (
        Part(
            "activations",
            tokens * kept * compute,
            f"{tokens} tokens x {sum_of} values x {compute} B",
        ),
        Part("logits", heads, f"{tokens} tokens x {shape.vocabulary} x {compute + 8} B at most"),
    )
