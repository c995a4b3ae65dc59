import torch
from transformers import AutoModelForCausalLM

from keepgain.core.config import LoraSettings, Runtime
from keepgain.trainers.cost import read_shape
from keepgain.trainers.memory import training_memory
from tests.trainers import tiny


def test_full_fine_tuning_takes_sixteen_bytes_a_parameter_and_activations(tmp_path):
    config = tiny.trial(tmp_path, tiny.model_folder(tmp_path / "m"))
    shape = read_shape(tmp_path / "m")
    parts = {p.name: p.bytes for p in training_memory(shape, config).parts}
    fixed = parts["weights"] + parts["gradients"] + parts["AdamW moments"]
    assert fixed == 16 * shape.parameters


def test_adapters_freeze_the_weights_in_the_dtype_of_computation(tmp_path):
    config = tiny.trial(
        tmp_path, tiny.model_folder(tmp_path / "m"), method="lora", lora=LoraSettings(rank=4)
    )
    shape = read_shape(tmp_path / "m")
    parts = {p.name: p.bytes for p in training_memory(shape, config, dtype="bfloat16").parts}
    assert parts["frozen weights"] == 2 * shape.parameters
    assert parts["adapters"] == 16 * 2560


def test_a_smaller_micro_batch_needs_less_and_the_text_shows_every_sum(tmp_path):
    model = tiny.model_folder(tmp_path / "m")
    shape = read_shape(tmp_path / "m")
    whole = training_memory(shape, tiny.trial(tmp_path, model))
    runtime = Runtime(micro_batch_size=2)
    cut = training_memory(shape, tiny.trial(tmp_path, model, runtime=runtime))
    assert cut.bytes < whole.bytes
    text = whole.explain()
    assert all(p.name in text and p.arithmetic in text for p in whole.parts)


def test_activations_are_estimated_within_a_third_of_what_backward_keeps(tmp_path):
    tiny.model_folder(tmp_path / "m", width=64, layers=4, intermediate_size=256)
    shape = read_shape(tmp_path / "m")
    config = tiny.trial(tmp_path, tiny.model_folder(tmp_path / "other"), batch_size=8)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "m", dtype=torch.float32)
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    ids = torch.randint(0, 49, (8, 64))
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
    assert hidden.requires_grad
    parts = {p.name: p.bytes for p in training_memory(shape, config, length=64).parts}
    assert 0.67 < parts["activations"] / sum(kept.values()) < 1.5
