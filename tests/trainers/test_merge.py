"""An adapter merged into its base is the model that was tuned."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from keepgain.core.config import LoraSettings
from keepgain.core.errors import UserError
from keepgain.core.publish import verify
from keepgain.core.work import TrainRequest
from keepgain.sweeps.iterate import merge_adapter
from keepgain.trainers.jobs import Jobs
from keepgain.trainers.methods import load_adapter
from keepgain.trainers.models import load_model
from tests.sweeps.test_export import base_ref, export, make_store
from tests.trainers import tiny


@pytest.fixture(scope="module")
def tuned(tmp_path_factory, llama):
    """An adapter trained for some steps, as a sweep exports it."""
    folder = tmp_path_factory.mktemp("tuned")
    config = tiny.trial(folder, llama, method="lora", lora=LoraSettings(rank=4), learning_rate=0.05)
    request = TrainRequest(config=config, seed=3, rung=1, sweep_folder=str(folder), keep_model=True)
    reply = Jobs().do(request)
    assert reply.report is not None and reply.report.model_folder is not None, reply.detail
    return folder / reply.report.model_folder


def logits(model, ids):
    with torch.no_grad():
        return model(input_ids=ids).logits


def test_the_merged_model_answers_as_base_and_adapter_do(tmp_path, llama, tuned):
    target = tmp_path / "starts" / "merged"
    merge_adapter(Path(llama.path), tuned, target)
    verify(target)
    ids = torch.arange(6, 30)[None, :]
    base = logits(load_model(llama.path, torch.float32), ids)
    adapted = logits(load_adapter(load_model(llama.path, torch.float32), str(tuned)), ids)
    merged = logits(load_model(target, torch.float32), ids)
    assert torch.allclose(merged, adapted, atol=1e-4)
    assert not torch.allclose(merged, base, atol=1e-2), "the adapter changes something"
    for name in ("tokenizer.json", "tokenizer_config.json", "config.json"):
        assert (target / name).is_file()


def test_an_exported_merge_is_one_whole_model_and_its_card_says_that_it_was_not_scored(
    tmp_path, llama, tuned
):
    store = make_store(tmp_path / "store", base_ref(Path(llama.path)), tuned, "lora")
    assert export(store, "last", "--to", tmp_path / "m", "--merge") == 0
    verify(tmp_path / "m")
    assert not [p for p in (tmp_path / "m").iterdir() if p.name.startswith("adapter")]
    ids = torch.arange(6, 30)[None, :]
    adapted = logits(load_adapter(load_model(llama.path, torch.float32), str(tuned)), ids)
    assert torch.allclose(
        logits(load_model(tmp_path / "m", torch.float32), ids), adapted, atol=1e-4
    )
    card = (tmp_path / "m" / "README.md").read_text()
    assert "merged into its base" in card and "The merged weights: scored was" in card


def test_what_is_merged_already_is_not_merged_again(tmp_path, llama, tuned, monkeypatch):
    target = tmp_path / "merged"
    merge_adapter(Path(llama.path), tuned, target)
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: pytest.fail("merged again"))
    merge_adapter(Path(llama.path), tuned, target)


def test_a_merge_that_fails_says_why_and_leaves_nothing(tmp_path, llama, tuned):
    broken = tmp_path / "adapter"
    shutil.copytree(tuned, broken)
    (broken / "adapter_model.safetensors").write_bytes(b"no")
    with pytest.raises(UserError, match="could not be merged into its base"):
        merge_adapter(Path(llama.path), broken, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_the_driver_finds_a_start_without_torch():
    code = "import keepgain.sweeps.iterate, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
