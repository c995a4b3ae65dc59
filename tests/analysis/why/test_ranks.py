"""Stability of rankings: tau and overlap by hand, and what cannot be asked."""

import numpy as np
import pytest

from keepgain.analysis.why.observations import observations
from keepgain.analysis.why.ranks import agreement, stabilities
from tests.analysis.evidence import Trial, base, build
from tests.analysis.why.made import measured, sweep


def test_tau_and_overlap_of_a_hand_worked_ranking() -> None:
    a, b = np.array([1.0, 2, 3, 4, 5, 6]), np.array([1.0, 2, 3, 4, 6, 5])
    tau, overlap = agreement(a, b, top=2)
    assert tau == pytest.approx(1 - 2 * 1 / 15)  # one discordant pair of 15
    assert overlap == 1.0
    assert agreement(a, b[::-1], top=2)[1] == 0.0
    assert agreement(a, np.ones(6), top=2)[0] is None


def twins(shift: int):
    settings = [{"learning_rate": 1e-4 * (i + 1)} for i in range(9)]
    small = [("s", p, 40 + 10 * i, 90 - 5 * i) for i, p in enumerate(settings)]
    large = [("m", p, 40 + 10 * ((i + shift) % 9), 90 - 5 * i) for i, p in enumerate(settings)]
    return measured(sweep([*small, *large]))


def told(measures, models=("s", "m")):
    found = stabilities(observations(measures), measures, models)
    return {(s.between, s.model, s.objective): s for s in found}


def test_sizes_are_compared_on_the_same_settings() -> None:
    same = told(twins(0))["s and m", None, "gain"]
    assert (same.tau, same.trials, same.top, same.overlap) == (1.0, 9, 3, 1.0)
    # Shifted by 3: the best three of s are the worst of m. 6 * 3 = 18 of 36 pairs are reversed.
    shifted = told(twins(3))["s and m", None, "gain"]
    assert shifted.tau == pytest.approx(0.0)
    assert shifted.overlap == 0.0
    assert shifted.low < 0 < shifted.high
    assert told(twins(3))["s and m", None, "forgetting"].tau == 1.0


def test_sizes_with_other_settings_are_not_compared() -> None:
    trials = [("s", {"x": i}, 50 + i, 80) for i in range(8)]
    trials += [("m", {"x": 100 + i}, 50 + i, 80) for i in range(8)]
    found = told(measured(sweep(trials)))["s and m", None, "gain"]
    assert found.tau is None and found.reason == "no trials with the same settings on both"


def test_seeds_and_splits_are_compared_where_trials_have_them() -> None:
    trials = [Trial(f"t{i}", "s", 0.3 + 0.06 * i, 0.8 - 0.05 * i) for i in range(7)]
    evidence = build([base("s"), *trials], n_items=2000, general_suites=("facts",))
    found = told(measured(evidence), ["s"])
    for between in ("validation and test", "two seeds"):
        gain = found[between, "s", "gain"]
        assert gain.trials == 7 and gain.tau > 0.8, between
        assert gain.low <= gain.tau <= gain.high
    assert len(found) == 4


def test_five_trials_are_too_few() -> None:
    trials = [Trial(f"t{i}", "s", 0.3 + 0.06 * i) for i in range(5)]
    found = told(measured(build([base("s"), *trials], n_items=100)), ["s"])
    assert {s.reason for s in found.values()} == {"5 trials, 6 are needed"}
