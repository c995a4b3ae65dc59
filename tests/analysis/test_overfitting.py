"""A trial whose validation loss falls while a score gets worse, told from one that only varies."""

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats as reference

from keepgain.analysis import render
from keepgain.analysis.analyze import analyze
from keepgain.analysis.contract import to_json
from keepgain.analysis.overfitting import Overfitting, overfitting
from keepgain.analysis.table import build_table
from keepgain.core.items import ItemScores
from keepgain.core.record import Evidence
from keepgain.core.status import Stage, TrialStatus
from tests.analysis.evidence import exact, ones, scores

N = 200
RUNGS = (100, 400, 1000)
RIGHT = {"gain": (60, 120, 160), "facts": (150, 150, 150)}
"""Items right at each rung, of 200."""
LOSS = (2.0, 1.0, 0.8)


def losses(name: str, split: str, mean: float, tokens: int) -> ItemScores:
    """Half of the items .1 above the mean, half below; two tokens each."""
    values = mean + 0.1 * np.where(np.arange(N) % 2, 1, -1)
    found = scores(name, split, values, tokens, metric="answer_loss", weights=np.full(N, 2.0))
    return replace(found, item_ids=np.array([f"{split}-{i}" for i in range(N)]))


def made(
    right: dict[str, Sequence[int]] | None = None,
    loss: Sequence[float] = LOSS,
    training: float = 0.5,
    seeds: int = 2,
    rungs: Sequence[int] = RUNGS,
    **changes: object,
) -> Evidence:
    """A base and one confirmed trial; at a rung the first items are right."""
    right = RIGHT | (right or {})
    base = {name: ones(50, N, seeds=1) for name in right}
    trial = {name: ones(counts[-1], N, seeds) for name, counts in right.items()}
    measures = {"gain": "gain", "facts": "forgetting"}
    evidence = exact(
        {"base-s": ("s", "base", base), "trial": ("s", "trial", trial)}, measures=measures
    )
    items = list(evidence.items)
    for seed in range(seeds):
        key = f"trial-s{seed}"
        for place, tokens in enumerate(rungs):
            if place < len(rungs) - 1:
                for name, counts in right.items():
                    values = ones(counts[place], N, 1)[:, 0]
                    items.append((key, scores(name, "validation", values, tokens)))
            items.append(
                (key, losses("loss/gain", "validation", loss[place] + 0.02 * seed, tokens))
            )
            items.append((key, losses("loss/task", "train", training, tokens)))
    runs = tuple(
        r.model_copy(update=changes) if r.kind == "trial" else r for r in evidence.sweep.runs
    )
    return Evidence(evidence.sweep.model_copy(update={"runs": runs}), tuple(items))


@pytest.mark.parametrize("kept", [20, N])
def test_a_suite_too_small_for_an_interval_has_no_finding(kept: int) -> None:
    """All of the items that are kept were right, and all but one are wrong at the end."""
    evidence = made({"facts": (N, N, 1)})
    items = tuple(
        (
            key,
            replace(
                s, item_ids=s.item_ids[:kept], values=s.values[:kept], weights=s.weights[:kept]
            ),
        )
        if s.suite == "facts"
        else (key, s)
        for key, s in evidence.items
    )
    found = overfitting(Evidence(evidence.sweep, items)).findings
    assert bool(found) == (kept == N)


def test_a_guard_that_falls_while_the_loss_falls_is_found_with_its_joint_interval() -> None:
    found = overfitting(made({"facts": (150, 150, 120)}))
    # Two neighbours and the first rung against the last, two suites, two seeds.
    assert (found.runs, found.comparisons) == (2, 12)
    assert found.confidence == pytest.approx(1 - 0.05 / 12)
    assert {(f.seed, f.suite, f.before, f.after) for f in found.findings} == {
        (0, "facts", 400, 1000), (1, "facts", 400, 1000),
    }  # fmt: skip
    first = found.findings[0]
    assert first.change.value == pytest.approx(-30 / 200)
    flips = np.repeat([-1.0, 0.0], [30, 170])
    low, high = reference.t.interval(1 - 0.05 / 12, 199, flips.mean(), reference.sem(flips))
    assert (first.change.low, first.change.high) == pytest.approx((low, high))
    assert first.loss.value == pytest.approx(-0.2)
    assert (first.measures, first.change.n_items) == ("forgetting", 200)


def test_the_best_rung_is_compared_with_the_last_one() -> None:
    """8 + 8 items lost, each too few by itself."""
    found = overfitting(made({"gain": (160, 152, 144)}))
    assert {(f.suite, f.before, f.after) for f in found.findings} == {("gain", 100, 1000)}


