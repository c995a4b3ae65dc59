"""How a base is read, and the ways to carry out its training pass."""

import json
import logging
import shutil
from pathlib import Path

import pytest
import torch

from keepgain.core.config import LoraSettings, ModelRef, Runtime
from keepgain.core.errors import UserError
from keepgain.core.work import TrainRequest
from keepgain.trainers.data import DataCache
from keepgain.trainers.jobs import Jobs
from keepgain.trainers.merge import merge
from keepgain.trainers.models import (
    BaseCache,
    checkpoint_activations,
    load_model,
    numerics_of,
)
from keepgain.trainers.models import plain as plain_model
from keepgain.trainers.run import Run
from tests.trainers import tiny

OWN_CODE = """
from transformers import LlamaConfig, LlamaForCausalLM

class OwnConfig(LlamaConfig):
    model_type = "own_llama"

class OwnForCausalLM(LlamaForCausalLM):
    config_class = OwnConfig

    def forward(self, *args, **kwargs):
        found = super().forward(*args, **kwargs)
        found.logits = found.logits * 0.5
        return found
"""


@pytest.fixture
def own(tmp_path, llama, monkeypatch) -> ModelRef:
    """A folder whose architecture is code that lies in it."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "m"))
    folder = tmp_path / "own"
    shutil.copytree(llama.path, folder)
    config = json.loads((folder / "config.json").read_text())
    names = {"AutoConfig": "code.OwnConfig", "AutoModelForCausalLM": "code.OwnForCausalLM"}
    own_names = {"auto_map": names, "model_type": "own_llama", "architectures": ["OwnForCausalLM"]}
    (folder / "config.json").write_text(json.dumps(config | own_names))
    (folder / "code.py").write_text(OWN_CODE)
    return ModelRef(name="own", path=str(folder), digest="d", trust_remote_code=True)


def losses(config, rung: int = 0) -> list[tuple[float, float]]:
    """Loss and gradient norm of every step."""
    run = Run(config, 3, BaseCache(), DataCache())
    points: list[tuple[float, float]] = []
    run.train(rung, lambda _, v: points.append((v["train/loss"], v["train/grad_norm"])))
    run.close()
    return points


def test_code_of_a_folder_is_not_run_unless_the_spec_says_so(tmp_path, own):
    with pytest.raises(UserError) as refused:
        load_model(own.path, torch.float32)
    assert "code in its folder, which is not run" in refused.value.problem
    assert "`trust_remote_code: true`" in str(refused.value.hint)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_code_that_is_trusted_trains_and_what_is_saved_loads_again(tmp_path, own, llama, method):
    ids = torch.arange(6, 30)[None, :]
    plain = load_model(llama.path, torch.float32)
    halved = load_model(own.path, torch.float32, trust_remote_code=True)
    assert torch.equal(halved(ids).logits, plain(ids).logits * 0.5), "its own forward pass runs"
    config = tiny.trial(tmp_path, own, method=method, budget=600, rungs=(600,))
    request = TrainRequest(
        config=config, seed=3, rung=0, sweep_folder=str(tmp_path), keep_model=True
    )
    reply = Jobs().do(request)
    assert reply.report is not None, reply.detail
    folder = tmp_path / str(reply.report.model_folder)
    if method == "lora":
        merge(Path(own.path), folder, tmp_path / "merged", trust_remote_code=True)
        folder = tmp_path / "merged"
    again = load_model(folder, torch.float32, trust_remote_code=True)
    assert type(again).__name__ == "OwnForCausalLM"


@pytest.mark.fault("C5")
def test_pickled_weights_are_not_read(tmp_path, llama):
    folder = tmp_path / "pickled"
    shutil.copytree(llama.path, folder)
    weights = load_model(llama.path, torch.float32).state_dict()
    torch.save(weights, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError) as refused:
        load_model(folder, torch.float32)
    assert "pickled, and unpickling can run code" in refused.value.problem
    assert "safetensors" in str(refused.value.hint)


def test_attention_is_fused_where_the_architecture_has_it_and_the_log_says_why(
    tmp_path, llama, caplog
):
    caplog.set_level(logging.INFO)
    model = load_model(llama.path, torch.float32)
    assert model.config._attn_implementation == "sdpa"
    assert "sdpa attention (PyTorch's fused attention)" in caplog.text
    eager = load_model(llama.path, torch.float32, "eager")
    ids = torch.arange(6, 30)[None, :]
    torch.testing.assert_close(eager(ids).logits, model(ids).logits, rtol=0, atol=1e-5)
    # Gemma 2 caps its scores, which the fused attention cannot.
    capped = tiny.model_folder(tmp_path / "gemma2", "gemma2", head_dim=8)
    assert load_model(capped.path, torch.float32).config._attn_implementation == "eager"
    assert "eager attention (this architecture has no SDPA)" in caplog.text
    with pytest.raises(UserError, match="no causal language model can be read here"):
        load_model(capped.path, torch.float32, "sdpa")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_flash_attention_without_a_gpu_is_refused_by_key():
    with pytest.raises(UserError, match="flash_attention_2 needs a CUDA GPU") as refused:
        numerics_of(Runtime(attention="flash_attention_2"))
    assert refused.value.where == "training.attention"


def test_a_worker_keeps_bases_of_each_attention_apart(llama):
    bases, cpu = BaseCache(), torch.device("cpu")
    for attention in ("sdpa", "eager", "sdpa"):
        model = bases.load(llama, torch.float32, cpu, attention).model
        assert model.config._attn_implementation == attention


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"method": "lora", "lora": LoraSettings(rank=4, dropout=0.2)},
        {"method": "dora", "lora": LoraSettings(rank=4)},
    ],
)
def test_gradient_checkpointing_changes_no_number(tmp_path, llama, options):
    plain = tiny.trial(tmp_path, llama, budget=800, rungs=(800,), **options)
    repeated = plain.model_copy(update={"runtime": Runtime(gradient_checkpointing=True)})
    run = Run(repeated, 3, BaseCache(), DataCache())
    assert plain_model(run.model).is_activation_checkpointing
    before = {n: p.detach().clone() for n, p in run.model.named_parameters() if p.requires_grad}
    run.train(0, lambda *_: None)
    changed = [n for n, p in run.model.named_parameters() if n in before and not p.equal(before[n])]
    assert len(changed) == len(before), "every trained weight has had a gradient"
    assert losses(repeated) == losses(plain)


def test_gradient_checkpointing_repeats_each_block_in_the_backward_pass(llama):
    model = load_model(llama.path, torch.float32)
    checkpoint_activations(model)
    calls = []
    for block in model.model.layers:
        block.mlp.register_forward_pre_hook(lambda *_: calls.append(1))
    ids = torch.arange(6, 30)[None, :]
    loss = model.train()(ids, use_cache=False).logits.sum()
    assert len(calls) == 2
    loss.backward()
    assert len(calls) == 4


def test_compiling_without_a_compiler_is_refused_by_key(tmp_path, llama, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    config = tiny.trial(tmp_path, llama, runtime=Runtime(compile=True, device="cpu"))
    with pytest.raises(UserError, match="no-such-compiler is missing") as refused:
        Run(config, 3, BaseCache(), DataCache())
    assert refused.value.where == "training.compile"
