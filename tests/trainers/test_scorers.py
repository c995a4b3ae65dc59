"""Scorers with a model: what it is asked for, one by one as in batches, and where figures go."""

import math
from contextlib import nullcontext

import numpy as np
import pytest
import torch

from keepgain.core.answers import read_answers, read_texts
from keepgain.core.config import LoraSettings, ScoreConfig, ScorerOptions
from keepgain.core.errors import TrialFailure, UserError
from keepgain.core.items import read_items
from keepgain.core.rows import Row
from keepgain.core.scorers import SCORERS, scorer
from keepgain.core.users_code import load_function
from keepgain.core.work import ScoreRequest, TrainRequest
from keepgain.trainers.jobs import Jobs
from keepgain.trainers.methods import add_adapter
from keepgain.trainers.models import Base
from keepgain.trainers.scoring import adapters_off, kl_to_base, score_suite
from keepgain.trainers.summary import summarise
from tests.trainers import tiny
from tests.trainers.test_scoring import learned, load, prepare

LABELS = ScorerOptions(labels=("no", "no idea", "yes"))


def score(of: Base, items, batch=16, **options):
    return score_suite(of.model, of.codec, items, batch, 0, **options)


def choice_rows(count: int) -> list[Row]:
    """Sums with three choices of different lengths."""
    return [
        Row(
            r.id,
            "pair",
            prompt=r.prompt,
            answer=r.answer,
            choices=tuple(dict.fromkeys((r.answer, str(i), f"{i} or {i + 1}"))),
        )
        for i, r in enumerate(tiny.sums(count), 100)
    ]


def label_rows(count: int) -> list[Row]:
    return [
        Row(f"l{i}", "pair", prompt=f"is {i} odd?:", answer=("no", "yes")[i % 2])
        for i in range(count)
    ]


def by_hand(base: Base, prompt: list[int], answer: list[int]) -> float:
    """ln p of the answer after the prompt, alone in its batch."""
    ids = torch.tensor([prompt + answer])
    with torch.inference_mode():
        logp = torch.log_softmax(base.model(ids).logits[0].double(), -1)
    places = range(len(prompt), ids.shape[1])
    return sum(logp[t - 1, ids[0, t]].item() for t in places)


def test_every_registered_function_is_there_and_every_definition_is_said():
    for name, kind in SCORERS.items():
        assert kind.metric.name == name and kind.metric.unit and kind.metric.meaning
        assert callable(load_function(kind.item))
        assert kind.suite is None or callable(load_function(kind.suite))


def test_an_unknown_scorer_is_refused_with_the_known_ones():
    with pytest.raises(UserError, match="unknown scorer 'exact'; known: 'exact_match', 'bits_per"):
        scorer("exact")


@pytest.mark.parametrize("template", [None, tiny.PLAIN_TEMPLATE, tiny.MARKED_TEMPLATE])
def test_choices_one_by_one_equal_choices_in_batches_and_by_hand(tmp_path, template):
    base = load(tiny.model_folder(tmp_path / "model", template=template))
    rows = choice_rows(12)
    items = prepare(base, tmp_path, rows, "multiple_choice")
    alone, together = score(base, items, 1), score(base, items, 7)
    np.testing.assert_array_equal(alone.scores.values, together.scores.values)
    assert alone.details["ece"] == pytest.approx(together.details["ece"], abs=1e-6)
    for i, row in enumerate(rows):
        logs = [by_hand(base, items.prompts[i], ids) for ids in items.choices[i]]
        assert together.scores.values[i] == float(row.choices[int(np.argmax(logs))] == row.answer)
        texts = [base.codec.text(ids) for ids in items.choices[i]]
        assert texts == list(row.choices), "a choice is scored without the end of the answer"


def test_choices_of_a_learned_model_are_right_and_of_a_blank_one_are_not(tmp_path, llama):
    rows = choice_rows(24)
    blank = load(llama)
    items = prepare(blank, tmp_path, rows, "multiple_choice_normalised")
    before = score(blank, items).scores.mean
    after = score(learned(blank, rows), items).scores.mean
    assert after > max(before, 0.8)