@pytest.mark.parametrize(
    ("right", "loss"),
    [
        ({}, LOSS),
        ({"facts": (150, 150, 145)}, LOSS),
        ({"facts": (150, 150, 120)}, (2.0, 1.0, 1.0)),
        ({"facts": (150, 150, 120)}, (0.8, 0.9, 1.0)),
    ],
    ids=["nothing gets worse", "within the interval", "the loss stays", "the loss rises"],
)
def test_nothing_is_found_where(right: dict[str, Sequence[int]], loss: Sequence[float]) -> None:
    found = overfitting(made(right, loss))
    assert found.findings == () and found.comparisons == 12


def test_chance_gives_fewer_warnings_than_said() -> None:
    """200 sweeps of one run whose answers flip at random while its loss falls."""
    rng = np.random.default_rng(0)
    warned = 0
    for _ in range(200):
        evidence = made(seeds=1)
        noisy = tuple(
            (key, s)
            if key.startswith("base") or s.metric == "answer_loss"
            else (key, replace(s, values=(rng.random(N) < 0.7).astype(float)))
            for key, s in evidence.items
        )
        warned += bool(overfitting(Evidence(evidence.sweep, noisy)).findings)
    assert warned <= 10, "5 % of 200"


def test_the_gap_is_that_of_the_end_with_the_variance_of_both_samples_and_the_seeds() -> None:
    (gap,) = overfitting(made()).gaps
    assert (gap.trial, gap.training) == ("trial", pytest.approx(0.5))
    assert gap.validation == pytest.approx(0.81), "mean of the seeds' .80 and .82"
    assert gap.gap.value == pytest.approx(0.31)
    # Items of both: 2 * .01 / 199; seeds: (.01^2 + .01^2) / 1 / 2; items do not interact with them.
    variance = 2 * 0.01 / 199 + 0.0002 / 2
    assert gap.gap.low is not None and gap.gap.high is not None
    df = variance**2 / (2 * (0.01 / 199) ** 2 / 199 + 0.0001**2 / 1)
    half = reference.t.ppf(0.975, df) * variance**0.5
    assert (gap.gap.low, gap.gap.high) == pytest.approx((0.31 - half, 0.31 + half), rel=1e-6)
    (single,) = overfitting(made(seeds=1)).gaps
    assert single.gap.low is None, "seed variance is not known"


def test_what_was_measured_without_losses_is_not_looked_at() -> None:
    evidence = made({"facts": (150, 150, 120)})
    plain = tuple((k, s) for k, s in evidence.items if s.metric != "answer_loss")
    assert overfitting(Evidence(evidence.sweep, plain)) == Overfitting()
    for split, suites in build_table(evidence).suites.items():
        assert set(suites) == {"gain", "facts"}, f"losses are no suites of {split}"


def test_the_recommended_trial_is_warned_of_and_json_has_it_all() -> None:
    analysis = analyze(made({"facts": (150, 150, 120)}))
    text = " ".join(render.text(analysis, width=400).split())
    assert analysis.decision.trial == "trial"
    assert (
        "Warning: the recommended trial trial of s (seed 0) overfits: from 400 to 1,000 tokens its "
        "validation loss changed by -0.200 [-0.200, -0.200] nats per token, and facts (forgetting) "
        "by -15.0 [-22.3, -7.7] points on 200 items."
    ) in text
    assert "in 2 runs by 12 comparisons" in text
    assert "Train-validation gap of trial: +0.310 [" in text
    data = json.loads(to_json(analysis))["overfitting"]
    assert (data["runs"], data["comparisons"], len(data["findings"])) == (2, 12, 2)
    assert data["findings"][0]["change"]["value"] == pytest.approx(-0.15)
    assert data["gaps"][0]["gap"]["n_seeds"] == 2


def test_a_run_that_early_stopping_ended_is_complete() -> None:
    """1,000 of 5,000 tokens: without the mark it was cut short."""
    cut, whole = made(budget=5000), made(budget=5000, stopped_early=1000)
    assert not build_table(cut).configurations[1].scores
    assert build_table(whole).configurations[1].scores
    assert "Stopped early by their validation loss: 2 of 2 runs, at 1,000 tokens" in " ".join(
        render.text(analyze(whole), width=400).split()
    )


def test_failed_runs_are_not_looked_at() -> None:
    evidence = made({"facts": (150, 150, 120)}, status=TrialStatus.FAILED, stage=Stage.SEARCH)
    assert overfitting(evidence).runs == 0
