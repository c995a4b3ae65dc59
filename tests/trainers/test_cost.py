import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from keepgain.core.config import LoraSettings
from keepgain.core.errors import UserError
from keepgain.trainers import cost
from keepgain.trainers.methods import add_adapter, count_parameters
from tests.trainers import tiny

LLAMA_2_7B = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "vocab_size": 32000,
    "tie_word_embeddings": False,
    "max_position_embeddings": 4096,
}


def test_llama_2_7b_has_its_published_size_and_cache():
    shape = cost.shape_of(LLAMA_2_7B)
    assert shape.parameters == 6_738_415_616
    assert cost.kv_cache_bytes(shape, dtype="float16") == 512 * 1024
    assert cost.weight_bytes(shape) == 2 * 6_738_415_616
    assert cost.forward_flops(shape) == 2.0 * shape.non_embedding_parameters


def test_training_flops_are_six_n_t_and_two_thirds_of_it_for_adapters():
    assert cost.training_flops(1000, 10) == 60_000
    assert cost.training_flops(1000, 10, adapter_parameters=10) == (4000 + 60) * 10


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("llama", {}),
        ("llama", {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}),
        ("mistral", {}),
        ("qwen2", {"tie_word_embeddings": True}),
        ("qwen3", {"head_dim": 12}),
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
    model = AutoModelForCausalLM.from_config(config)
    shape = cost.shape_of(config.to_dict())
    counts = count_parameters(model)
    assert shape.parameters == counts["parameters"]
    assert shape.non_embedding_parameters == counts["non_embedding"]
    wrapped = add_adapter(model, LoraSettings(rank=3))
    adapted = count_parameters(wrapped)
    assert cost.lora_parameters(shape, 3) == adapted["trainable"]
    assert adapted["non_embedding"] == counts["non_embedding"]


def test_parameters_on_disk_come_from_the_headers(tmp_path):
    tiny.model_folder(tmp_path / "m", dtype=torch.bfloat16)
    shape = cost.read_shape(tmp_path / "m")
    assert cost.parameters_on_disk(tmp_path / "m") == shape.parameters


def test_unknown_families_and_missing_files_are_refused():
    with pytest.raises(UserError, match="'mamba' are not known"):
        cost.shape_of({"model_type": "mamba"})
    with pytest.raises(UserError, match="cannot be read"):
        cost.read_shape(Path("/nowhere"))
    with pytest.raises(UserError, match="'hidden_size' is missing"):
        cost.shape_of({"model_type": "llama"})


def test_cost_and_memory_never_import_torch():
    code = (
        "import sys, keepgain.trainers.cost, keepgain.trainers.memory; "
        "print([m for m in ('torch', 'transformers', 'peft', 'deepspeed') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