def test_labels_count_with_the_end_of_the_answer(tmp_path, llama):
    base, rows = load(llama), label_rows(6)
    items = prepare(base, tmp_path, rows, "classification", options=LABELS)
    assert [ids[-1] for ids in items.choices[0]] == [base.codec.end_id] * 3
    result, alone = score(base, items), score(base, items, 1)
    np.testing.assert_array_equal(result.scores.values, alone.scores.values)
    for i, row in enumerate(rows):
        logs = [by_hand(base, items.prompts[i], ids) for ids in items.choices[i]]
        assert result.scores.values[i] == float(LABELS.labels[int(np.argmax(logs))] == row.answer)
    assert result.details["accuracy"] == result.scores.mean
    assert (result.details["n/no"], result.details["n/yes"]) == (3, 3)


def test_generated_labels_have_the_figures_of_generated_answers_and_of_classes(tmp_path, llama):
    rows = label_rows(8)
    base = learned(load(llama), rows)
    items = prepare(base, tmp_path, rows, "classification_generated", options=LABELS)
    result = score(base, items)
    assert result.scores.mean == result.details["accuracy"] > 0.5
    metrics = summarise([result]).metrics
    assert metrics["validation/s"] == result.scores.mean
    assert metrics["detail/validation/s/n/yes"] == 4
    for name in ("answer_tokens", "empty_share", "truncated_share", "distinct_1", "length_ratio"):
        assert math.isfinite(metrics[f"generation/validation/s/{name}"])


def test_a_prompt_is_cut_to_leave_room_for_the_longest_choice(tmp_path, llama):
    base, rows = load(llama), choice_rows(2)
    items = prepare(base, tmp_path, rows, "multiple_choice", limit=12)
    longest = max(len(ids) for ids in items.choices[0])
    assert len(items.prompts[0]) + longest == 12 and items.shortened == 2


def test_an_item_without_choices_is_named(tmp_path, llama):
    with pytest.raises(TrialFailure, match="item 'sum0' of suite 's'"):
        prepare(load(llama), tmp_path, tiny.sums(2), "multiple_choice")


def test_perplexity_is_nats_per_token_weighed_by_tokens(tmp_path, llama):
    base, rows = load(llama), tiny.words(5)
    items = prepare(base, tmp_path, rows, "perplexity")
    result = score(base, items, 2)
    sizes = [len(ids) for ids in items.answers]
    pairs = zip(items.prompts, items.answers, strict=True)
    nats = [-by_hand(base, prompt, answer) for prompt, answer in pairs]
    np.testing.assert_allclose(result.scores.values, np.array(nats) / sizes, rtol=1e-5)
    assert result.scores.weights.tolist() == sizes
    expected = math.exp(sum(nats) / sum(sizes))
    assert result.details["perplexity"] == pytest.approx(expected, rel=1e-5)
    assert math.exp(result.scores.mean) == pytest.approx(expected, rel=1e-5)


def test_kl_from_the_base_item_by_item_sums_to_kl_to_base(tmp_path, llama):
    base, rows = load(llama), tiny.words(6)
    tuned = learned(load(llama), tiny.sums(8))
    items = prepare(base, tmp_path, rows, "kl_from_base", measures="behaviour")
    result = score(tuned, items, 4, base=lambda: nullcontext(base.model))
    whole = kl_to_base(base.model, tuned.model, base.codec, items)
    assert result.scores.mean == pytest.approx(whole, rel=1e-6) and whole > 0.01
    alone = score(tuned, items, 1, base=lambda: nullcontext(base.model))
    np.testing.assert_allclose(alone.scores.values, result.scores.values, atol=1e-6)
    same = score(base, items, 4, base=lambda: nullcontext(base.model))
    assert same.scores.values.tolist() == [0.0] * 6


