"""Length of answers against the base's, worked by hand."""

import numpy as np
import pytest

from keepgain.analysis import stats
from keepgain.analysis.behaviour.families import family_figures
from keepgain.analysis.behaviour.form import length_figures, ratio_to_base
from tests.analysis.behaviour.test_groups import suite


def items(n: int):
    return suite("answer_length_ratio", group=[""] * n)


def lengths(n: int, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.5, 1.5, size=(n, 1))


def test_the_same_lengths_are_a_ratio_of_1_and_have_no_spread():
    base = lengths(40)
    found = ratio_to_base(items(40), base, base)
    assert found is not None and found.value == pytest.approx(1)
    assert found.interval_method == stats.UNKNOWN and found.low is None


def test_the_ratio_is_of_totals_and_its_interval_that_of_the_linearised_residuals():
    base, tuned = lengths(40), 2 * lengths(40, seed=1)
    found = ratio_to_base(items(40), tuned, base)
    assert found is not None
    ratio = tuned.sum() / base.sum()
    assert found.value == pytest.approx(ratio)
    residuals = (tuned - ratio * base)[:, 0] / base.mean()
    reach = stats.t_quantile(0.975, 39) * residuals.std(ddof=1) / np.sqrt(40)
    assert (found.low, found.high) == pytest.approx((ratio - reach, ratio + reach))
    assert (found.n_items, found.n_seeds, found.interval_method) == (40, 1, stats.ITEMS_ONLY)


def test_longer_references_weigh_more():
    from dataclasses import replace

    weighed = replace(items(40), weights=np.array([3.0] + [1.0] * 39))
    base, tuned = np.ones((40, 1)), np.ones((40, 1))
    tuned[0] = 2.0
    found = ratio_to_base(weighed, tuned, base)
    assert found is not None and found.value == pytest.approx((2 * 3 + 39) / 42)


def test_seeds_that_differ_widen_the_interval():
    base, tuned = lengths(40), lengths(40, seed=1)
    alike = ratio_to_base(items(40), np.hstack([tuned, tuned]), base)
    apart = ratio_to_base(items(40), np.hstack([0.8 * tuned, 1.2 * tuned]), base)
    assert alike is not None and apart is not None and alike.value == pytest.approx(apart.value)
    assert alike.low is not None and apart.low is not None and apart.low < alike.low - 0.1
    assert apart.interval_method == stats.ITEMS_AND_SEEDS


def test_95_of_100_intervals_hold_the_true_ratio():
    rng, held = np.random.default_rng(3), 0
    for _ in range(400):
        base = rng.gamma(4, 0.25, size=(60, 1))
        tuned = 1.3 * base * rng.gamma(9, 1 / 9, size=(60, 1))
        found = ratio_to_base(items(60), tuned, base)
        assert found is not None and found.low is not None and found.high is not None
        held += found.low <= 1.3 <= found.high
    assert 0.91 <= held / 400 <= 0.985


def test_nothing_is_found_without_a_base_or_where_it_answers_with_nothing():
    tuned = lengths(40)
    assert length_figures(items(40), tuned, None) == []
    assert length_figures(items(40), tuned, np.zeros((40, 1))) == []
    figures = family_figures(items(40), tuned, lengths(40, seed=1))
    assert "length over the base's" in [f.name for f in figures]
