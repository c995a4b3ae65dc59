"""Models between a base and what was made of it: exact, restored, saved as they were scored."""

from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from keepgain.core.config import LoraSettings, Runtime, ScoreConfig, TrainerRef, TrialConfig
from keepgain.core.errors import UserError
from keepgain.core.items import read_items
from keepgain.core.record import RungReport
from keepgain.core.work import ScoreRequest, TrainRequest
from keepgain.trainers.data import DataCache
from keepgain.trainers.interpolate import check_interpolation
from keepgain.trainers.jobs import Jobs
from keepgain.trainers.models import BaseCache, plain
from keepgain.trainers.run import Run
from tests.trainers import tiny

IDS = torch.arange(6, 30).reshape(2, 12)


@pytest.fixture(scope="module", params=["full", "lora", "rslora"])
def run(request, tmp_path_factory, llama) -> Run:
    """Trained for some steps."""
    folder = tmp_path_factory.mktemp("run")
    lora = None if request.param == "full" else LoraSettings(rank=4)
    config = tiny.trial(
        folder, llama, method=request.param, lora=lora, learning_rate=1e-2,
        budget=1500, rungs=(1500,),
    )  # fmt: skip
    made = Run(config, 3, BaseCache(), DataCache())
    made.train(0, lambda tokens, values: None)
    return made


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        return model(IDS).logits


def by_hand(run: Run, alpha: float) -> torch.nn.Module:
    """An ordinary model whose every weight is base + alpha * (tuned - base), in float64."""
    base = AutoModelForCausalLM.from_pretrained(run.config.model.path, dtype=torch.float64).eval()
    tuned: dict[str, torch.Tensor] = {}
    for name, parameter in plain(run.model).named_parameters():
        tuned[name.replace(".base_layer", "")] = parameter.detach().double()
    for name, module in plain(run.model).named_modules():
        if hasattr(module, "get_delta_weight"):
            tuned[f"{name}.weight"] += module.get_delta_weight("default").detach().double()
    for name, parameter in base.named_parameters():
        parameter.data += alpha * (tuned[name] - parameter.data)
    return base


@pytest.mark.parametrize("alpha", [0.5, 0.9])
def test_the_model_is_base_plus_a_share_of_the_step_in_every_weight(run, alpha):
    with run.served(alpha):
        found = logits(run.model)
    torch.testing.assert_close(found.double(), logits(by_hand(run, alpha)), rtol=0, atol=2e-6)
    tuned = logits(by_hand(run, 1.0))
    assert (found.double() - tuned).abs().max() > 1e-3, "training has moved nothing to speak of"


def test_afterwards_every_weight_is_the_very_tensor_that_it_was(run):
    before = {n: (p.data_ptr(), p.detach().clone()) for n, p in run.model.named_parameters()}
    with pytest.raises(RuntimeError, match="scoring fails"), run.served(0.5):
        raise RuntimeError("scoring fails")
    for name, parameter in run.model.named_parameters():
        place, values = before[name]
        assert parameter.data_ptr() == place
        assert torch.equal(parameter, values)


def train(jobs: Jobs, config: TrialConfig, sweep: Path, rung: int, **options) -> RungReport:
    request = TrainRequest(config=config, seed=3, rung=rung, sweep_folder=str(sweep), **options)
    reply = jobs.do(request)
    assert reply.report is not None, f"{reply.cause}: {reply.detail}"
    return reply.report


