"""The sizes of a model from its config.json alone: no weights, no torch.

A family that is not in `FAMILIES`, or a key that decides the size and is missing, is refused, never
guessed.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keepgain.core.errors import UserError

FAMILIES = (
    "llama", "mistral", "mixtral", "qwen2", "qwen3", "qwen3_moe", "gemma", "gemma2", "gemma3_text",
    "gpt_neox",
)  # fmt: skip
_GEMMA = ("gemma", "gemma2", "gemma3_text")
_EXPERTS = ("mixtral", "qwen3_moe")
"""Mixtures of experts."""
_HEAD_NORMS = ("qwen3", "qwen3_moe", "gemma3_text")
"""Normalise each head's query and key."""
_SANDWICHED = ("gemma2", "gemma3_text")
"""Norms before and after attention and MLP."""
_LAYER_TYPES = ("qwen2", "qwen3", "gemma2", "gemma3_text")
"""Say which layers have a sliding window; elsewhere all layers have it, or none."""


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
    """Of the MLP that one token goes through, over all its experts."""
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    tied: bool
    """Input embedding and output head are one table."""
    max_positions: int
    linears: tuple[Linear, ...]
    """Of one block; adapters go on these. Without experts, which are no linear layers."""
    norm_parameters: int
    """Of one block."""
    final_norm_parameters: int
    experts: int = 0
    """Of one block; 0: a dense model."""
    experts_per_token: int = 0
    expert_parameters: int = 0
    """Of one expert of one block."""
    router_parameters: int = 0
    """Of one block: hidden x experts."""
    window: int | None = None
    """Tokens that layers with sliding attention look back on, and keep."""
    windowed_layers: int = 0

    @property
    def norms(self) -> int:
        """Of one block, those of single heads left out."""
        return 4 if self.family in _SANDWICHED else 2

    @property
    def head_norms(self) -> bool:
        """Each head's query and key is normalised."""
        return self.family in _HEAD_NORMS

    @property
    def caps_scores(self) -> bool:
        """Attention scores go through a tanh, which fused attention does not do."""
        return self.family == "gemma2"

    @property
    def embedding_parameters(self) -> int:
        """Input embedding and output head."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2)

    @property
    def non_embedding_parameters(self) -> int:
        """Blocks and the last norm."""
        return self._blocks(self.experts)

    @property
    def active_non_embedding_parameters(self) -> int:
        """What one token goes through: the N of the FLOP formulas."""
        return self._blocks(self.experts_per_token)

    def _blocks(self, experts: int) -> int:
        block = sum(x.parameters for x in self.linears) + self.norm_parameters
        block += self.router_parameters + experts * self.expert_parameters
        return self.layers * block + self.final_norm_parameters

    @property
    def parameters(self) -> int:
        """All of them."""
        return self.embedding_parameters + self.non_embedding_parameters

    @property
    def active_parameters(self) -> int:
        """Of one token; of a dense model all."""
        return self.embedding_parameters + self.active_non_embedding_parameters

    def tokens_seen(self, context: int) -> int:
        """Tokens before it that a token attends to, summed over the layers."""
        near = context if self.window is None else min(context, self.window)
        return (self.layers - self.windowed_layers) * context + self.windowed_layers * near


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
            hint=f"Known: {', '.join(FAMILIES)}.",
        )
    try:
        return _shape(family, config)
    except KeyError as error:
        raise UserError(f"the key {error} is missing.", where=where) from None


def idle_experts(config: dict[str, Any]) -> int:
    """Parameters that a token does not go through; 0 also where the family is not known."""
    try:
        shape = shape_of(config)
    except UserError:
        return 0
    return shape.parameters - shape.active_parameters


def _shape(family: str, config: dict[str, Any]) -> Shape:
    hidden, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
    kv_heads = _kv_heads(family, config, heads)
    head_dim = _head_dim(family, config, hidden // heads)
    intermediate = int(config["intermediate_size"])
    layers = int(config["num_hidden_layers"])
    moe: dict[str, int] = {}
    if family == "gpt_neox":
        linears = _neox_linears(hidden, intermediate, bool(config.get("attention_bias", True)))
        norms, final = 4 * hidden, 2 * hidden
    else:
        linears = _llama_linears(family, config, hidden, intermediate, heads, kv_heads, head_dim)
        norms, final = (4 if family in _SANDWICHED else 2) * hidden, hidden
        norms += 2 * head_dim if family in _HEAD_NORMS else 0
    if family in _EXPERTS:
        moe = _experts(family, config, hidden, layers)
        linears = linears[:4]
        intermediate = moe["experts_per_token"] * moe["expert_parameters"] // (3 * hidden)
    window, windowed = _window(family, config, layers)
    return Shape(
        family=family,
        layers=layers,
        hidden=hidden,
        intermediate=intermediate,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        vocabulary=int(config["vocab_size"]),
        tied=bool(config.get("tie_word_embeddings", family in _GEMMA)),
        max_positions=int(config.get("max_position_embeddings", 2048)),
        linears=linears,
        norm_parameters=norms,
        final_norm_parameters=final,
        window=window,
        windowed_layers=windowed,
        **moe,
    )


def _kv_heads(family: str, config: Mapping[str, Any], heads: int) -> int:
    if family == "gpt_neox":
        return heads
    # Where the key is missing, Llama has as many as heads; other families have numbers of their
    # own, which may change.
    key = "num_key_value_heads"
    given = config.get(key) if family == "llama" else config[key]
    return int(given or heads)


def _head_dim(family: str, config: Mapping[str, Any], share: int) -> int:
    if family == "gpt_neox":
        return share
    own = family in (*_GEMMA, "qwen3")
    return int(config["head_dim"] if own else config.get("head_dim") or share)


def _experts(family: str, config: Mapping[str, Any], hidden: int, layers: int) -> dict[str, int]:
    """Gated experts of three matrices each, and a router without bias, in every block."""
    dense = config.get("mlp_only_layers") or config.get("decoder_sparse_step", 1) != 1
    if dense:
        raise UserError(
            "blocks with and without experts are not counted.", hint=f"All {layers} must have them."
        )
    width = int(config["intermediate_size" if family == "mixtral" else "moe_intermediate_size"])
    # Transformers 5 writes Qwen's key under Mixtral's name.
    key = "num_experts" if "num_experts" in config else "num_local_experts"
    experts = int(config[key])
    return {
        "experts": experts,
        "experts_per_token": int(config["num_experts_per_tok"]),
        "expert_parameters": 3 * hidden * width,
        "router_parameters": hidden * experts,
    }


def _window(family: str, config: Mapping[str, Any], layers: int) -> tuple[int | None, int]:
    """(tokens of the sliding window, layers that have it); (None, 0) without."""
    optional = family in ("qwen2", "qwen3", "qwen3_moe")
    if family in ("llama", "gemma", "gpt_neox") or (
        optional and not config.get("use_sliding_window", False)
    ):
        return None, 0
    window = config.get("sliding_window") if family == "mixtral" else config["sliding_window"]
    if window is None:
        return None, 0
    if family not in _LAYER_TYPES:
        return int(window), layers
    return int(window), sum(t == "sliding_attention" for t in _layer_types(family, config, layers))


def _layer_types(family: str, config: Mapping[str, Any], layers: int) -> list[str]:
    """As the configuration says; older ones name a rule: Gemma 2 every other layer, Gemma 3 all but
    every sixth, Qwen those from `max_window_layers` on."""
    if config.get("layer_types"):
        return list(config["layer_types"])
    if family.startswith("qwen"):
        slides = [i >= int(config["max_window_layers"]) for i in range(layers)]
    else:
        every = 2 if family == "gemma2" else int(config.get("sliding_window_pattern") or 6)
        slides = [(i + 1) % every != 0 for i in range(layers)]
    return ["sliding_attention" if s else "full_attention" for s in slides]


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
