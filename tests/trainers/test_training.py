"""What must be equal to what, for runs of a few dozen steps."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from keepgain.core.config import LoraSettings, Runtime, ScoreConfig, TrialConfig
from keepgain.core.errors import UserError
from keepgain.core.items import read_items
from keepgain.core.record import RungReport
from keepgain.core.work import ScoreRequest, TrainRequest
from keepgain.trainers.accumulate import Accumulator
from keepgain.trainers.data import DataCache
from keepgain.trainers.engine import micro_batch_size
from keepgain.trainers.engine_torch import FILE
from keepgain.trainers.jobs import Jobs
from keepgain.trainers.methods import add_adapter, as_served, count_parameters
from keepgain.trainers.models import BaseCache, plain
from keepgain.trainers.reference import Prompting
from keepgain.trainers.run import Run
from keepgain.trainers.scoring import kl_to_base
from keepgain.trainers.suites import prepare_suite
from tests.trainers import tiny


def train(jobs: Jobs, config: TrialConfig, sweep: Path, rung: int = 1, **options) -> RungReport:
    request = TrainRequest(config=config, seed=3, rung=rung, sweep_folder=str(sweep), **options)
    reply = jobs.do(request)
    assert reply.report is not None, f"{reply.cause}: {reply.detail}"
    return reply.report


def figures(report: RungReport, sweep: Path) -> tuple:
    """Everything in a report that does not depend on the clock, and the items themselves."""
    items = [
        (key, s.suite, s.tokens, tuple(s.item_ids), tuple(s.values), tuple(s.weights))
        for key, s in read_items(sweep / report.items_path)
    ]
    return report.tokens, report.examples, report.metrics, report.drawn, items


def weights(report: RungReport, sweep: Path) -> dict[str, torch.Tensor]:
    assert report.checkpoint is not None
    return load_file(sweep / report.checkpoint / FILE)


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_warm_cold_and_uninterrupted_runs_are_equal_bit_for_bit(tmp_path, llama, method):
    config = tiny.trial(tmp_path, llama, method=method)
    once, warm, cold = (tmp_path / n for n in ("once", "warm", "cold"))
    whole = train(Jobs(), config, once)

    jobs = Jobs()
    first = train(jobs, config, warm, 0)
    second = train(jobs, config, warm, resume_from=first.checkpoint)

    stopped = train(Jobs(), config, cold, 0)
    resumed = train(Jobs(), config, cold, resume_from=stopped.checkpoint)

    assert figures(first, warm) == figures(stopped, cold)
    assert figures(whole, once) == figures(second, warm) == figures(resumed, cold)
    assert same(weights(whole, once), weights(second, warm))
    assert same(weights(whole, once), weights(resumed, cold))
    assert not (cold / str(stopped.checkpoint)).exists(), "older rungs are deleted"


@pytest.mark.fault("N10")
def test_the_same_seed_repeats_a_run_and_another_seed_does_not(tmp_path, llama):
    config = tiny.trial(tmp_path, llama, rungs=(600,), budget=600)
    one = train(Jobs(), config, tmp_path / "one", 0)
    two = train(Jobs(), config, tmp_path / "two", 0)
    assert figures(one, tmp_path / "one") == figures(two, tmp_path / "two")
    request = TrainRequest(config=config, seed=4, rung=0, sweep_folder=str(tmp_path / "three"))
    other = Jobs().do(request).report
    assert other is not None
    assert other.metrics != one.metrics


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_a_learning_rate_of_zero_changes_nothing_and_scores_exactly_as_the_base(
    tmp_path, request, family, method
):
    model = request.getfixturevalue(family)
    config = tiny.trial(
        tmp_path, model, method=method, learning_rate=0.0, weight_decay=0.5,
        budget=600, rungs=(600,),
    )  # fmt: skip
    jobs = Jobs()
    tuned = train(jobs, config, tmp_path, 0, keep_model=True)
    job = ScoreRequest(
        config=ScoreConfig(model=model, suites=config.suites),
        report_as="base",
        sweep_folder=str(tmp_path),
    )
    base = jobs.do(job).report
    assert base is not None
    assert base.tokens == 0
    for (_, a), (_, b) in zip(
        read_items(tmp_path / tuned.items_path), read_items(tmp_path / base.items_path), strict=True
    ):
        assert np.array_equal(a.values, b.values), a.suite
    bases, data = BaseCache(), DataCache()
    run = Run(config, 3, bases, data)
    before = {n: p.detach().clone() for n, p in run.model.named_parameters()}
    run.train(0, lambda tokens, values: None)
    assert all(torch.equal(before[n], p) for n, p in run.model.named_parameters())
    untouched = bases.load(model, torch.float32, torch.device("cpu"))
    for suite in config.suites:
        items = prepare_suite(run.codec, suite, data.items(suite), Prompting(), 256)
        assert kl_to_base(untouched.model, run.model, run.codec, items) == 0.0


def test_kl_to_base_is_positive_after_training(tmp_path, llama):
    config = tiny.trial(tmp_path, llama, budget=1500, rungs=(1500,))
    bases, data = BaseCache(), DataCache()
    run = Run(config, 0, bases, data)
    run.train(0, lambda tokens, values: None)
    run.model.eval()
    base = bases.load(llama, torch.float32, torch.device("cpu")).model
    items = prepare_suite(
        run.codec, config.suites[0], data.items(config.suites[0]), Prompting(), None
    )
    assert kl_to_base(base, run.model, run.codec, items) > 0.01


def test_micro_batches_give_the_gradient_of_the_whole_batch(tmp_path, llama):
    config = tiny.trial(tmp_path, llama)
    run = Run(config, 0, BaseCache(), DataCache())
    drawn = [run._rows[name][index] for name, index in run.mixture.rows(8)]
    assert len({r.loss_tokens for r in drawn}) > 1, "rows of unequal length show a wrong mean"
    gradients = []
    for micro in (8, 4, 3, 1):
        how = config.model_copy(update={"runtime": Runtime(micro_batch_size=micro)})
        loss = Accumulator(run.engine, how, run.codec.pad_id)(drawn)
        found = {n: p.grad.clone() for n, p in run.model.named_parameters() if p.grad is not None}
        gradients.append((loss, found))
        run.model.zero_grad()
    for loss, found in gradients[1:]:
        assert loss == pytest.approx(gradients[0][0], rel=1e-5)
        for name, gradient in gradients[0][1].items():
            torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6)


def test_training_lowers_the_loss_and_gains_on_the_task(tmp_path, llama):
    rows = tiny.sums(16)
    config = tiny.trial(
        tmp_path, llama, learning_rate=1e-2, budget=12_000, rungs=(12_000,), batch_size=16,
        mixture={"task": 1.0},
        sources=(tiny.source(tmp_path, "task", rows),),
        suites=(tiny.suite(tmp_path, "seen", rows, "exact_match"),),
    )  # fmt: skip
    report = train(Jobs(), config, tmp_path, 0)
    assert report.metrics["validation/seen"] > 0.6
    assert report.metrics["train/loss"] < 0.6


def test_an_adapter_with_b_zero_equals_the_base_and_merging_changes_little(tmp_path, llama):
    bases, cpu = BaseCache(), torch.device("cpu")
    base = bases.load(llama, torch.float32, cpu)
    wrapped = add_adapter(bases.load(llama, torch.float32, cpu).model, LoraSettings(rank=4)).eval()
    ids = torch.randint(6, 49, (3, 12))
    with torch.inference_mode():
        assert torch.equal(base.model(ids).logits, wrapped(ids).logits)
    torch.manual_seed(0)
    for name, parameter in wrapped.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.05)
    with torch.inference_mode():
        unmerged = wrapped(ids).logits
        assert not torch.allclose(unmerged, base.model(ids).logits, atol=1e-3)
        merged = wrapped.merge_and_unload()(ids).logits  # type: ignore[operator]
    torch.testing.assert_close(unmerged, merged, rtol=0, atol=1e-5)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_the_saved_model_scores_exactly_as_the_run_that_saved_it(tmp_path, qwen3, method):
    config = tiny.trial(tmp_path, qwen3, method=method, budget=1500, rungs=(1500,))
    jobs = Jobs()
    tuned = train(jobs, config, tmp_path, 0, keep_model=True, keep_checkpoint=False)
    assert tuned.checkpoint is None
    assert tuned.model_folder is not None
    job = ScoreRequest(
        config=ScoreConfig(
            model=qwen3,
            checkpoint=tuned.model_folder,
            trained_by=tuned.run_key,
            suites=config.suites,
        ),
        report_as=tuned.run_key,
        sweep_folder=str(tmp_path),
    )
    again = jobs.do(job).report
    assert again is not None
    assert again.tokens == tuned.tokens
    assert again.cost["parameters"] == tuned.cost["parameters"]
    assert again.items_path != tuned.items_path, "a rung's items are never overwritten"
    found, expected = (read_items(tmp_path / r.items_path) for r in (again, tuned))
    for (_, a), (_, b) in zip(found, expected, strict=True):
        assert np.array_equal(a.values, b.values)


def test_full_weights_are_held_in_float32_and_served_rounded(tmp_path, qwen3):
    config = tiny.trial(tmp_path, qwen3, runtime=Runtime(dtype="bfloat16"))
    run = Run(config, 0, BaseCache(), DataCache())
    held = {p.dtype for p in run.model.parameters()}
    assert held == {torch.float32}
    run.train(0, lambda tokens, values: None)
    before = {n: p.detach().clone() for n, p in run.model.named_parameters()}
    with as_served(run.model, torch.bfloat16):
        assert {p.dtype for p in run.model.parameters()} == {torch.bfloat16}
    assert all(torch.equal(before[n], p) for n, p in run.model.named_parameters())


@pytest.mark.fault("N1")
def test_not_a_number_ends_the_trial_and_names_step_and_rate(tmp_path, llama):
    config = tiny.trial(tmp_path, llama, learning_rate=1e30, warmup_share=0.0)
    reply = Jobs().do(TrainRequest(config=config, seed=0, rung=0, sweep_folder=str(tmp_path)))
    assert reply.report is None
    assert reply.cause == "nan"
    assert "step 1" in str(reply.detail)
    assert "learning rate 1e+30" in str(reply.detail)


@pytest.mark.fault("C1")
def test_a_damaged_checkpoint_is_not_used_and_the_run_says_it_started_over(tmp_path, llama):
    config = tiny.trial(tmp_path, llama)
    sweep = tmp_path / "sweep"
    first = train(Jobs(), config, sweep, 0)
    path = sweep / str(first.checkpoint) / FILE
    data = bytearray(path.read_bytes())
    data[-5] ^= 4
    path.write_bytes(data)
    resumed = train(Jobs(), config, sweep, 1, resume_from=first.checkpoint)
    assert "not what was written" in resumed.warnings[0]
    assert "started over" in resumed.warnings[1]
    whole = train(Jobs(), config, tmp_path / "whole", 1)
    assert figures(resumed, sweep) == figures(whole, tmp_path / "whole")


@pytest.mark.fault("C3")
def test_a_checkpoint_of_another_run_or_engine_is_refused_before_training(tmp_path, llama):
    config = tiny.trial(tmp_path, llama, method="lora")
    report = train(Jobs(), config, tmp_path, 0)
    folder = tmp_path / str(report.checkpoint)
    larger = tiny.trial(tmp_path, llama, method="lora", lora=LoraSettings(rank=8))
    with pytest.raises(UserError, match="belongs to run"):
        Run(larger, 3, BaseCache(), DataCache()).load(folder, at_most=1)
    run = Run(config, 3, BaseCache(), DataCache())
    run.config = config.model_copy(update={"runtime": Runtime(engine="deepspeed")})
    with pytest.raises(UserError, match="written with engine torch"):
        run.load(folder, at_most=1)


def test_unsupported_layouts_are_refused(tmp_path, llama):
    for runtime, reason in (
        (Runtime(world_size=2), "world_size 2 is asked for, and 1 processes run"),
        (Runtime(zero_stage=2), "needs engine: deepspeed"),
    ):
        config = tiny.trial(tmp_path, llama, runtime=runtime)
        with pytest.raises(UserError, match=reason):
            Run(config, 0, BaseCache(), DataCache())


def test_deepspeed_alone_needs_equal_micro_batches(tmp_path, llama):
    config = tiny.trial(tmp_path, llama, runtime=Runtime(micro_batch_size=3))
    assert micro_batch_size(config) == 3
    Run(config, 0, BaseCache(), DataCache()).train(0, lambda tokens, values: None)
    runtime = Runtime(engine="deepspeed", micro_batch_size=3)
    with pytest.raises(UserError, match="does not divide the 8 rows"):
        micro_batch_size(tiny.trial(tmp_path, llama, runtime=runtime))


@pytest.mark.fault("N8")
def test_drawn_counts_follow_the_mixture_and_cut_rows_are_reported(tmp_path, llama):
    config = tiny.trial(tmp_path, llama, max_length=16)
    report = train(Jobs(), config, tmp_path, 1)
    assert sum(d["tokens"] for d in report.drawn.values()) == report.tokens >= 4000
    assert report.drawn["replay"]["tokens"] == pytest.approx(0.25 * report.tokens, abs=64)
    assert any("were cut to 16 tokens" in w for w in report.warnings)


def test_counts_name_what_trains(llama):
    base = BaseCache().load(llama, torch.float32, torch.device("cpu")).model
    assert count_parameters(base)["parameters"] == sum(p.numel() for p in plain(base).parameters())
