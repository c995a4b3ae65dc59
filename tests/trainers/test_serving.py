"""What answers cost to serve: the two phases apart, and the trial's own lengths."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from keepgain.core.items import ItemScores
from keepgain.core.metrics import COSTS, seconds_per_answer
from keepgain.trainers.generate import Generated, generate
from keepgain.trainers.models import load_model
from keepgain.trainers.process import energy_joules
from keepgain.trainers.scoring import SuiteResult
from keepgain.trainers.summary import summarise
from tests.trainers import tiny


def result(suite, measures, prompt_tokens, lengths, seconds=4.0, prefill=1.0):
    n = len(lengths)
    ids = np.array([f"i{k}" for k in range(n)])
    scores = ItemScores(suite, "validation", "exact_match", ids, np.ones(n), np.ones(n))
    made = Generated([[]] * n, [False] * n, lengths, seconds, prefill)
    return SuiteResult(scores, measures, 5.0, n, prompt_tokens, {}, generation=made)


def test_an_answer_costs_its_prompt_and_every_token_after_the_first():
    cost = summarise([result("task", "gain", 200, [1, 11, 21, 31])]).cost
    # 200 prompt tokens in 1 s; 64 tokens, the first 4 of them with the prompts, the rest in 3 s.
    assert cost["prefill_tokens_per_second"] == 200
    assert cost["decode_tokens_per_second"] == 20
    assert cost["generated_tokens_per_second"] == 16, "both phases, as before"
    assert cost["answer_tokens_p50"] == 16
    assert cost["answer_tokens_p95"] == pytest.approx(29.5)
    assert cost["seconds_per_answer_p50"] == pytest.approx(50 / 200 + 15 / 20)
    assert cost["seconds_per_answer_p95"] == pytest.approx(50 / 200 + 28.5 / 20)


def test_speeds_are_over_all_suites_and_lengths_are_those_of_the_task():
    task, general = result("task", "gain", 100, [3, 3]), result("facts", "forgetting", 300, [9, 9])
    cost = summarise([task, general]).cost
    assert cost["prefill_tokens_per_second"] == 400 / 2
    assert cost["decode_tokens_per_second"] == (24 - 4) / 6
    assert cost["answer_tokens_p50"] == 3 and cost["prompt_tokens_per_answer"] == 50
    assert summarise([general]).cost["answer_tokens_p50"] == 9, "where no task suite generates"


def test_answers_of_one_token_need_no_decoding():
    cost = summarise([result("task", "gain", 100, [1, 1], seconds=1.0)]).cost
    assert "decode_tokens_per_second" not in cost
    assert cost["seconds_per_answer_p95"] == 50 / 100


def test_what_was_not_measured_is_absent_not_zero():
    assert seconds_per_answer({"prefill_tokens_per_second": 5.0}, "p50") is None
    known = {"prefill_tokens_per_second": 5.0, "prompt_tokens_per_answer": 1.0}
    assert seconds_per_answer({**known, "answer_tokens_p50": 3.0}, "p50") is None
    assert energy_joules(torch.device("cpu")) is None
    assert {"seconds_per_answer_p95", "usd_per_answer_p50"} <= set(COSTS)


def test_prefill_ends_with_the_first_token_of_each_batch(llama, monkeypatch):
    model = load_model(llama.path, torch.float32).eval()
    passes = []
    model.register_forward_pre_hook(lambda *_: passes.append(1))
    # The clock counts forward passes.
    clock = SimpleNamespace(perf_counter=lambda: float(len(passes)))
    monkeypatch.setattr("keepgain.trainers.generate.time", clock)
    codec = tiny.codec()
    prompts = [[6 + k % 20] * (3 + k) for k in range(6)]
    one = generate(model, codec, prompts, 1, batch_size=4)
    assert (one.prefill_seconds, one.seconds, one.lengths) == (2.0, 2.0, [1] * 6)
    many = generate(model, codec, prompts, 24, batch_size=4)
    assert many.prefill_seconds == 2.0, "one pass for each of two batches"
    assert many.seconds == len(passes) - 2 > 2
    assert one.answers == [a[:1] for a in many.answers], "noting the time changes no answer"
    assert many.tokens == sum(many.lengths)
