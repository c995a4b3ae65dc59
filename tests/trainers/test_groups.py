"""Rows drawn by the size of their class, and losses weighed by group."""

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from keepgain.core.rows import Row
from keepgain.trainers.data import DataCache
from keepgain.trainers.encode import Encoded
from keepgain.trainers.groups import GroupWeights, draw_weights
from keepgain.trainers.mixture import Mixture, systematic
from keepgain.trainers.models import BaseCache
from keepgain.trainers.run import Run
from keepgain.trainers.token_store import stored_tokens
from tests.trainers import tiny


def rows(groups: str, length: int = 4) -> list[Encoded]:
    """One row a letter; every row has length - 1 loss tokens; a dot has no group."""
    ids = np.zeros(length, dtype=np.int32)
    return [Encoded(ids, 0, False, None if g == "." else g, ord(g)) for g in groups]


@given(
    st.lists(st.floats(0.01, 10), min_size=1, max_size=50),
    st.floats(0, 1, exclude_max=True),
)
@example([1.0, 1.0], 0.9999999999999998)  # 2 + offset rounds to 3
def test_a_systematic_sample_is_within_one_of_what_is_expected(weights, offset):
    given_weights = np.array(weights)
    counts = np.bincount(systematic(given_weights, offset), minlength=len(weights))
    expected = len(weights) * given_weights / given_weights.sum()
    assert counts.sum() == len(weights)
    assert np.all(np.abs(counts - expected) < 1 + 1e-9)


def test_a_balanced_epoch_has_every_class_equally_often(tmp_path, llama):
    common = [Row(f"c{i}", "pair", prompt=f"{i}+1=", answer="yes") for i in range(45)]
    rare = [Row(f"r{i}", "pair", prompt=f"{i}+2=", answer="no") for i in range(5)]
    sources = (
        tiny.source(tmp_path, "task", common + rare),
        tiny.source(tmp_path, "replay", tiny.words(30), "replay"),
    )
    shares = {"balance_by": "answer", "sources": sources}
    for strength, expected in ((1.0, 25), (0.5, 50 * 5**0.5 / (5**0.5 + 45**0.5)), (0.0, 5)):
        config = tiny.trial(tmp_path, llama, balance_strength=strength, **shares)
        run = Run(config, 3, BaseCache(), DataCache())
        epoch = run.mixture._permutation("task", 0)
        assert len(epoch) == 50
        assert sum(i >= 45 for i in epoch) == pytest.approx(expected, abs=1)
        replayed = run.mixture._permutation("replay", 0)
        assert sorted(replayed) == list(range(30)), "replay is left as it is"
        run.close()


def test_weights_by_group_count_rows_without_one_as_a_class(tmp_path, llama):
    config = tiny.trial(tmp_path, llama, balance_by="group")
    stored = {
        name: stored_tokens(tmp_path / name, lambda g=groups: [rows(g)])
        for name, groups in (("task", "aaa.b."), ("replay", "aab"))
    }
    weights = draw_weights(config, stored)
    assert weights["task"] == pytest.approx([1 / 3] * 3 + [1 / 2, 1, 1 / 2])
    assert set(weights) == {"task"}


def test_a_mixture_with_weights_goes_on_where_it_was():
    def made() -> Mixture:
        return Mixture({"a": 1.0}, {"a": [1] * 9}, 5, {"a": np.array([5.0] * 2 + [1.0] * 7)})

    whole = list(made().rows(40))
    half = made()
    first = list(half.rows(17))
    rest = made()
    rest.restore(half.state())
    assert first + list(rest.rows(23)) == whole
    assert Counter(i for _, i in whole)[0] > 7 > Counter(i for _, i in whole)[8]


def test_groups_of_equal_weight_share_the_loss_whatever_their_size():
    drawn = rows("aaab")
    weights = GroupWeights(0.5, {"a": 0.5, "b": 0.5}).of_tokens(drawn)
    # Half of the loss over 9 tokens of a, half over 3 of b.
    assert weights == pytest.approx({"a": 0.5 / 9, "b": 0.5 / 3})


def test_a_group_gains_weight_by_the_exponential_of_its_mean_loss():
    held = {"a": 0.5, "b": 0.5}
    GroupWeights(0.5, held).update(rows("aab"), {"a": 12.0, "b": 9.0})
    # Means over tokens: a (3 + 9) / 6 = 2, b 9 / 3 = 3.
    a, b = 0.5 * math.exp(0.5 * 2), 0.5 * math.exp(0.5 * 3)
    assert held == pytest.approx({"a": a / (a + b), "b": b / (a + b)})


def test_a_group_alone_in_a_batch_changes_nothing():
    held = {"a": 0.7, "b": 0.3}
    GroupWeights(0.5, held).update(rows("aa"), {"a": 60.0})
    assert held == pytest.approx({"a": 0.7, "b": 0.3})


def test_an_absent_group_keeps_its_part_and_a_new_one_begins_at_the_mean():
    held: dict[str, Any] = {"a": 0.8, "b": 0.2}
    weights = GroupWeights(1.0, held)
    assert weights.of_tokens(rows("a")) == pytest.approx({"a": 1 / 3}), "present groups share 1"
    weights.of_tokens(rows("c"))
    assert held["c"] == pytest.approx(0.5)


def test_the_worst_group_is_learnt_better_and_the_weights_survive_a_checkpoint(tmp_path, llama):
    """Two tasks: 44 rows of one, 4 of another that contradicts it."""
    many = [Row(f"m{i}", "pair", prompt=f"{i}=", answer="aaaa", group="many") for i in range(44)]
    few = [Row(f"f{i}", "pair", prompt=f"{i + 44}=", answer="bcbc", group="few") for i in range(4)]
    options: dict[str, Any] = {
        "sources": (tiny.source(tmp_path, "task", many + few),),
        "mixture": {"task": 1.0},
        "budget": 3000,
        "rungs": (1500, 3000),
        "learning_rate": 3e-3,
        "suites": (tiny.suite(tmp_path, "few", few, "bits_per_byte"),),
    }
    found = {}
    for step in (0.0, 0.05):
        config = tiny.trial(tmp_path, llama, group_dro_step=step, **options)
        run = Run(config, 3, BaseCache(), DataCache())
        run.train(0, lambda *_: None)
        run.save(tmp_path / f"half-{step}", 0)
        run.train(1, lambda *_: None)
        resumed = Run(config, 3, BaseCache(), DataCache())
        resumed.load(tmp_path / f"half-{step}", 1)
        resumed.train(1, lambda *_: None)
        assert resumed.progress.group_weights == run.progress.group_weights
        assert resumed.progress.last_loss == run.progress.last_loss
        found[step] = run
    assert found[0.0].progress.group_weights == {}
    weights = found[0.05].progress.group_weights
    assert weights["few"] > weights["many"]
    losses = {s: _loss_of(r, "few") for s, r in found.items()}
    assert losses[0.05] < losses[0.0]


def _loss_of(run: Run, group: str) -> float:
    """Mean loss in nats per token over the rows of a group."""
    import torch

    from keepgain.trainers.data import collate
    from keepgain.trainers.losses import answer_loss

    own = [r for r in run._rows["task"] if r.group == group]
    with torch.no_grad():
        loss = answer_loss(run.engine, collate(own, run.codec.pad_id), torch.device("cpu"))
    return float(loss.plain) / sum(r.loss_tokens for r in own)
