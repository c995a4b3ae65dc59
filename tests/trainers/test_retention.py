"""What holds a model near its base: the figures by hand, and that more of it holds more."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from keepgain.core.config import RetentionSettings, Runtime
from keepgain.core.errors import UserError
from keepgain.trainers.data import DataCache
from keepgain.trainers.models import BaseCache
from keepgain.trainers.retention import (
    WeightAnchor,
    check_retention,
    diagonal_fisher,
    distances,
    fisher_rows,
)
from keepgain.trainers.run import Run
from tests.trainers import tiny


class Line(nn.Module):
    """Two weights."""

    def __init__(self, *weights: float) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(weights))


def test_the_penalty_is_half_the_weighed_squared_distance():
    model = Line(1.0, 2.0)
    anchor = WeightAnchor(model, l2_sp=0.5, ewc=2.0, fisher={"w": torch.tensor([0.25, 1.75])})
    assert float(anchor.penalty(model)) == 0.0
    with torch.no_grad():
        model.w += torch.tensor([2.0, -1.0])
    penalty = anchor.penalty(model)
    # Factors 0.5 + 2 * 0.25 = 1 and 0.5 + 2 * 1.75 = 4: (1 * 4 + 4 * 1) / 2.
    assert float(penalty) == pytest.approx(4.0)
    penalty.backward()
    assert model.w.grad is not None
    assert model.w.grad.tolist() == pytest.approx([2.0, -4.0])


def test_the_divergence_is_forward_and_scaled_by_the_square_of_the_temperature():
    base = torch.log(torch.tensor([[0.8, 0.2]]))
    tuned = torch.log(torch.tensor([[0.5, 0.5]]))
    by_hand = 0.8 * math.log(0.8 / 0.5) + 0.2 * math.log(0.2 / 0.5)
    assert distances(base, tuned, 1.0).tolist() == pytest.approx([by_hand])
    # At temperature 2 the base's odds of 4 are odds of 2.
    p = 2 / 3
    warm = p * math.log(p / 0.5) + (1 - p) * math.log((1 - p) / 0.5)
    assert distances(base, tuned, 2.0).tolist() == pytest.approx([4 * warm])
    assert distances(base, base, 2.0).tolist() == pytest.approx([0.0], abs=1e-7)


def test_the_fisher_information_is_the_mean_squared_gradient_with_mean_one(tmp_path, llama):
    run = Run(tiny.trial(tmp_path, llama), 3, BaseCache(), DataCache())
    rows = run._rows["replay"][:2]
    scale = torch.tensor([3.0, 1.0])

    model = Line(1.0, 1.0)
    # The gradient of the k-th row is k * scale.
    count = iter((1.0, 2.0))
    fisher = diagonal_fisher(model, rows, lambda batch: next(count) * (model.w * scale).sum(), 0)
    # Squares (9, 1) and (36, 4), their mean over weights is half of 50 / 2.
    assert fisher["w"].tolist() == pytest.approx([45 / 25, 5 / 25])


def trained(tmp_path, model, retention: dict[str, float], **options: Any) -> Run:
    config = tiny.trial(
        tmp_path, model, budget=2000, rungs=(2000,), learning_rate=2e-2,
        retention=RetentionSettings(**retention), **options,
    )  # fmt: skip
    run = Run(config, 3, BaseCache(), DataCache())
    run.points = []  # type: ignore[attr-defined]
    run.train(0, lambda _, values: run.points.append(values))  # type: ignore[attr-defined]
    return run


@pytest.mark.parametrize("kind", ["l2_sp", "ewc"])
def test_weights_move_less_the_stronger_they_are_held(tmp_path, llama, kind):
    """By the distance of the strategy itself: EWC leaves free what the replay rows do not need."""

    def distance(strength: float) -> float:
        run = trained(tmp_path, llama, {kind: strength})
        anchor = run._accumulate.anchor
        assert anchor is not None
        return float(anchor.penalty(run.model).detach()) / strength

    free, held, held_more = (distance(s) for s in (1e-9, 0.1, 10.0))
    assert free > held > held_more
    assert held_more < 0.2 * free


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize(("kind", "replayed"), [("lwf", False), ("kl", True)])
def test_outputs_move_less_on_the_rows_that_are_held(tmp_path, llama, method, kind, replayed):
    def distance(strength: float) -> float:
        """Mean over the second half; it is reported as strength times distance."""
        run = trained(tmp_path, llama, {kind: strength}, method=method)
        points = run.points[len(run.points) // 2 :]  # type: ignore[attr-defined]
        assert all(r.replay is replayed for r in run._rows["replay" if replayed else "task"])
        return sum(p["train/distance"] for p in points) / len(points) / strength

    assert 0.0 < distance(20.0) < 0.7 * distance(1e-9)


def test_without_strengths_nothing_is_reported_and_nothing_is_copied(tmp_path, llama):
    run = trained(tmp_path, llama, {})
    assert set(run.points[0]) == {"train/loss", "train/grad_norm", "train/learning_rate"}  # type: ignore[attr-defined]
    assert run._accumulate.teacher is run._accumulate.anchor is None


def test_a_resumed_run_is_held_at_the_base_and_not_at_its_checkpoint(tmp_path, llama):
    config = tiny.trial(
        tmp_path, llama, budget=1200, rungs=(600, 1200), learning_rate=1e-2,
        retention=RetentionSettings(l2_sp=0.1, kl=0.5),
    )  # fmt: skip
    whole, first, second = (Run(config, 3, BaseCache(), DataCache()) for _ in range(3))
    whole.train(1, lambda *_: None)
    first.train(0, lambda *_: None)
    first.save(tmp_path / "half", 0)
    second.load(tmp_path / "half", 1)
    second.train(1, lambda *_: None)
    for (name, a), (_, b) in zip(
        whole.model.named_parameters(), second.model.named_parameters(), strict=True
    ):
        assert torch.equal(a, b), name


@pytest.mark.parametrize(
    ("options", "words", "field"),
    [
        ({"method": "lora", "retention": {"ewc": 1.0}}, "needs `method: full`", "retention.ewc"),
        ({"method": "lora", "retention": {"l2_sp": 1.0}}, "needs `method: full`", "l2_sp"),
        (
            {"retention": {"kl": 1.0}, "runtime": Runtime(engine="deepspeed", zero_stage=3)},
            "under ZeRO-3",
            "retention.kl",
        ),
    ],
)
def test_what_cannot_work_is_refused_by_its_field(tmp_path, llama, options, words, field):
    settings = RetentionSettings(**options.pop("retention"))
    config = tiny.trial(tmp_path, llama, retention=settings, **options)
    with pytest.raises(UserError, match=words) as caught:
        check_retention(config)
    assert field in str(caught.value.where)


def test_ewc_without_replay_rows_is_refused(tmp_path, llama):
    config = tiny.trial(tmp_path, llama, retention=RetentionSettings(ewc=1.0))
    with pytest.raises(UserError, match="the mixture has none"):
        fisher_rows(config, 0, [])
