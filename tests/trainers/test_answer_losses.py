"""Answer losses of a model that does not train, on validation items and on training rows."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from keepgain.core.config import Runtime, TrialConfig
from keepgain.core.items import ItemScores, read_items
from keepgain.core.record import RungReport
from keepgain.core.rows import Row
from keepgain.core.work import TrainRequest
from keepgain.trainers.answer_losses import AnswerLosses, training_sample
from keepgain.trainers.data import DataCache
from keepgain.trainers.jobs import Jobs
from keepgain.trainers.models import BaseCache, plain
from keepgain.trainers.run import Run
from keepgain.trainers.summary import loss_metrics
from tests.trainers import tiny

NOISE = {"dropout": 0.5, "neftune_alpha": 20.0, "label_smoothing": 0.3}


@pytest.fixture(scope="module")
def config(tmp_path_factory, llama) -> TrialConfig:
    """Two suites that measure gain, one of them of plain text; all that makes training noisy."""
    folder = tmp_path_factory.mktemp("data")
    suites = (
        tiny.suite(folder, "sums", tiny.sums(20, 60), "exact_match"),
        tiny.suite(folder, "texts", tiny.words(5, 80), "bits_per_byte"),
        tiny.suite(folder, "words", tiny.words(12, 30), "bits_per_byte", measures="forgetting"),
    )
    how = Runtime(scoring_batch_size=7)
    options = {"learning_rate": 0.0, "budget": 300, "rungs": (300,)} | NOISE
    return tiny.trial(folder, llama, suites=suites, runtime=how, **options)


@pytest.fixture(scope="module")
def report(config, tmp_path_factory) -> tuple[RungReport, Path]:
    """At a learning rate of 0: what is measured is the base."""
    sweep = tmp_path_factory.mktemp("sweep")
    made = Jobs().do(TrainRequest(config=config, seed=3, rung=0, sweep_folder=str(sweep))).report
    assert made is not None
    return made, sweep


def losses(report: tuple[RungReport, Path]) -> dict[tuple[str, str], ItemScores]:
    made, sweep = report
    return {(s.split, s.suite): s for _, s in read_items(sweep / str(made.losses_path))}


def test_an_items_loss_is_the_mean_over_its_answer_and_end_whatever_disturbs_training(
    config, report, llama
):
    """Against one forward pass a row, the answer's tokens counted by hand."""
    base = BaseCache().load(llama, torch.float32, torch.device("cpu"))
    found = losses(report)["validation", "loss/sums"]
    for row, value, weight in zip(tiny.sums(20, 60), found.values, found.weights, strict=True):
        prompt, answer = (base.codec.ids(text) for text in (row.prompt, row.answer))
        ids = [*prompt, *answer, base.codec.end_id]
        with torch.no_grad():
            logs = plain(base.model)(torch.tensor([ids])).logits[0].double().log_softmax(-1)
        places = range(len(prompt), len(ids))
        nats = [-float(logs[i - 1, ids[i]]) for i in places]
        assert value == pytest.approx(np.mean(nats), rel=1e-5)
        assert weight == len(answer) + 1
    text = losses(report)["validation", "loss/texts"]
    assert text.weights.tolist() == [float(len(r.text)) for r in tiny.words(5, 80)], (
        "every token of a text but the first, and the end"
    )


def test_a_model_that_knows_nothing_has_the_logarithm_of_its_vocabulary(config):
    run = Run(config, 0, BaseCache(), DataCache())
    with torch.no_grad():
        plain(run.model).get_output_embeddings().weight.zero_()
    found, seconds = run.answer_losses(True)
    vocabulary = plain(run.model).config.vocab_size
    assert all(s.values == pytest.approx(math.log(vocabulary)) for s in found)
    assert seconds > 0


