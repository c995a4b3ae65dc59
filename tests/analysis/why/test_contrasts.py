"""Planned contrasts: exact on a balanced design, silent on shuffled labels, refused on few."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom
from statsmodels.stats.multitest import multipletests

from keepgain.analysis.why.contrasts import Contrast, contrasts
from keepgain.analysis.why.observations import observations
from tests.analysis.why.made import N, measured, sweep

PARAMETERS = {"s": 100_000, "m": 1_000_000}


def assessed(trials) -> dict[tuple[str, str], Contrast]:
    measures = measured(sweep(trials))
    found = contrasts(observations(measures), measures, PARAMETERS)
    return {(c.name, c.response): c for c in found}


def balanced(extra: int, repeats: int = 6):
    """Full and LoRA on two sizes; LoRA on m forgets `extra` items less. Noise of 2 items, balanced
    in every cell."""
    trials = []
    for model in ("s", "m"):
        for method in ("full", "lora"):
            kept = 60 + (extra if (model, method) == ("m", "lora") else 0)
            for i in range(repeats):
                wobble = 2 if i % 2 else -2
                trials.append((model, {"method": method}, 100 + wobble, kept + wobble))
    return trials


def test_a_difference_of_differences_is_found_exactly() -> None:
    found = assessed(balanced(20))["lora instead of full x size", "forgetting"]
    # 20 of 200 items less in one cell of four: 10 points per tenfold parameters.
    assert found.estimate == pytest.approx(-10.0)
    # HC3 in a cell of 6 with residuals of +-1 point: variance of its mean (1 / (5/6))^2 / 6.
    error = math.sqrt(4 * (6 / 5) ** 2 / 6)
    assert found.high - found.estimate == pytest.approx(2.086 * error, rel=1e-3)  # t, 20 df
    assert found.unit == "points" and found.trials == 24
    assert found.resolved


def test_the_task_score_counts_as_log_odds() -> None:
    trials = balanced(0)
    trials = [
        (m, p, t + (60 if (m, p["method"]) == ("m", "lora") else 0), g) for m, p, t, g in trials
    ]
    found = assessed(trials)["lora instead of full x size", "gain"]

    def odds(right: int) -> float:
        return math.log((right + 0.5) / (N - right + 0.5))

    low, high = (np.mean([odds(r - 2), odds(r + 2)]) for r in (100, 160))
    assert found.estimate == pytest.approx(high - low)
    assert found.unit == "log-odds"


def test_no_interaction_is_not_resolved() -> None:
    assert not any(c.resolved for c in assessed(balanced(0)).values())


def test_holm_counts_all_assessed_contrasts() -> None:
    found = list(assessed(searched(3)).values())
    assert len(found) == 6
    expected = multipletests([c.p for c in found], method="holm")[1]
    assert [c.p_adjusted for c in found] == pytest.approx(expected)


def searched(seed: int, n: int = 30):
    """A search on which nothing depends on anything else; labels are drawn at random."""
    rng = np.random.default_rng(seed)
    trials = []
    for model in ("s", "m"):
        for _ in range(n):
            general = float(rng.uniform(0, 0.5))
            params = {
                "method": str(rng.choice(["full", "lora"])),
                "learning_rate": float(10 ** rng.uniform(-4, -2)),
                "mixture.general": general,
                "mixture.task": 1 - general,
            }
            trials.append((model, params, int(rng.integers(60, 160)), int(rng.integers(40, 100))))
    return trials


def test_shuffled_labels_have_intervals_that_cover_0() -> None:
    measures = measured(sweep(searched(0)))
    found = observations(measures)
    rng = np.random.default_rng(7)
    sweeps = 100
    missed = covered = claims = 0
    for _ in range(sweeps):
        labels = {}
        for model in PARAMETERS:
            own = [o for o in found if o.who.model == model]
            for o, i in zip(own, rng.permutation(len(own)), strict=True):
                labels[o.who.trial_id] = own[i].params
        shuffled = [replace(o, who=replace(o.who, params=labels[o.who.trial_id])) for o in found]
        contrasted = contrasts(shuffled, measures, PARAMETERS)
        assert len(contrasted) == 6
        missed += sum(not c.low <= 0 <= c.high for c in contrasted)
        covered += len(contrasted)
        claims += any(c.resolved for c in contrasted)
    assert missed <= binom.ppf(0.99, covered, 0.05)
    assert claims <= binom.ppf(0.99, sweeps, 0.05)


def test_few_trials_are_refused_with_the_number_needed() -> None:
    found = assessed(balanced(20, repeats=3))
    assert {c.reason for c in found.values()} == {"12 trials, 16 are needed"}
    assert all(c.estimate is None and c.p_adjusted is None for c in found.values())


def test_only_factors_that_vary_are_contrasted() -> None:
    one_size = [t for t in searched(1) if t[0] == "s"]
    assert {c for c, _ in assessed(one_size)} == {"learning rate x lora instead of full"}
    no_method = [(m, {**p, "method": "full"}, t, g) for m, p, t, g in searched(1)]
    assert {c for c, _ in assessed(no_method)} == {"mixture.general x size"}


def test_factors_that_vary_together_are_refused() -> None:
    trials = [(m, {"method": "lora" if m == "s" else "full"}, t, g) for m, _, t, g in searched(1)]
    reasons = {c.reason for c in assessed(trials).values()}
    assert reasons == {"the trials do not tell these factors apart (they vary together)"}
