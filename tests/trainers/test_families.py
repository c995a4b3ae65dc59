"""Causal models of several architectures: trained, scored, saved, loaded and merged alike."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from keepgain.core.config import ModelRef, Runtime, ScoreConfig, TrialConfig
from keepgain.core.items import read_items
from keepgain.core.record import RungReport
from keepgain.core.work import ScoreRequest, TrainRequest
from keepgain.trainers.jobs import Jobs
from tests.trainers import tiny

FAMILIES = ("llama", "qwen3", "gpt_neox", "gemma4_text")


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    return tiny.model_folder(tmp_path_factory.mktemp("families") / request.param, request.param)


def score(jobs: Jobs, model: ModelRef, config: TrialConfig, sweep: Path, **options) -> RungReport:
    scored = ScoreConfig(model=model, suites=config.suites, **options)
    job = ScoreRequest(config=scored, report_as="scored", sweep_folder=str(sweep))
    reply = jobs.do(job)
    assert reply.report is not None, reply.detail
    return reply.report


def values(sweep: Path, report: RungReport) -> Iterator[np.ndarray]:
    return (scores.values for _, scores in read_items(sweep / report.items_path))


def trained(jobs: Jobs, config: TrialConfig, sweep: Path) -> RungReport:
    request = TrainRequest(
        config=config, seed=3, rung=0, sweep_folder=str(sweep), keep_model=True,
        keep_checkpoint=False,
    )  # fmt: skip
    reply = jobs.do(request)
    assert reply.report is not None, reply.detail
    return reply.report


@pytest.mark.parametrize("method", ["full", "lora"])
def test_it_learns_and_what_it_saves_scores_as_it_did(tmp_path, model, method):
    config = tiny.trial(
        tmp_path, model, method=method, budget=1500, rungs=(1500,), learning_rate=1e-2
    )
    jobs = Jobs()
    before = score(jobs, model, config, tmp_path / "base")
    tuned = trained(jobs, config, tmp_path)
    name = "validation/words"
    # Around random weights that are frozen adapters can do little.
    least = 0.5 if method == "full" else 0.05
    assert tuned.metrics[name] < before.metrics[name] - least, "bits per byte fall"
    again = score(
        Jobs(), model, config, tmp_path, checkpoint=tuned.model_folder, trained_by=tuned.run_key
    )
    for a, b in zip(values(tmp_path, tuned), values(tmp_path, again), strict=True):
        assert np.array_equal(a, b)
    if method == "full":
        alone = AutoModelForCausalLM.from_pretrained(tmp_path / str(tuned.model_folder))
        assert alone.dtype == torch.float32
        assert alone.num_parameters() == tuned.cost["parameters"]


def test_items_score_the_same_alone_and_padded_in_a_batch(tmp_path, model):
    config = tiny.trial(tmp_path, model)
    batched = score(Jobs(), model, config, tmp_path / "many")
    single = score(Jobs(), model, config, tmp_path / "one", runtime=Runtime(scoring_batch_size=1))
    pairs = zip(values(tmp_path / "many", batched), values(tmp_path / "one", single), strict=True)
    for a, b in pairs:
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)
