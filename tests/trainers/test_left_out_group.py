"""A group that is left out of training is the worst group; with it in, it is not."""

import numpy as np
import torch

from keepgain.analysis.behaviour.groups import group_figures
from keepgain.analysis.table import SuiteItems
from keepgain.core.items import ItemScores
from keepgain.core.record import SuiteInfo
from keepgain.core.rows import Row
from keepgain.trainers.models import BaseCache
from tests.trainers import tiny
from tests.trainers.fitting import answered, fitted

SHIFTS = {"a": 0, "b": 3, "c": 7}
"""Each group has a rule of its own: the digit, shifted by so much, as a letter."""
SEEN, HELD_OUT = "klmnop", "qrst"


def rows(group: str, fillers: str) -> list[Row]:
    return [
        Row(
            f"{group}{d}{f}",
            "pair",
            prompt=f"{f}{group}{d}=",
            answer=chr(97 + (d + SHIFTS[group]) % 10),
            group=group,
        )
        for f in fillers
        for d in range(10)
    ]


def as_suite(scores: ItemScores) -> SuiteItems:
    return SuiteItems(
        SuiteInfo(name="letters", measures="gain", scorer="exact_match"),
        "validation",
        scores.item_ids,
        scores.weights,
        None,
        {"group": np.array(scores.groups, dtype=np.str_)},
    )


def test_a_group_left_out_of_training_is_the_worst_and_one_trained_on_is_not(tmp_path):
    ref = tiny.model_folder(tmp_path / "llama", width=32)
    base = BaseCache().load(ref, torch.float32, torch.device("cpu"))
    items = [row for group in SHIFTS for row in rows(group, HELD_OUT)]
    before = answered(base, tmp_path, "base", items).values[:, None]
    worst = {}
    for left_out in ("c", ""):
        trained = [r for g in SHIFTS if g != left_out for r in rows(g, SEEN)]
        scores = answered(fitted(base, trained, steps=200), tmp_path, f"no-{left_out}", items)
        found, *_ = group_figures(as_suite(scores), scores.values[:, None], before)
        worst[left_out] = found
    assert worst["c"].note.startswith("c, n = 40;")
    assert worst["c"].estimate.value <= 0.2
    assert worst[""].estimate.value >= 0.7
    assert worst["c"].change.value <= 0.2 < worst[""].change.value
