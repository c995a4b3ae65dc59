"""How much memory training needs, from config.json and the settings: an estimate with its sums.

Weights, gradients and optimizer states follow from the parameter counts. Activations are counted
layer by layer as what the backward pass keeps (no gradient checkpointing, attention without its
score matrix), and are the part that may be off by some tens of percent.
"""

from dataclasses import dataclass

from keepgain.core.config import LoraSettings, TrialConfig
from keepgain.core.units import human_bytes, human_count
from keepgain.trainers.cost import BYTES, Shape, lora_parameters

_ADAM_BYTES = 8
"""Two float32 moments."""
_GRADIENT_BYTES = 4
_MASTER_BYTES = 4


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
    """Peak memory of a training step.

    Args:
        length: Tokens of the longest row; None: `config.max_length`.
        dtype: The dtype of computation, `float32` or `bfloat16`.
    """
    compute = BYTES[dtype]
    if config.method == "full":
        parts = _full(shape, config, compute)
    else:
        parts = _adapters(shape, config.lora or LoraSettings(), compute)
    rows = min(config.runtime.micro_batch_size or config.batch_size, config.batch_size)
    tokens = rows * (length or config.max_length)
    return Estimate((*parts, *_activations(shape, tokens, compute)))


def _full(shape: Shape, config: TrialConfig, compute: int) -> tuple[Part, ...]:
    """Weights in float32 (see `methods`), plus the copies of a 16-bit forward pass."""
    n = shape.parameters
    count = human_count(n)
    shared = max(config.runtime.world_size, 1) if config.runtime.zero_stage else 1
    split = f" / {shared} ranks" if shared > 1 else ""
    parts = [
        Part("weights", n * _MASTER_BYTES, f"{count} x {_MASTER_BYTES} B (float32)"),
        Part("gradients", n * _GRADIENT_BYTES, f"{count} x {_GRADIENT_BYTES} B"),
        Part("AdamW moments", n * _ADAM_BYTES // shared, f"{count} x {_ADAM_BYTES} B{split}"),
    ]
    if compute < _MASTER_BYTES:
        parts.append(Part("16-bit copies", n * compute, f"{count} x {compute} B (autocast)"))
    return tuple(parts)


def _adapters(shape: Shape, lora: LoraSettings, compute: int) -> tuple[Part, ...]:
    n, a = shape.parameters, lora_parameters(shape, lora.rank, lora.targets)
    each = _MASTER_BYTES + _GRADIENT_BYTES + _ADAM_BYTES
    return (
        Part("frozen weights", n * compute, f"{human_count(n)} x {compute} B"),
        Part(
            "adapters",
            a * each,
            f"{human_count(a)} (rank {lora.rank}) x {each} B: weight, gradient, moments",
        ),
    )


def _activations(shape: Shape, tokens: int, compute: int) -> tuple[Part, ...]:
    h, f, kv = shape.hidden, shape.intermediate, shape.kv_heads * shape.head_dim
    q = shape.heads * shape.head_dim
    # Kept per token and layer: two norms (input in float32 and normalised), queries, keys and
    # values before and after rotation, the attention's output, and four vectors of the MLP.
    gated = 4 if shape.family != "gpt_neox" else 2
    values = 4 * h + 3 * q + 3 * kv + gated * f
    # Logits, their float32 copy and its log-softmax.
    heads = tokens * shape.vocabulary * (compute + 8)
    return (
        Part(
            "activations",
            tokens * shape.layers * values * compute,
            f"{tokens} tokens x {shape.layers} layers x {values} values x {compute} B",
        ),
        Part("logits", heads, f"{tokens} tokens x {shape.vocabulary} x {compute + 8} B at most"),
    )
