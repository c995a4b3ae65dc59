"""Parameters that train, FLOPs and bytes, from a model's sizes: no weights, no torch.

FLOPs count a multiply-add as two; N is without embeddings (Kaplan et al. 2020, arXiv 2001.08361),
and of a mixture of experts what one token goes through. The attention of a token over c others adds
4*heads*head_dim*c per layer (Chowdhery et al. 2022, arXiv 2204.02311, appendix B).
"""

from typing import Any

from keepgain.core.config import (
    LoraSettings,
    Method,
    PeftSettings,
    TrialConfig,
    has_adapter,
)
from keepgain.core.errors import UserError
from keepgain.trainers.shape import Shape, shape_of

BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "int8": 1}


def lora_parameters(
    shape: Shape, rank: int, targets: str | tuple[str, ...] = "all-linear", method: Method = "lora"
) -> int:
    """Trainable parameters of LoRA: rank * (inputs + outputs) per adapted matrix; DoRA has a
    magnitude for each output beside them.

    Under `all-linear` PEFT adapts router and experts too, gate and up matrix as one of twice the
    rank. Of named targets, only those outside the experts are counted.
    """
    adapted = [x for x in shape.linears if targets == "all-linear" or x.name in targets]
    magnitudes = 1 if method == "dora" else 0
    block = sum(rank * (x.inputs + x.outputs) + magnitudes * x.outputs for x in adapted)
    if targets == "all-linear" and shape.experts:
        h, width = shape.hidden, shape.expert_parameters // (3 * shape.hidden)
        expert = 2 * rank * (h + 2 * width) + rank * (width + h)
        block += rank * (h + shape.experts) + shape.experts * expert
    return shape.layers * block


def adapter_parameters(shape: Shape, config: TrialConfig) -> int | None:
    """Parameters that an adapter of this configuration trains; None where all weights train.

    Of another tuner of PEFT: as LoRA of the rank that its options name, else of rank 8, the
    library's usual default. Most tuners hold fewer.
    """
    if not has_adapter(config.method):
        return None
    if config.peft is not None:
        return lora_parameters(shape, peft_rank(config.peft))
    lora = config.lora or LoraSettings()
    return lora_parameters(shape, lora.rank, lora.targets, config.method)


def peft_rank(settings: PeftSettings) -> int:
    """The rank that a tuner's options name, or 8."""
    rank = settings.options.get("r")
    return rank if isinstance(rank, int) and rank > 0 else 8


def training_flops(non_embedding: int, tokens: int, adapter_parameters: int | None = None) -> float:
    """Estimated FLOPs of training on `tokens` tokens.

    Full fine-tuning: 6*N*T (forward 2, gradients of activations 2, of weights 2). Adapters:
    (4*N + 6*N_adapter)*T, since frozen weights need no gradient.
    """
    if adapter_parameters is None:
        return 6.0 * non_embedding * tokens
    return (4.0 * non_embedding + 6.0 * adapter_parameters) * tokens


def forward_flops(shape: Shape, context: int = 0) -> float:
    """FLOPs of one token's forward pass: 2*N, and attention over `context` tokens.

    The mean over a causal row of T tokens has a context of about T / 2; the usual figure for the
    model FLOPs utilisation takes T (PaLM, appendix B).
    """
    return 2.0 * shape.active_non_embedding_parameters + _attention_flops(shape, context)


def training_flops_per_token(
    shape: Shape, context: int = 0, adapter_parameters: int | None = None
) -> float:
    """FLOPs of one token's forward and backward pass: as `training_flops`, and three times the
    forward pass's attention, which has no weights of its own."""
    weights = training_flops(shape.active_non_embedding_parameters, 1, adapter_parameters)
    return weights + 3.0 * _attention_flops(shape, context)


def _attention_flops(shape: Shape, context: int) -> float:
    """Queries times keys, and their weights times values: a multiply-add of 2 FLOPs each."""
    return 4.0 * shape.heads * shape.head_dim * shape.tokens_seen(context)


def weight_bytes(shape: Shape, dtype: str = "bfloat16") -> int:
    """Bytes of the weights; `dtype` is a key of `BYTES`."""
    return shape.parameters * BYTES[dtype]


def kv_cache_bytes(shape: Shape, tokens: int = 1, dtype: str = "bfloat16") -> int:
    """Bytes of keys and values for `tokens` tokens: Llama-2-7B in 16 bits, 0.5 MiB a token.

    Layers with a sliding window keep no more than that many tokens.
    """
    return 2 * shape.kv_heads * shape.head_dim * BYTES[dtype] * shape.tokens_seen(tokens)


def figures(config: dict[str, Any], dtype: str) -> dict[str, float]:
    """What a report says of a model as it is served, without adapters; nothing where the family is
    not known.

    Args:
        config: Parsed config.json.
        dtype: A key of `BYTES`, of weights and cache.
    """
    try:
        shape = shape_of(config)
    except UserError:
        return {}
    return {
        "active_parameters": float(shape.active_parameters),
        "embedding_parameters": float(shape.embedding_parameters),
        "forward_flops_per_token": forward_flops(shape),
        "weight_bytes": float(weight_bytes(shape, dtype)),
        "kv_cache_bytes_per_token": float(kv_cache_bytes(shape, 1, dtype)),
    }