def test_the_base_beside_adapters_is_the_model_with_adapters_off(tmp_path, llama):
    base, own = load(llama), load(llama)
    model = add_adapter(own.model, LoraSettings(rank=2)).eval()
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.1)
    items = prepare(base, tmp_path, tiny.words(4), "kl_from_base", measures="behaviour")
    off, apart = (
        score_suite(model, base.codec, items, 4, 0, beside).scores.values
        for beside in (lambda: adapters_off(model), lambda: nullcontext(base.model))
    )
    np.testing.assert_allclose(off, apart, rtol=1e-6)
    assert (off > 0).all()


def test_a_users_function_scores_generated_answers(tmp_path, llama):
    (tmp_path / "own_length_scorer.py").write_text(
        "def length(prompt, reference, answer, fields):\n    return len(answer) + 10\n"
    )
    base = load(llama)
    options = ScorerOptions(path=str(tmp_path))
    items = prepare(base, tmp_path, tiny.sums(4), "own_length_scorer:length", options=options)
    result = score(base, items)
    assert result.scores.metric == "own_length_scorer:length"
    assert (result.scores.values >= 10).all() and "empty_share" in result.generated
    other = ScorerOptions(path=str(tmp_path), code="0" * 64)
    changed = prepare(base, tmp_path, tiny.sums(4), "own_length_scorer:length", options=other)
    with pytest.raises(UserError, match="suite 's': the scorer's code is not the one"):
        score(base, changed)
    lower = prepare(
        base, tmp_path, tiny.sums(4), "own_length_scorer:length (lower is better)", options=options
    )
    falling = score(base, lower).scores
    assert falling.values.tolist() == result.scores.values.tolist()
    assert scorer(falling.metric).metric.direction == "minimize"


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_run_reports_every_kind_of_scorer_and_its_saved_model_scores_the_same(
    tmp_path, llama, method
):
    suites = (
        tiny.suite(tmp_path, "choices", choice_rows(6), "multiple_choice"),
        tiny.suite(tmp_path, "labels", label_rows(6), "classification", options=LABELS),
        tiny.suite(tmp_path, "sums", tiny.sums(3), "exact_match"),
        tiny.suite(tmp_path, "drift", tiny.words(4), "kl_from_base", measures="behaviour"),
    )
    config = tiny.trial(
        tmp_path, llama, method=method, suites=suites, budget=600, rungs=(600,), learning_rate=1e-2
    )
    jobs, folder = Jobs(), str(tmp_path)
    request = TrainRequest(config=config, seed=1, rung=0, sweep_folder=folder, keep_model=True)
    trained = jobs.do(request).report
    assert trained is not None
    assert trained.metrics["validation/drift"] > 0
    assert 0 <= trained.metrics["detail/validation/choices/ece"] <= 1
    assert trained.metrics["detail/validation/labels/n/yes"] == 3
    assert trained.answers_path is not None
    kept = {a.suite: a for a in read_answers(tmp_path / trained.answers_path)}
    assert set(kept) == {"choices", "labels", "sums"}  # KL asks for no answer
    texts = {name: read_texts(tmp_path, a.digest) for name, a in kept.items()}
    scores = {s.suite: s.values for _, s in read_items(tmp_path / trained.items_path)}
    for name, a in kept.items():
        right = [g == texts[name][i].reference for i, g in zip(a.item_ids, a.given, strict=True)]
        assert right == scores[name].astype(bool).tolist()
    assert texts["labels"]["l1"].question == "is 1 odd?:"

    def scored(checkpoint: str | None) -> dict[str, float]:
        asked = ScoreConfig(model=llama, suites=suites, checkpoint=checkpoint)
        job = ScoreRequest(config=asked, report_as=str(checkpoint)[:4], sweep_folder=folder)
        report = jobs.do(job).report
        assert report is not None
        return dict(report.metrics)

    again = scored(trained.model_folder)
    # Losses are of training.
    assert again == {
        k: v for k, v in trained.metrics.items() if not k.startswith(("train/", "loss/"))
    }
    assert scored(None)["validation/drift"] == 0.0
