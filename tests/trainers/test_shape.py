"""Sizes from configurations alone, against published counts and against the library's models."""

from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from keepgain.core.config import LoraSettings
from keepgain.core.errors import UserError
from keepgain.trainers import cost
from keepgain.trainers.methods import add_adapter, count_parameters
from keepgain.trainers.shape import read_shape, shape_of

LLAMA_2_7B = {
    "model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32,
    "vocab_size": 32000, "tie_word_embeddings": False, "max_position_embeddings": 4096,
}  # fmt: skip
MISTRAL_7B = LLAMA_2_7B | {
    "model_type": "mistral", "intermediate_size": 14336, "num_key_value_heads": 8,
    "sliding_window": 4096, "max_position_embeddings": 32768,
}  # fmt: skip
MIXTRAL_8X7B = MISTRAL_7B | {
    "model_type": "mixtral", "sliding_window": None, "num_local_experts": 8,
    "num_experts_per_tok": 2,
}  # fmt: skip
QWEN3_06B = {
    "model_type": "qwen3", "hidden_size": 1024, "intermediate_size": 3072, "head_dim": 128,
    "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8,
    "vocab_size": 151936, "tie_word_embeddings": True, "use_sliding_window": False,
    "sliding_window": None, "max_window_layers": 28,
}  # fmt: skip
QWEN3_30B_A3B = {
    "model_type": "qwen3_moe", "hidden_size": 2048, "intermediate_size": 6144, "head_dim": 128,
    "num_hidden_layers": 48, "num_attention_heads": 32, "num_key_value_heads": 4,
    "vocab_size": 151936, "tie_word_embeddings": False, "num_experts": 128,
    "num_experts_per_tok": 8, "moe_intermediate_size": 768, "decoder_sparse_step": 1,
    "mlp_only_layers": [],
}  # fmt: skip
GEMMA_2B = {
    "model_type": "gemma", "hidden_size": 2048, "intermediate_size": 16384, "head_dim": 256,
    "num_hidden_layers": 18, "num_attention_heads": 8, "num_key_value_heads": 1,
    "vocab_size": 256000,
}  # fmt: skip
GEMMA_2_2B = {
    "model_type": "gemma2", "hidden_size": 2304, "intermediate_size": 9216, "head_dim": 256,
    "num_hidden_layers": 26, "num_attention_heads": 8, "num_key_value_heads": 4,
    "vocab_size": 256000, "sliding_window": 4096,
}  # fmt: skip
GEMMA_3_1B = {
    "model_type": "gemma3_text", "hidden_size": 1152, "intermediate_size": 6912, "head_dim": 256,
    "num_hidden_layers": 26, "num_attention_heads": 4, "num_key_value_heads": 1,
    "vocab_size": 262144, "sliding_window": 512, "sliding_window_pattern": 6,
}  # fmt: skip
NEOX_20B = {
    "model_type": "gpt_neox", "hidden_size": 6144, "intermediate_size": 24576,
    "num_hidden_layers": 44, "num_attention_heads": 64, "vocab_size": 50432,
    "tie_word_embeddings": False,
}  # fmt: skip


def built(config):
    """The library's model of a configuration, without memory for its weights."""
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(
            AutoConfig.for_model(**config), attn_implementation="eager"
        )


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (LLAMA_2_7B, 6_738_415_616),
        (MIXTRAL_8X7B, 46_702_792_704),
        (QWEN3_06B, 596_049_920),
        (QWEN3_30B_A3B, 30_532_122_624),
        (GEMMA_2B, 2_506_172_416),
        (GEMMA_2_2B, 2_614_341_888),
        (GEMMA_3_1B, 999_885_952),
        (NEOX_20B, 20_554_567_680),
    ],
    ids=lambda v: v["model_type"] if isinstance(v, dict) else "",
)
def test_full_sizes_are_the_published_ones_and_those_of_the_library(config, parameters):
    shape = shape_of(config)
    assert shape.parameters == parameters
    counts = count_parameters(built(config))
    assert counts["parameters"] == parameters
    assert counts["non_embedding"] == shape.active_non_embedding_parameters


