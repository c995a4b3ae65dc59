"""Costs that follow from a model's sizes."""

import subprocess
import sys

from keepgain.trainers import cost
from keepgain.trainers.shape import shape_of
from tests.trainers.test_shape import GEMMA_2_2B, LLAMA_2_7B, MISTRAL_7B, MIXTRAL_8X7B, QWEN3_06B


def test_llama_2_7b_caches_half_a_mebibyte_a_token():
    shape = shape_of(LLAMA_2_7B)
    assert cost.kv_cache_bytes(shape, dtype="float16") == 512 * 1024
    assert cost.kv_cache_bytes(shape, 4096, "float16") == 2 * 1024**3
    assert cost.weight_bytes(shape) == 2 * 6_738_415_616
    assert cost.weight_bytes(shape, "float32") == 2 * cost.weight_bytes(shape)


def test_grouped_queries_and_their_own_head_dim_decide_the_cache():
    # 28 layers x 8 heads for keys and values x 128 x 2 B, twice.
    assert cost.kv_cache_bytes(shape_of(QWEN3_06B)) == 2 * 28 * 8 * 128 * 2


def test_a_sliding_window_keeps_no_more_than_its_tokens():
    everywhere = shape_of(MISTRAL_7B)
    assert cost.kv_cache_bytes(everywhere, 4096) == 4096 * cost.kv_cache_bytes(everywhere)
    assert cost.kv_cache_bytes(everywhere, 32_768) == cost.kv_cache_bytes(everywhere, 4096)
    # Gemma 2: every other one of 26 layers.
    half = shape_of(GEMMA_2_2B)
    each = 2 * 4 * 256 * 2
    assert cost.kv_cache_bytes(half, 8192) == each * 13 * (4096 + 8192)


def test_forward_flops_are_two_n_and_attention_over_the_tokens_before():
    shape = shape_of(LLAMA_2_7B)
    n = 6_738_415_616 - 2 * 32_000 * 4096
    assert cost.forward_flops(shape) == 2.0 * n
    # 32 layers, 4096 wide, two products of 2 FLOPs each with every token of the context.
    assert cost.forward_flops(shape, 1000) - 2.0 * n == 32 * 1000 * 4096 * 2 * 2


def test_training_takes_three_forward_passes_and_adapters_two_with_all_the_attention():
    shape = shape_of(LLAMA_2_7B)
    assert cost.training_flops_per_token(shape, 1000) == 3 * cost.forward_flops(shape, 1000)
    n = shape.non_embedding_parameters
    attention = cost.forward_flops(shape, 1000) - cost.forward_flops(shape)
    adapters = cost.training_flops_per_token(shape, 1000, adapter_parameters=10)
    assert adapters == 4.0 * n + 6 * 10 + 3 * attention


def test_a_token_pays_for_the_experts_that_it_goes_through():
    shape = shape_of(MIXTRAL_8X7B)
    assert cost.forward_flops(shape) == 2.0 * shape.active_non_embedding_parameters
    assert cost.weight_bytes(shape) == 2 * shape.parameters


def test_training_flops_are_six_n_t_and_two_thirds_of_it_for_adapters():
    assert cost.training_flops(1000, 10) == 60_000
    assert cost.training_flops(1000, 10, adapter_parameters=10) == (4000 + 60) * 10


def test_a_report_says_nothing_of_a_family_that_is_not_known():
    assert cost.figures({"model_type": "mamba", "hidden_size": 8}, "float32") == {}
    found = cost.figures(LLAMA_2_7B, "bfloat16")
    assert found["active_parameters"] == 6_738_415_616
    assert found["kv_cache_bytes_per_token"] == 512 * 1024


def test_cost_and_memory_never_import_torch():
    code = (
        "import sys, keepgain.trainers.cost, keepgain.trainers.memory; "
        "print([m for m in ('torch', 'transformers', 'peft', 'deepspeed') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