def test_the_report_has_the_mean_of_each_suite_over_tokens_and_the_gap(report):
    made, sweep = report
    found = losses(report)
    assert set(found) == {
        ("validation", "loss/sums"), ("validation", "loss/texts"), ("train", "loss/task"),
    }  # fmt: skip
    told = {k: v for k, v in made.metrics.items() if k.startswith("loss/")}
    assert set(told) == {
        "loss/validation/sums", "loss/validation/texts", "loss/train/task", "loss/gap/task",
    }  # fmt: skip
    held_out = [found["validation", f"loss/{n}"] for n in ("sums", "texts")]
    nats = sum(float(s.values @ s.weights) for s in held_out)
    trained = found["train", "loss/task"]
    level = nats / sum(s.weights.sum() for s in held_out)
    assert told["loss/gap/task"] == pytest.approx(level - trained.mean)
    scored = {s.suite for _, s in read_items(sweep / made.items_path)}
    assert scored == {"sums", "texts", "words"}, "losses are no scores"


def test_the_gap_of_a_hand_worked_case():
    def of(suite: str, split: str, values: list[float], weights: list[float]) -> ItemScores:
        ids = np.array([str(i) for i in range(len(values))])
        return ItemScores(suite, split, "answer_loss", ids, np.array(values), np.array(weights))

    found = loss_metrics([
        of("loss/a", "validation", [2.0, 4.0], [3.0, 1.0]),  # 10 nats of 4 tokens
        of("loss/b", "validation", [1.0], [4.0]),  # 4 of 4
        of("loss/task", "train", [1.0, 0.5], [1.0, 2.0]),  # 2 of 3
    ])  # fmt: skip
    assert found["loss/validation/a"] == 2.5 and found["loss/validation/b"] == 1.0
    assert found["loss/train/task"] == pytest.approx(2 / 3)
    assert found["loss/gap/task"] == pytest.approx(14 / 8 - 2 / 3)


def test_the_sample_is_of_task_rows_as_many_as_there_are_items_and_the_same_for_every_trial(
    config, report
):
    ids = losses(report)["train", "loss/task"].item_ids.tolist()
    assert len(ids) == len(set(ids)) == 25
    assert {i.partition(":")[0] for i in ids} == {"task"}
    other = config.model_copy(update={"learning_rate": 0.1, "batch_size": 4})
    run = Run(other, 9, BaseCache(), DataCache())
    sample = training_sample(other, run._rows, 25)
    assert sample is not None and list(sample.ids) == ids
    more = training_sample(other, run._rows, 1000)
    assert more is not None and len(more.rows) == 60, "all there are"
    alone = training_sample(other, {"replay": run._rows["replay"]}, 25)
    assert alone is None


def test_a_sample_of_several_sources_names_the_rows_it_takes(tmp_path, llama):
    long = [Row(f"l{i}", "pair", prompt=f"{i}=", answer="x" * 20) for i in range(10)]
    sources = (
        tiny.source(tmp_path, "task", tiny.sums(15)),
        tiny.source(tmp_path, "other", long),
    )
    mixture = {"task": 0.5, "other": 0.5}
    config = tiny.trial(tmp_path, llama, sources=sources, mixture=mixture)
    rows = DataCache().sources(config, tiny.codec())
    sample = training_sample(config, rows, 20)
    assert sample is not None and {n.partition(":")[0] for n in sample.ids} == {"task", "other"}
    for name, row in zip(sample.ids, sample.rows, strict=True):
        source, _, index = name.partition(":")
        assert row.ids.tolist() == rows[source][int(index)].ids.tolist()


def test_without_a_suite_that_measures_gain_there_is_no_loss(config, tmp_path):
    lone = config.model_copy(update={"suites": config.suites[2:]})
    run = Run(lone, 0, BaseCache(), DataCache())
    assert run.answer_losses(True)[0] == []
    losses = AnswerLosses(lone, run._rows, DataCache(), run.codec)
    assert losses.all(run.model, 0, trained=True) == []
    assert losses.validation(run.model) == 0.0
