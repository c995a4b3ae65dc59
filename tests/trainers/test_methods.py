"""Adapters of every kind: they start as the base, and are the same model merged and unmerged."""

import logging
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from keepgain.core.config import LoraSettings, Method, ModelRef, PeftSettings, Runtime, ScoreConfig
from keepgain.core.errors import UserError
from keepgain.core.items import read_items
from keepgain.core.work import ScoreRequest, TrainRequest
from keepgain.trainers.data import DataCache
from keepgain.trainers.jobs import Jobs
from keepgain.trainers.merge import merge
from keepgain.trainers.methods import (
    add_adapter,
    add_tuner,
    count_parameters,
    is_wrapped,
    merge_adapter,
    trainable,
)
from keepgain.trainers.models import BaseCache, load_model, plain
from keepgain.trainers.run import Run
from tests.trainers import tiny

VERA = PeftSettings.model_validate({"type": "vera", "r": 16, "target_modules": "all-linear"})
IA3 = PeftSettings.model_validate(
    {
        "type": "IA3",
        "target_modules": ["k_proj", "v_proj", "down_proj"],
        "feedforward_modules": ["down_proj"],
    }
)
ADAPTERS: dict[str, dict[str, Any]] = {
    "lora": {"method": "lora", "lora": LoraSettings(rank=4)},
    "rslora": {"method": "rslora", "lora": LoraSettings(rank=4)},
    "dora": {"method": "dora", "lora": LoraSettings(rank=4)},
    "vera": {"method": "peft", "peft": VERA},
    "ia3": {"method": "peft", "peft": IA3},
}


def wrapped(model: nn.Module, name: str) -> nn.Module:
    options = ADAPTERS[name]
    if "peft" in options:
        return add_tuner(model, options["peft"]).eval()
    return add_adapter(model, options["lora"], options["method"]).eval()


def items(sweep: Path, report: Any) -> dict[str, np.ndarray]:
    return {s.suite: s.values for _, s in read_items(sweep / report.items_path)}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ADAPTERS)
def test_a_fresh_adapter_changes_no_bit_of_the_base(llama, name, dtype):
    base = load_model(llama.path, dtype)
    ids = torch.arange(6, 36)[None, :]
    with torch.inference_mode():
        expected = base(ids).logits
        model = wrapped(load_model(llama.path, dtype), name)
        found = plain(model)(ids).logits
    if (name, dtype) == ("dora", torch.bfloat16):
        # PEFT computes the magnitude twice, and rounds it once: one step of bfloat16.
        torch.testing.assert_close(found, expected, rtol=2**-7, atol=2**-9)
    else:
        assert torch.equal(found, expected)
    assert {p.dtype for p in trainable(model).values()} == {torch.float32}
    counts = count_parameters(model)
    assert counts["parameters"] - counts["trainable"] == count_parameters(base)["parameters"]
    assert counts["non_embedding"] == count_parameters(base)["non_embedding"]


@pytest.mark.parametrize("name", ADAPTERS)
def test_merged_and_unmerged_score_the_same_item_by_item(tmp_path, llama, name):
    options = {"learning_rate": 3e-2, "budget": 1500, "rungs": (1500,), **ADAPTERS[name]}
    config = tiny.trial(tmp_path, llama, **options)
    request = TrainRequest(
        config=config, seed=3, rung=0, sweep_folder=str(tmp_path), keep_model=True
    )
    jobs = Jobs()
    tuned = jobs.do(request).report
    assert tuned is not None and tuned.model_folder is not None
    merge(Path(llama.path), tmp_path / tuned.model_folder, tmp_path / "merged")

    def scored(model: ModelRef, name: str, **of: Any) -> dict[str, np.ndarray]:
        scoring = ScoreConfig(model=model, suites=config.suites, **of)
        job = ScoreRequest(config=scoring, report_as=name, sweep_folder=str(tmp_path))
        report = jobs.do(job).report
        assert report is not None
        return items(tmp_path, report)

    unmerged = items(tmp_path, tuned)
    again = scored(llama, "again", checkpoint=tuned.model_folder, trained_by=tuned.run_key)
    merged = scored(ModelRef(name="m", path=str(tmp_path / "merged"), digest="m"), "merged")
    base = scored(llama, "base")
    for suite, values in unmerged.items():
        assert np.array_equal(again[suite], values), "what is saved is what was scored"
    assert np.array_equal(merged["sums"], unmerged["sums"])
    np.testing.assert_allclose(merged["words"], unmerged["words"], rtol=0, atol=1e-5)
    assert np.abs(base["words"] - unmerged["words"]).max() > 1e-3, "training changed something"


def test_rslora_scales_by_the_root_of_the_rank(llama):
    deltas = {}
    methods: tuple[Method, ...] = ("lora", "rslora")
    for method in methods:
        settings = LoraSettings(rank=4, targets=("q_proj",))
        model = add_adapter(load_model(llama.path, torch.float32), settings, method)
        name = "layers.0.self_attn.q_proj"
        before = load_model(llama.path, torch.float32).get_submodule(f"model.{name}").weight
        for key, parameter in trainable(model).items():
            torch.manual_seed(len(key))
            parameter.data.normal_(std=0.1)
        after = merge_adapter(model).get_submodule(f"model.{name}").weight
        deltas[method] = (after - before).detach()
    torch.testing.assert_close(deltas["rslora"], deltas["lora"] * math.sqrt(4))