def test_active_parameters_are_those_of_the_experts_that_a_token_goes_through():
    # 12.9 of 46.7 and 3.3 of 30.5 thousand million, as their authors say.
    mixtral, qwen = shape_of(MIXTRAL_8X7B), shape_of(QWEN3_30B_A3B)
    assert mixtral.parameters - mixtral.active_parameters == 32 * 6 * 3 * 4096 * 14336
    assert round(mixtral.active_parameters / 1e9, 1) == 12.9
    assert round(qwen.active_parameters / 1e9, 1) in (3.3, 3.4)
    dense = shape_of(LLAMA_2_7B)
    assert dense.active_parameters == dense.parameters


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("llama", {}),
        ("llama", {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}),
        ("mistral", {}),
        ("mixtral", {"num_local_experts": 4, "num_experts_per_tok": 2}),
        ("qwen2", {"tie_word_embeddings": True}),
        ("qwen3", {"head_dim": 12}),
        ("qwen3_moe", {"num_experts": 4, "moe_intermediate_size": 12, "head_dim": 8}),
        ("gemma", {"head_dim": 8, "tie_word_embeddings": True}),
        ("gemma2", {"head_dim": 8, "tie_word_embeddings": True}),
        ("gemma3_text", {"head_dim": 8, "tie_word_embeddings": True}),
        ("gpt_neox", {}),
    ],
)
def test_counts_equal_those_of_the_built_model(family, options):
    sizes = {
        "hidden_size": 16,
        "intermediate_size": 40,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "vocab_size": 50,
        "tie_word_embeddings": False,
        **({} if family == "gpt_neox" else {"num_key_value_heads": 2}),
        **options,
    }
    config = AutoConfig.for_model(family, **sizes)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    shape = shape_of(config.to_dict())
    counts = count_parameters(model)
    assert shape.parameters == counts["parameters"]
    assert shape.active_non_embedding_parameters == counts["non_embedding"]
    wrapped = add_adapter(model, LoraSettings(rank=3))
    adapted = count_parameters(wrapped)
    assert cost.lora_parameters(shape, 3) == adapted["trainable"]
    assert adapted["non_embedding"] == counts["non_embedding"]
    if shape.experts:
        return
    with torch.device("meta"):
        again = AutoModelForCausalLM.from_config(config)
    found = count_parameters(add_adapter(again, LoraSettings(rank=3), "dora"))["trainable"]
    assert cost.lora_parameters(shape, 3, method="dora") == found


@pytest.mark.parametrize(
    ("family", "options", "window", "layers"),
    [
        ("llama", {}, None, 0),
        ("mistral", {"sliding_window": 8}, 8, 12),
        ("mistral", {"sliding_window": None}, None, 0),
        ("qwen3", {"sliding_window": 8, "use_sliding_window": False}, None, 0),
        ("qwen3", {"sliding_window": 8, "use_sliding_window": True, "max_window_layers": 9}, 8, 3),
        ("gemma2", {"sliding_window": 8}, 8, 6),
        ("gemma3_text", {"sliding_window": 8}, 8, 10),
    ],
)
def test_windows_are_those_of_the_library(family, options, window, layers):
    given = {"num_hidden_layers": 12, "head_dim": 8, "num_key_value_heads": 2, **options}
    config = AutoConfig.for_model(family, **given)
    resolved = shape_of(config.to_dict())
    assert (resolved.window, resolved.windowed_layers) == (window, layers)
    # As an older folder has it: without the list of layers.
    older = {k: v for k, v in config.to_dict().items() if k != "layer_types"}
    if options.get("use_sliding_window"):
        older |= {"sliding_window": 8}
    assert shape_of(older) == resolved


def test_what_is_not_known_is_refused():
    with pytest.raises(UserError, match="'mamba' are not known"):
        shape_of({"model_type": "mamba"})
    with pytest.raises(UserError, match="cannot be read"):
        read_shape(Path("/nowhere"))
    with pytest.raises(UserError, match="'hidden_size' is missing"):
        shape_of({"model_type": "llama"})


@pytest.mark.parametrize(
    ("config", "key"),
    [(GEMMA_2B, "head_dim"), (QWEN3_06B, "head_dim"), (MISTRAL_7B, "num_key_value_heads"),
     (MISTRAL_7B, "sliding_window"), (MIXTRAL_8X7B, "num_experts_per_tok")],
)  # fmt: skip
def test_a_size_that_a_family_has_a_default_of_its_own_for_is_not_guessed(config, key):
    with pytest.raises(UserError, match=f"'{key}' is missing"):
        shape_of({k: v for k, v in config.items() if k != key})


def test_a_mixture_of_blocks_with_and_without_experts_is_not_guessed():
    for change in ({"mlp_only_layers": [0]}, {"decoder_sparse_step": 2}):
        with pytest.raises(UserError, match="with and without experts"):
            shape_of(QWEN3_30B_A3B | change)
