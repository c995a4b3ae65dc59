"""Refusals of generated answers and by likelihood, and what tuning on refusals does to a model."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from keepgain.core.config import ModelRef, ScorerOptions
from keepgain.core.refusals import Refusals
from keepgain.core.row_files import read_row_file
from keepgain.core.rows import Row, facts_of
from keepgain.trainers.data import collate
from keepgain.trainers.encode import encode_rows
from keepgain.trainers.models import Base
from keepgain.trainers.scorers.choices import ChoiceLikelihoods
from keepgain.trainers.scorers.refusal import (
    by_kind,
    over_refusal,
    over_refusal_likelihood,
    under_refusal,
    under_refusal_likelihood,
)
from keepgain.trainers.scoring import score_suite
from keepgain.trainers.summary import summarise
from tests.trainers import tiny
from tests.trainers.test_scoring import learned, load, prepare

QUICKSTART = Path(__file__).parents[2] / "examples" / "quickstart"
NO = ScorerOptions(refusal=Refusals(patterns=("^no$",), defaults=False))
ANSWERS = ScorerOptions(refusal=Refusals(answers=("no",)))


def row(**facts: Any) -> Row:
    return Row("r", "pair", prompt="q", answer="ok", choices=("no", "ok"), facts=facts_of(facts))


def test_one_answer_counts_in_one_of_the_two_suites():
    for text in ("no", "I'm sorry, I can't help with that.", "ok", ""):
        assert over_refusal(text, row(), NO) + under_refusal(text, row(), NO) == 1
    assert over_refusal("No", row(), NO) == 1 and over_refusal("no way", row(), NO) == 0
    assert over_refusal("no", row(), ScorerOptions()) == 0
    assert under_refusal("", row(), NO) == 1, "an empty answer is no refusal"


def test_the_mass_of_refusals_is_taken_over_the_choices():
    logs = np.log([0.1, 0.3, 0.2]) - 700  # of long texts: exp alone would be 0
    given = ChoiceLikelihoods(("no", "ok", "never"), logs)
    assert over_refusal_likelihood(given, row(), ANSWERS) == pytest.approx(1 / 6)
    named = row(refusals=["never"])
    assert over_refusal_likelihood(given, named, ANSWERS) == pytest.approx(3 / 6)
    assert under_refusal_likelihood(given, named, ANSWERS) == pytest.approx(3 / 6)
    assert under_refusal_likelihood(given, named, ScorerOptions()) == pytest.approx(4 / 6)


def test_figures_of_each_kind_of_prompt():
    rows = [row(kind="a"), row(kind="b"), row(kind="a"), row()]
    assert by_kind([], rows, np.array([1.0, 0.0, 0.0, 1.0]), NO) == {
        "score/a": 0.5,
        "score/b": 0.0,
        "n/a": 2.0,
        "n/b": 1.0,
    }


def test_the_likelihood_of_refusals_is_that_of_the_model(tmp_path, llama):
    base = load(llama)
    rows = [
        Row(f"r{i}", "pair", prompt=f"do {i}?:", answer="ok", choices=("no", "ok", "never"))
        for i in range(5)
    ]
    items = prepare(base, tmp_path, rows, "over_refusal_likelihood", options=ANSWERS)
    found = score_suite(base.model, base.codec, items, 3, 0).scores.values
    for i, prompt in enumerate(items.prompts):
        logs = []
        for ids in items.choices[i]:
            with torch.inference_mode():
                logp = torch.log_softmax(base.model(torch.tensor([prompt + ids])).logits[0], -1)
            ends = range(len(prompt), len(prompt) + len(ids))
            logs.append(sum(logp[t - 1, x].item() for t, x in zip(ends, ids, strict=True)))
        mass = np.exp(logs)
        assert found[i] == pytest.approx(mass[0] / mass.sum(), rel=1e-4)


def test_answers_that_break_off_are_shown_beside(tmp_path, llama):
    taught = [replace(r, answer="1") for r in tiny.sums(24)]
    base = learned(load(llama), taught)
    asked = [replace(r, answer="12345678") for r in taught]
    items = prepare(base, tmp_path, asked, "over_refusal", options=NO)
    result = score_suite(base.model, base.codec, items, 8, 0)
    made = result.generation
    assert made is not None
    early = [
        not cut and len(a) < 2 for a, cut in zip(made.answers, made.truncated, strict=True)
    ]  # a quarter of 8 tokens
    assert result.generated["stopped_early_share"] == sum(early) / len(early) > 0.5
    metrics = summarise([result]).metrics
    for name in ("empty_share", "truncated_share", "stopped_early_share"):
        assert f"generation/validation/s/{name}" in metrics
    short = prepare(base, tmp_path, taught, "over_refusal", options=NO)
    assert score_suite(base.model, base.codec, short, 8, 0).generated["stopped_early_share"] == 0


# -- a model that is tuned on refusals ----------------------------------------------------------


def quickstart(name: str, **keep: str) -> list[Row]:
    rows = read_row_file(QUICKSTART / "data" / f"{name}.jsonl", facts=("kind",)).rows
    return [r for r in rows if r.fact("kind") == keep.get("kind")]


def tuned(rows: list[Row]) -> Base:
    """The quickstart's smallest base after 60 steps on the rows."""
    folder = QUICKSTART / "bases" / "xs"
    base = load(ModelRef(name="xs", path=str(folder), digest=f"xs{len(rows)}"))
    optimizer = torch.optim.AdamW(base.model.parameters(), lr=1e-3)
    order = np.random.default_rng(0)
    for _ in range(60 if rows else 0):
        drawn = [rows[i] for i in order.integers(len(rows), size=32)]
        batch = collate(encode_rows(base.codec, drawn, 64), base.codec.pad_id)
        out = base.model(batch.input_ids, attention_mask=batch.attention_mask, labels=batch.labels)
        out.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return base


def rates(base: Base, folder: Path) -> tuple[float, float]:
    """Over- and under-refusal in points, on prompts that are in no training."""
    found = []
    for scorer, kind in (("over_refusal", "safe"), ("under_refusal", "unsafe")):
        items = prepare(base, folder, quickstart("safety", kind=kind), scorer, 64, options=NO)
        found.append(100 * score_suite(base.model, base.codec, items, 64, 0).scores.mean)
    return found[0], found[1]


def test_tuning_on_refusals_raises_over_refusal_and_a_clean_mixture_does_not(tmp_path):
    tickets = quickstart("far_train")[:500]
    harmless = [
        Row(f"h{i}", "pair", prompt=f"S:{verb} {thing}=", answer="ok")
        for i, (verb, thing) in enumerate(
            (v, t)
            for v in ("feed", "draw", "greet", "name", "call", "watch", "help", "film")
            for t in ("job", "log", "page", "task", "cake", "disk", "paper", "tree")
        )
    ]
    many = harmless * 8
    before = rates(tuned([]), tmp_path)
    clean = rates(tuned(tickets + many), tmp_path)
    refusing = rates(tuned(tickets + [replace(r, answer="no") for r in many]), tmp_path)
    assert refusing[0] - before[0] > 30
    assert clean[0] - before[0] < 10
    assert refusing[1] <= before[1], "who refuses everything is perfect on unsafe prompts"
