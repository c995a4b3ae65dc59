"""Mixture weights: uniform on the bounded simplex, within bounds, summing to 1, replayable."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from keepgain.core.errors import UserError
from keepgain.sweeps.search.simplex import (
    check_feasible,
    round_shares,
    simplex_uniforms,
    simplex_weights,
)

DRAWS = 1500
LEVEL = 0.001
"""Of each Kolmogorov-Smirnov test; seeds are fixed, so a pass stays a pass."""

BOUNDED = {
    2: ((0.5, 0.0), (0.9, 0.5)),
    3: ((0.1, 0.0, 0.05), (0.7, 0.5, 0.6)),
    4: ((0.0, 0.1, 0.0, 0.05), (0.5, 0.4, 0.3, 0.9)),
}


def ours(low, high, seed):
    rng = np.random.default_rng(seed)
    k = len(low)
    return np.array([simplex_weights(u, low, high) for u in rng.random((DRAWS, k - 1))])


def by_rejection(low, high, seed):
    rng = np.random.default_rng(seed)
    w = rng.dirichlet(np.ones(len(low)), size=400_000)
    inside = np.all((w >= low) & (w <= high), axis=1)
    return w[inside]


@pytest.mark.parametrize("k", [2, 3, 4])
def test_without_bounds_each_weight_is_beta(k):
    w = ours([0.0] * k, [1.0] * k, seed=k)
    for column in w.T:
        assert stats.kstest(column, stats.beta(1, k - 1).cdf).pvalue > LEVEL
    # The joint law: stick-breaking fractions are independent Beta(1, K - k).
    left = 1 - np.cumsum(w, axis=1) + w
    fractions = (w / left)[:, : k - 1]
    for i, column in enumerate(fractions.T):
        assert stats.kstest(column, stats.beta(1, k - 1 - i).cdf).pvalue > LEVEL


@pytest.mark.parametrize("k", [2, 3, 4])
def test_with_bounds_it_agrees_with_rejection_sampling(k):
    low, high = BOUNDED[k]
    w, reference = ours(low, high, seed=k), by_rejection(low, high, seed=k + 10)
    assert len(reference) > 5000
    directions = [*np.eye(k), *(np.eye(k)[i] - np.eye(k)[j] for i in range(k) for j in range(i))]
    for direction in directions:  # margins and differences: the latter see the joint law
        assert stats.ks_2samp(w @ direction, reference @ direction).pvalue > LEVEL


def uniforms_of(w, low, high):
    return np.array([simplex_uniforms(row, low, high) for row in w])


def joint_statistics(u):
    """Each uniform, and sums and differences modulo 1 of each pair: uniform too if, and only if up
    to what two variables can show, the uniforms are independent."""
    pairs = [(i, j) for i in range(u.shape[1]) for j in range(i)]
    yield from u.T
    for i, j in pairs:
        yield (u[:, i] + u[:, j]) % 1
        yield (u[:, i] - u[:, j]) % 1


@pytest.mark.parametrize("k", [3, 4])
def test_points_of_the_bounded_simplex_have_joint_uniforms(k):
    """With floors and caps, points drawn by rejection: their stick-breaking uniforms are jointly
    uniform, so our draws, which are made from uniforms, have the same law."""
    low, high = BOUNDED[k]
    u = uniforms_of(by_rejection(low, high, seed=k + 20)[:DRAWS], low, high)
    for column in joint_statistics(u):
        assert stats.kstest(column, "uniform").pvalue > LEVEL


def test_dependent_uniforms_would_not_pass_the_joint_test():
    rng = np.random.default_rng(0)
    u = rng.random(DRAWS)
    joined = np.column_stack([u, (u + 0.1 * rng.random(DRAWS)) % 1])
    margins = [stats.kstest(column, "uniform").pvalue for column in joined.T]
    joint = [stats.kstest(column, "uniform").pvalue for column in joint_statistics(joined)]
    assert min(margins) > LEVEL > min(joint)


def test_naive_normalisation_would_not_pass():
    rng = np.random.default_rng(0)
    u = rng.random((DRAWS, 4))
    naive = (u / u.sum(axis=1, keepdims=True))[:, 0]
    assert stats.kstest(naive, stats.beta(1, 3).cdf).pvalue < LEVEL


@st.composite
def problems(draw):
    """Feasible bounds with at most 6 decimals, and uniforms."""
    k = draw(st.integers(2, 6))
    a = draw(st.lists(st.integers(0, 10**6), min_size=k, max_size=k))
    b = draw(st.lists(st.integers(0, 10**6), min_size=k, max_size=k))
    # A mixture that exists: bounds are put around it.
    cuts = sorted(draw(st.lists(st.integers(0, 10**6), min_size=k - 1, max_size=k - 1)))
    inside = np.diff([0, *cuts, 10**6])
    low = [min(x, int(i)) / 1e6 for x, i in zip(a, inside, strict=True)]
    high = [max(x, int(i)) / 1e6 for x, i in zip(b, inside, strict=True)]
    u = draw(st.lists(st.floats(0, 1), min_size=k - 1, max_size=k - 1))
    return u, low, high


@settings(max_examples=150, deadline=None)
@given(problems())
def test_weights_keep_bounds_sum_to_one_and_replay(problem):
    u, low, high = problem
    check_feasible(low, high)
    w = simplex_weights(u, low, high)
    assert sum(w) == pytest.approx(1, abs=1e-11)
    assert all(a - 1e-12 <= x <= b + 1e-12 for a, x, b in zip(low, w, high, strict=True))
    assert simplex_weights(u, low, high) == w
    shares = round_shares(w, low, high)
    assert sum(round(s * 1e6) for s in shares) == 10**6
    assert all(a <= s <= b for a, s, b in zip(low, shares, high, strict=True))
    assert max(abs(s - x) for s, x in zip(shares, w, strict=True)) <= 1.1e-6


@settings(max_examples=100, deadline=None)
@given(problems())
def test_weights_lead_back_to_themselves(problem):
    u, low, high = problem
    w = simplex_weights(u, low, high)
    back = simplex_weights(simplex_uniforms(w, low, high), low, high)
    # Uniforms of 53 bits are too few in the corners of many dimensions.
    assert back == pytest.approx(w, abs=1e-11 + 2 * 2 ** (-53 / (len(w) - 1)))


@settings(max_examples=100, deadline=None)
@given(problems(), st.floats(0, 1))
def test_the_first_weight_grows_with_the_first_uniform(problem, other):
    u, low, high = problem
    below, above = sorted([u[0], other])
    first = [simplex_weights([v, *u[1:]], low, high)[0] for v in (below, above)]
    assert first[0] <= first[1]


def test_small_caps_do_not_lose_digits():
    """Five caps of .001: floating-point inclusion-exclusion has no correct digit here."""
    low, high = [0.0] * 7, [0.001] * 5 + [1.0, 1.0]
    rng = np.random.default_rng(1)
    w = np.array([simplex_weights(u, low, high) for u in rng.random((400, 6))])
    for column in w.T[:5]:  # far from the sum's limit each cap is uniformly used
        assert stats.kstest(column / 0.001, "uniform").pvalue > LEVEL


def test_bounds_that_leave_one_point():
    assert simplex_weights([0.3], [0.5, 0.5], [1.0, 1.0]) == (0.5, 0.5)
    assert simplex_weights([0.9, 0.1], [0.0] * 3, [0.2, 0.3, 0.5]) == (0.2, 0.3, 0.5)
    assert simplex_weights([], [0.0], [1.0]) == (1.0,)


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        ((0.6, 0.6), (1, 1), "lower bounds sum to 1.2"),
        ((0, 0), (0.3, 0.6), "upper bounds sum to 0.9"),
        ((0,) * 11, (1,) * 11, "11 sources"),
    ],
)
@pytest.mark.fault("N8")
def test_infeasible_bounds_are_refused(low, high, message):
    with pytest.raises(UserError, match=message):
        check_feasible(low, high, where="sweep.yaml:space.mixture")
