"""Masked or lost: two constructed fine-tunings that look the same without the text before."""

import numpy as np
import torch

from keepgain.analysis.behaviour.recovery import masked_terms
from keepgain.core.rows import Row
from keepgain.sweeps.recovered_suites import prefixed
from keepgain.trainers.models import BaseCache
from tests.trainers import tiny
from tests.trainers.fitting import answered, fitted

PREFIX = "base: "
FACTS = [
    Row(f"f{i}", "pair", prompt=f"{chr(97 + i)}{i}?", answer="abcdefghij"[i * 7 % 10] + str(i % 7))
    for i in range(20)
]


def with_text(rows: list[Row]) -> list[Row]:
    return [prefixed(row, PREFIX) for row in rows]


def overwritten(rows: list[Row]) -> list[Row]:
    return [row.answered("zz") for row in rows]


def test_what_is_masked_comes_back_with_the_text_and_what_is_lost_does_not(tmp_path):
    """Both fine-tunings teach a new answer to the plain prompts. One leaves the old answers to the
    prompts with the text alone; the other overwrites them too."""
    ref = tiny.model_folder(tmp_path / "llama", width=32)
    start = BaseCache().load(ref, torch.float32, torch.device("cpu"))
    base = fitted(start, [*FACTS, *with_text(FACTS)], steps=250)
    new = overwritten(FACTS)
    tuned = {
        "masked": fitted(base, [*new, *with_text(FACTS)], steps=100, rate=1e-3),
        "lost": fitted(base, [*new, *with_text(new)], steps=100, rate=1e-3),
    }
    before = answered(base, tmp_path, "base", FACTS).values[:, None]
    assert before.mean() >= 0.95, "the base knows the facts"
    assert answered(base, tmp_path, "base-text", with_text(FACTS)).mean >= 0.95
    share = {}
    for name, model in tuned.items():
        plain = answered(model, tmp_path, name, FACTS).values[:, None]
        again = answered(model, tmp_path, f"{name}-text", with_text(FACTS)).values[:, None]
        assert plain.mean() <= 0.05, "without the text the two look the same"
        share[name] = float(masked_terms(again - plain, before - plain, np.ones(20)).mean())
    assert share["masked"] >= 0.9
    assert share["lost"] <= 0.1
