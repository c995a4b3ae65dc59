"""Sizes and costs of a model from its config.json alone: no weights, no torch.

Known families: Llama and Mistral (2302.13971), Qwen2, Qwen3, GPT-NeoX. FLOPs count a multiply-add
as two; N is without embeddings (Kaplan et al. 2020, arXiv 2001.08361).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keepgain.core.errors import UserError

FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "gpt_neox")

BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "int8": 1}


@dataclass(frozen=True)
class Linear:
    """One kind of linear layer of a block."""

    name: str
    inputs: int
    outputs: int
    bias: bool

    @property
    def parameters(self) -> int:
        """Weights and bias."""
        return self.inputs * self.outputs + (self.outputs if self.bias else 0)


@dataclass(frozen=True)
class Shape:
    """What config.json says about a model's size."""

    family: str
    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    tied: bool
    """Input embedding and output head are one table."""
    max_positions: int
    linears: tuple[Linear, ...]
    """Of one block; adapters go on these."""
    norm_parameters: int
    """Of one block."""
    final_norm_parameters: int

    @property
    def embedding_parameters(self) -> int:
        """Input embedding and output head."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2)

    @property
    def non_embedding_parameters(self) -> int:
        """Blocks and the last norm: the N of the FLOP formulas."""
        block = sum(x.parameters for x in self.linears) + self.norm_parameters
        return self.layers * block + self.final_norm_parameters

    @property
    def parameters(self) -> int:
        """All of them."""
        return self.embedding_parameters + self.non_embedding_parameters


def read_shape(folder: Path) -> Shape:
    """Reads `folder/config.json`.

    Raises:
        UserError: No such file, or a family whose layers are not known here.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot be read ({error}).", where=str(path)) from None
    return shape_of(config, where=str(path))


def shape_of(config: dict[str, Any], where: str = "config.json") -> Shape:
    """As `read_shape`, from the parsed configuration."""
    family = str(config.get("model_type"))
    if family not in FAMILIES:
        raise UserError(
            f"sizes of the model type '{family}' are not known from its configuration.",
            where=where,
            hint=f"Known: {', '.join(FAMILIES)}. `parameters_on_disk` counts any safetensors.",
        )
    try:
        return _shape(family, config)
    except KeyError as error:
        raise UserError(f"the key {error} is missing.", where=where) from None


def _shape(family: str, config: dict[str, Any]) -> Shape:
    hidden, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
    kv_heads = int(config.get("num_key_value_heads") or heads)
    head_dim = int(config.get("head_dim") or hidden // heads)
    intermediate = int(config["intermediate_size"])
    if family == "gpt_neox":
        kv_heads, head_dim = heads, hidden // heads
        linears = _neox_linears(hidden, intermediate, bool(config.get("attention_bias", True)))
        norms, final = 4 * hidden, 2 * hidden
    else:
        linears = _llama_linears(family, config, hidden, intermediate, heads, kv_heads, head_dim)
        # Qwen3 normalises each head's query and key.
        norms, final = 2 * hidden + (2 * head_dim if family == "qwen3" else 0), hidden
    return Shape(
        family=family,
        layers=int(config["num_hidden_layers"]),
        hidden=hidden,
        intermediate=intermediate,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        vocabulary=int(config["vocab_size"]),
        tied=bool(config.get("tie_word_embeddings", False)),
        max_positions=int(config.get("max_position_embeddings", 2048)),
        linears=linears,
        norm_parameters=norms,
        final_norm_parameters=final,
    )


def _llama_linears(
    family: str,
    config: dict[str, Any],
    hidden: int,
    intermediate: int,
    heads: int,
    kv_heads: int,
    head_dim: int,
) -> tuple[Linear, ...]:
    # Qwen2 has biases on query, key and value whatever its configuration says.
    attention = bool(config.get("attention_bias", False))
    qkv = attention or family == "qwen2"
    output = attention and family != "qwen2"
    mlp = bool(config.get("mlp_bias", False))
    return (
        Linear("q_proj", hidden, heads * head_dim, qkv),
        Linear("k_proj", hidden, kv_heads * head_dim, qkv),
        Linear("v_proj", hidden, kv_heads * head_dim, qkv),
        Linear("o_proj", heads * head_dim, hidden, output),
        Linear("gate_proj", hidden, intermediate, mlp),
        Linear("up_proj", hidden, intermediate, mlp),
        Linear("down_proj", intermediate, hidden, mlp),
    )


def _neox_linears(hidden: int, intermediate: int, attention_bias: bool) -> tuple[Linear, ...]:
    return (
        Linear("query_key_value", hidden, 3 * hidden, attention_bias),
        Linear("dense", hidden, hidden, attention_bias),
        Linear("dense_h_to_4h", hidden, intermediate, True),
        Linear("dense_4h_to_h", intermediate, hidden, True),
    )


def lora_parameters(shape: Shape, rank: int, targets: str | tuple[str, ...] = "all-linear") -> int:
    """Trainable parameters of LoRA: rank * (inputs + outputs) per adapted matrix."""
    adapted = [x for x in shape.linears if targets == "all-linear" or x.name in targets]
    return shape.layers * sum(rank * (x.inputs + x.outputs) for x in adapted)


def training_flops(non_embedding: int, tokens: int, adapter_parameters: int | None = None) -> float:
    """Estimated FLOPs of training on `tokens` tokens.

    Full fine-tuning: 6*N*T (forward 2, gradients of activations 2, of weights 2). LoRA:
    (4*N + 6*N_lora)*T, since frozen weights need no gradient.
    """
    if adapter_parameters is None:
        return 6.0 * non_embedding * tokens
    return (4.0 * non_embedding + 6.0 * adapter_parameters) * tokens


def forward_flops(shape: Shape, context: int = 0) -> float:
    """FLOPs of one token's forward pass: 2*N, and attention over `context` earlier tokens."""
    attention = 2 * shape.layers * context * shape.heads * shape.head_dim
    return 2.0 * shape.non_embedding_parameters + 2.0 * attention


def weight_bytes(shape: Shape, dtype: str = "bfloat16") -> int:
    """Bytes of the weights; `dtype` is a key of `BYTES`."""
    return shape.parameters * BYTES[dtype]


def kv_cache_bytes(shape: Shape, tokens: int = 1, dtype: str = "bfloat16") -> int:
    """Bytes of keys and values for `tokens` tokens: Llama-2-7B in 16 bits, 0.5 MiB a token."""
    per_token = 2 * shape.layers * shape.kv_heads * shape.head_dim * BYTES[dtype]
    return per_token * tokens


def parameters_on_disk(folder: Path) -> int:
    """Parameters stored in a folder's safetensors files, from their headers alone.

    Raises:
        UserError: No such file, or one whose header cannot be read.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise UserError("no safetensors file is here.", where=str(folder))
    return sum(_stored(path) for path in files)


def _stored(path: Path) -> int:
    try:
        with path.open("rb") as handle:
            size = int.from_bytes(handle.read(8), "little")
            header = json.loads(handle.read(size))
    except (OSError, ValueError) as error:
        raise UserError(f"the header cannot be read ({error}).", where=str(path)) from None
    total = 0
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        count = 1
        for dimension in entry["shape"]:
            count *= dimension
        total += count
    return total