def scores(sweep: Path, path: str) -> list[tuple[str, str, list[float]]]:
    return [(key, s.suite, s.values.tolist()) for key, s in read_items(sweep / path)]


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_share_scored_from_memory_is_what_training_at_that_share_scores_saves_and_serves(
    tmp_path, qwen3, method
):
    """In bfloat16 on disk, so that full weights are rounded as they are served."""
    config = tiny.trial(tmp_path, qwen3, method=method, budget=1500, rungs=(700, 1500))
    shares = (0.5, 0.9)
    searched, jobs = tmp_path / "search", Jobs()
    first = train(jobs, config, searched, 0, interpolate=shares)
    tuned = train(jobs, config, searched, 1, interpolate=shares)
    assert first.candidates == (), "only the full budget is scored so"
    assert [c.interpolation for c in tuned.candidates] == [0.5, 0.9]

    confirmed = tmp_path / "confirm"
    plainly = train(Jobs(), config, confirmed, 1)
    assert scores(confirmed, plainly.items_path) == scores(searched, tuned.items_path)
    assert plainly.metrics == tuned.metrics

    half = tuned.candidates[0]
    other = config.model_copy(update={"interpolation": 0.5})
    assert other.trial_id != config.trial_id and other.training_id == config.trial_id
    again = train(jobs, other, confirmed, 1, keep_model=True)
    assert scores(confirmed, again.items_path) == scores(searched, half.items_path)
    names = {name for name in half.metrics if not name.startswith("train/")}
    assert {n: again.metrics[n] for n in names} == {n: half.metrics[n] for n in names}
    assert half.metrics["validation/words"] != tuned.metrics["validation/words"]
    assert half.cost["train_flops"] == tuned.cost["train_flops"]

    job = ScoreRequest(
        config=ScoreConfig(
            model=qwen3, checkpoint=again.model_folder, trained_by=again.run_key,
            suites=config.suites,
        ),
        report_as=again.run_key,
        sweep_folder=str(confirmed),
    )  # fmt: skip
    served = jobs.do(job).report
    assert served is not None
    assert scores(confirmed, served.items_path) == scores(confirmed, again.items_path)


def test_a_training_whose_points_could_not_be_scored_goes_on_from_its_checkpoint(tmp_path, llama):
    config = tiny.trial(tmp_path, llama, method="lora", budget=1500, rungs=(700, 1500))
    first = train(Jobs(), config, tmp_path, 0, keep_checkpoint=True)
    kept = tmp_path / str(first.checkpoint)
    in_the_way = tmp_path / "runs" / first.run_key / "items-interpolated-0.5.parquet"
    in_the_way.mkdir()
    request = TrainRequest(
        config=config, seed=3, rung=1, sweep_folder=str(tmp_path), resume_from=first.checkpoint,
        keep_checkpoint=False, interpolate=(0.5,),
    )  # fmt: skip
    assert Jobs().do(request).report is None
    assert kept.is_dir()
    in_the_way.rmdir()
    report = Jobs().do(request).report
    assert report is not None
    assert not any("checkpoint not used" in w for w in report.warnings)
    assert [c.interpolation for c in report.candidates] == [0.5]
    assert not kept.exists()


def test_training_goes_on_as_if_nothing_had_been_scored_in_between(tmp_path, llama):
    config = tiny.trial(tmp_path, llama, budget=1500, rungs=(700, 1500))
    runs = [Run(config, 3, BaseCache(), DataCache()) for _ in range(2)]
    for one in runs:
        one.train(0, lambda tokens, values: None)
    with runs[0].served(0.8):
        pass
    for one in runs:
        one.train(1, lambda tokens, values: None)
    weights = [dict(one.model.named_parameters()) for one in runs]
    assert all(torch.equal(p, weights[1][n]) for n, p in weights[0].items())


@pytest.mark.parametrize("run", ["lora", "rslora"], indirect=True)
def test_a_saved_adapter_needs_nothing_but_peft(tmp_path, run):
    run.config = run.config.model_copy(update={"interpolation": 0.7})
    try:
        run.export(tmp_path / "model")
    finally:
        run.config = run.config.model_copy(update={"interpolation": 1.0})
    base = AutoModelForCausalLM.from_pretrained(run.config.model.path, dtype=torch.float32)
    loaded = PeftModel.from_pretrained(base, tmp_path / "model").eval()
    with run.served(0.7):
        assert np.array_equal(logits(loaded), logits(run.model))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"method": "dora", "lora": LoraSettings()}, "dora is not linear"),
        ({"runtime": Runtime(engine="deepspeed", zero_stage=3)}, "ZeRO-3"),
        ({"trainer": TrainerRef(function="a:b")}, "a trainer of your own"),
    ],
)
def test_what_has_no_point_between_is_refused_by_the_field(tmp_path, llama, options, said):
    config = tiny.trial(tmp_path, llama, **options)
    check_interpolation(config, ())
    for given, shares in ((config, (0.9,)), (config.model_copy(update={"interpolation": 0.9}), ())):
        with pytest.raises(UserError, match=said) as refused:
            check_interpolation(given, shares)
        assert refused.value.where == "interpolation"