def test_dora_trains_a_magnitude_for_each_output(llama):
    counts = {
        method: count_parameters(
            add_adapter(load_model(llama.path, torch.float32), LoraSettings(rank=4), method)
        )["trainable"]
        for method in ("lora", "dora")
    }
    # Two layers with outputs of width 16: q, k, v, o and down; 48: gate and up.
    assert counts["dora"] - counts["lora"] == 2 * (5 * 16 + 2 * 48)


def test_the_log_names_the_modules_that_adapters_are_on(llama, caplog):
    caplog.set_level(logging.INFO)
    wrapped(load_model(llama.path, torch.float32), "lora")
    chosen = "down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj"
    assert f"adapters on 14 modules: {chosen}" in caplog.text


def test_wrapping_gives_no_notice_of_names_that_are_to_go(llama):
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        wrapped(load_model(llama.path, torch.float32), "lora")


@pytest.mark.parametrize("stages", [(0, 1), (1,)])
def test_a_run_of_another_tuner_resumes_bit_exactly(tmp_path, llama, stages):
    config = tiny.trial(tmp_path, llama, method="peft", peft=VERA, budget=1200, rungs=(600, 1200))
    sweep, last = tmp_path / str(len(stages)), None
    for rung in stages:
        request = TrainRequest(
            config=config, seed=3, rung=rung, sweep_folder=str(sweep), resume_from=last
        )
        report = Jobs().do(request).report
        assert report is not None
        assert report.warnings == ()
        last = report.checkpoint
    run = Run(config, 3, BaseCache(), DataCache())
    assert is_wrapped(run.model)
    run.load(sweep / str(last), at_most=1)
    found = torch.cat([p.detach().flatten() for p in trainable(run.model).values()])
    whole = Run(config, 3, BaseCache(), DataCache())
    whole.train(1, lambda *_: None)
    wanted = torch.cat([p.detach().flatten() for p in trainable(whole.model).values()])
    assert torch.equal(found, wanted)


@pytest.mark.parametrize(
    ("given", "dtype", "where", "words"),
    [
        ({"type": "PROMPT_TUNING", "num_virtual_tokens": 2}, "float32", "peft.type", "own"),
        ({"type": "VERA", "rank": 3}, "float32", "peft.rank", "no option 'rank'"),
        ({"type": "VERA", "target_modules": ["c_attn"]}, "float32", "peft", "No layers types"),
        ({"type": "VERA", "r": 0}, "float32", "peft", "division by zero"),
        (
            {"type": "LN_TUNING", "target_modules": ["input_layernorm"]},
            "bfloat16",
            "peft.type",
            "in 16 bits",
        ),
    ],
)
def test_tuners_that_do_not_fit_are_refused(llama, given, dtype, where, words):
    model = load_model(llama.path, getattr(torch, dtype))
    with pytest.raises(UserError) as refused:
        add_tuner(model, PeftSettings.model_validate(given))
    assert refused.value.where == where
    assert words in refused.value.problem


def test_an_adapter_that_no_weight_can_hold_is_not_merged(llama):
    lily = PeftSettings.model_validate({"type": "LILY", "target_modules": "all-linear"})
    with pytest.raises(UserError, match="cannot be merged"):
        merge_adapter(add_tuner(load_model(llama.path, torch.float32), lily))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_qlora_without_a_gpu_is_refused_before_training(tmp_path, llama):
    config = tiny.trial(tmp_path, llama, method="qlora", lora=LoraSettings(rank=4))
    with pytest.raises(UserError, match="needs a CUDA GPU and the package bitsandbytes") as refused:
        Run(config, 3, BaseCache(), DataCache())
    assert "method: lora" in str(refused.value.hint)


@pytest.mark.gpu
def test_qlora_trains_on_weights_in_four_bits_and_scores_as_it_is_saved(tmp_path):
    pytest.importorskip("bitsandbytes")
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    base = tiny.model_folder(tmp_path / "m", width=64)
    config = tiny.trial(
        tmp_path, base, method="qlora", lora=LoraSettings(rank=4), budget=1500, rungs=(1500,),
        runtime=Runtime(gradient_checkpointing=True),
    )  # fmt: skip
    request = TrainRequest(
        config=config, seed=3, rung=0, sweep_folder=str(tmp_path), keep_model=True
    )
    jobs = Jobs()
    tuned = jobs.do(request).report
    assert tuned is not None and tuned.model_folder is not None
    scoring = ScoreConfig(
        model=base, suites=config.suites, checkpoint=tuned.model_folder, trained_by=tuned.run_key
    )
    job = ScoreRequest(config=scoring, report_as=tuned.run_key, sweep_folder=str(tmp_path))
    again = jobs.do(job).report
    assert again is not None
    for suite, values in items(tmp_path, tuned).items():
        assert np.array_equal(items(tmp_path, again)[suite], values)
