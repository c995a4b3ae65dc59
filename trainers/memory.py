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
    on_host: bool = False
    """Offloaded: in the memory of the machine, not of the device."""


@dataclass(frozen=True)
class Estimate:
    """Memory of one rank while it trains."""

    parts: tuple[Part, ...]

    @property
    def bytes(self) -> int:
        """The sum of all parts on the device."""
        return sum(p.bytes for p in self.parts if not p.on_host)

    def explain(self) -> str:
        """One line a part, and the sum; for the plan and for refusals."""
        width = max(len(p.name) for p in self.parts)
        lines = [
            f"{p.name:<{width}}  {human_bytes(p.bytes):>9}  {p.arithmetic}"
            f"{', on the host: not in the sum' if p.on_host else ''}"
            for p in self.parts
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
        parts = (_frozen(shape, config, compute), *_adapter(adapter, config))
    share = -(-config.batch_size // config.runtime.world_size)
    rows = min(config.runtime.micro_batch_size or share, share)
    longest = length or config.max_length
    activations = _activations(shape, rows * longest, longest, compute, config.runtime)
    return Estimate((*parts, *activations))


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
    host = _on_host(runtime)
    parts = [
        _part("weights", n, held, _spread(runtime, 3), "weights" in host),
        _part("gradients", n, held, _spread(runtime, 2), "gradients" in host),
        _part("AdamW moments", n, _ADAM_BYTES, _spread(runtime, 1), "states" in host),
    ]
    if runtime.engine != "deepspeed" and compute < held:
        parts.append(_part("16-bit copies", n, compute, 1))
    if runtime.engine == "deepspeed" and (runtime.zero_stage or compute < _MASTER_BYTES):
        ranks = _spread(runtime, 1)
        parts.append(_part("float32 copy", n, _MASTER_BYTES, ranks, "states" in host))
    return tuple(parts)


def _on_host(runtime: Runtime) -> set[str]:
    """What DeepSpeed's offload moves off the device: with the optimizer its states, and from ZeRO 2
    on the gradients too (Ren et al. 2021, arXiv 2101.06840)."""
    given = (runtime.deepspeed or {}).get("zero_optimization", {})
    assert isinstance(given, dict), "checked by sweeps.spec_deepspeed"
    moved = {
        name
        for name in ("offload_optimizer", "offload_param")
        if isinstance(to := given.get(name), dict) and to.get("device") in ("cpu", "nvme")
    }
    host = {"weights"} if "offload_param" in moved else set()
    if "offload_optimizer" in moved:
        host |= {"states"} | ({"gradients"} if runtime.zero_stage >= 2 else set())
    return host


def _frozen(shape: Shape, config: TrialConfig, compute: int) -> Part:
    ranks, host = _spread(config.runtime, 3), _on_host(config.runtime)
    if config.method != "qlora":
        return _part("frozen weights", shape.parameters, compute, ranks, "weights" in host)
    packed = shape.layers * sum(x.inputs * x.outputs for x in shape.linears)
    rest = shape.parameters - packed
    return Part(
        "frozen weights",
        round(packed * _NF4_BYTES) + rest * compute,
        f"{human_count(packed)} x {_NF4_BYTES:.3f} B (4 bits) + {human_count(rest)} x {compute} B",
    )


def _adapter(a: int, config: TrialConfig) -> tuple[Part, ...]:
    runtime, host = config.runtime, _on_host(config.runtime)
    kind = f"rank {config.lora.rank}" if config.lora else "the default rank"
    if config.peft is not None:
        kind = f"{config.peft.type}, taken as LoRA of rank {peft_rank(config.peft)}"
    held = {
        "weight": (_MASTER_BYTES, 3, "weights"),
        "gradient": (_GRADIENT_BYTES, 2, "gradients"),
        "moments": (_ADAM_BYTES, 1, "states"),
    }
    parts = []
    for name, on_host in (("adapters", False), ("offloaded of adapters", True)):
        here = {k: v for k, v in held.items() if (v[2] in host) is on_host}
        if not here:
            continue
        each = sum(size for size, _, _ in here.values())
        size = sum(a * size // _spread(runtime, stage) for size, stage, _ in here.values())
        split = f", by ZeRO {runtime.zero_stage} over {runtime.world_size} ranks"
        arithmetic = f"{human_count(a)} ({kind}) x {each} B: {', '.join(here)}"
        arithmetic += split if size < a * each else ""
        parts.append(Part(name, size, arithmetic, on_host))
    return tuple(parts)


def _spread(runtime: Runtime, stage: int) -> int:
    """Over how many ranks a part lies that ZeRO splits from `stage` on (Rajbhandari et al. 2020,
    arXiv 1910.02054): 1 the optimizer's states, 2 the gradients too, 3 the weights too."""
    return runtime.world_size if runtime.zero_stage >= stage else 1


def _part(name: str, n: int, each: int, ranks: int, on_host: bool = False) -> Part:
    split = f" / {ranks} ranks" if ranks > 1 else ""
    return Part(name, n * each // ranks, f"{human_count(n)} x {each} B{split}", on_host)


def _activations(
    shape: Shape, tokens: int, length: int, compute: int, runtime: Runtime
) -> tuple[Part, ...]:
    h, f, kv = shape.hidden, shape.intermediate, shape.kv_heads * shape.head_dim
    q = shape.heads * shape.head_dim
    # Kept per token and layer: each norm's input in float32 and normalised, queries, keys and
    # values before and after rotation, the attention's output, and four vectors of the MLP.
    gated = 4 if shape.family != "gpt_neox" else 2
    values = 2 * shape.norms * h + 3 * q + 3 * kv + gated * f
    if shape.head_norms:
        values += 2 * (q + kv)
    if runtime.attention == "eager" or shape.caps_scores:
        # Its softmax, and of capped scores the tanh and its input too.
        values += (3 if shape.caps_scores else 2) * shape.heads * length
    kept, sum_of = shape.layers * values, f"{shape.layers} layers x {values}"
    if runtime.gradient_checkpointing:
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
