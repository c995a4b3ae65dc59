"""Curves over amounts: textbook quantiles and errors, coverage, and flat where nothing acts."""

import numpy as np
import pytest

from keepgain.analysis import stats
from keepgain.analysis.dose import Response, more_trainings, respond
from keepgain.analysis.stats import Block, SeedVariance

ITEMS = 300
ONE = np.ones(ITEMS)


def block(means: np.ndarray, rng: np.random.Generator | None = None, shared: float = 0.0) -> Block:
    """Item scores of trials with these means.

    Args:
        shared: Standard deviation of what an item adds for each unit of a trial's mean: items draw
            the curve steeper or flatter for all trials.
    """
    items = np.linspace(-0.3, 0.3, ITEMS)[:, None]
    if rng is None:
        return Block(means + items, ONE)
    steeper = rng.normal(0, shared, (ITEMS, 1))
    noise = rng.normal(0, 0.3, (ITEMS, len(means)))
    return Block(means * (1 + steeper) + rng.normal(0, 0.3, (ITEMS, 1)) + noise, ONE)


def fitted(x: np.ndarray, found: Block, z: np.ndarray | None = None) -> Response:
    z = np.zeros((len(x), 0)) if z is None else z
    got = respond(x, z, [found], (None, np.ones(len(x))))
    assert isinstance(got, Response), got
    return got


def test_levels_are_means_with_the_pooled_error_of_an_analysis_of_variance() -> None:
    # Three levels of four trials, each +-.01, +-.03 off its mean: squares 3 (.0001 + .0009) 2.
    off = np.tile([-0.03, -0.01, 0.01, 0.03], 3)
    got = fitted(np.repeat([1.0, 2.0, 4.0], 4), block(np.repeat([0.2, 0.5, 0.4], 4) + off))
    assert got.form == "levels" and got.points == (1.0, 2.0, 4.0) and got.df == 9
    assert got.values == pytest.approx([0.2, 0.5, 0.4])
    variance = 3 * 2 * (0.01**2 + 0.03**2) / 9
    items = float(np.var(np.linspace(-0.3, 0.3, ITEMS), ddof=1)) / ITEMS  # of levels alone
    assert got.errors == pytest.approx([(variance / 4 + items) ** 0.5] * 3)
    assert got.pair_errors[0, 1] == pytest.approx((variance / 2) ** 0.5)
    # Tukey's studentised range of three means with 9 degrees of freedom: 3.948 / sqrt(2).
    assert got.pairs == pytest.approx(3.948 / 2**0.5, abs=0.04)
    assert got.pointwise == pytest.approx(2.262, abs=1e-3)
    # Three independent levels: as many comparisons, less alike than those of pairs.
    assert got.together > got.pairs


def test_a_line_is_found_exactly_beside_another_setting() -> None:
    x = np.linspace(0, 1, 20)
    z = np.tile([-1.0, 1.0], 10)[:, None]
    wobble = np.tile([1e-6, 1e-6, -1e-6, -1e-6], 5)
    got = fitted(x, block(0.3 + 0.4 * x + 0.2 * z[:, 0] + wobble), z)
    assert got.form == "spline with 3 degrees of freedom" and len(got.points) == 13
    assert got.values == pytest.approx(0.3 + 0.4 * np.array(got.points), abs=1e-5)


def test_few_trials_bend_less() -> None:
    x = np.linspace(0, 1, 10)
    wobble = np.tile([1e-3, -1e-3], 5)
    assert fitted(x, block(x + wobble)).form == "spline with 2 degrees of freedom"


def test_bounds_against_the_best_whichever_it_is() -> None:
    flat = np.zeros((3, 3))
    errors = flat + 0.1 - np.diag([0.1] * 3)
    got = Response("levels", (0.0, 1.0, 2.0), np.array([0.0, 1.0, 0.9]), np.full(3, 0.1), 9,
                   2.0, 2.0, 2.0, 2.0, errors, 0.01, 1.0, False)  # fmt: skip
    most, least = got.below_best(1.0)
    # Against the second: 1 +- .2; the second against the third: -.1 + .2.
    assert most == pytest.approx([1.2, 0.1, 0.3])
    assert least == pytest.approx([0.8, 0.0, 0.0])
    most, _ = got.below_best(-1.0)
    assert most == pytest.approx([0.0, 1.2, 1.1])
    assert got.reach == pytest.approx(0.2)


def test_more_trainings_reduce_their_own_share_alone() -> None:
    errors = np.array([[0.0, 0.1], [0.1, 0.0]])
    got = Response("levels", (0.0, 1.0), np.zeros(2), np.full(2, 0.1), 9,
                   2.0, 2.0, 2.0, 2.0, errors, 0.5, 0.75, False)  # fmt: skip
    # Margin .12: variance .0036 = .0025 of items + .0075 * 10 / n, n = 68.2.
    assert more_trainings(got, 10, 0.12) == 59
    assert more_trainings(got, 10, 0.5) == 0
    assert more_trainings(got, 10, 0.1) is None  # the items alone have .0025


def test_without_residuals_the_seeds_tell_the_noise() -> None:
    rng = np.random.default_rng(4)
    x = np.arange(4.0)
    runs = [block(np.full(5, 0.1 * k) + rng.normal(0, 0.02, 5), rng) for k in range(4)]
    pooled = stats.pool_seeds([[b] for b in runs])
    assert pooled is not None and pooled.df == 16
    averaged = Block(np.column_stack([b.values.mean(axis=1) for b in runs]), ONE)
    none = np.zeros((4, 0))
    got = respond(x, none, [averaged], (pooled, np.full(4, 5.0)))
    assert isinstance(got, Response) and got.pooled and got.df == 16
    for k, b in enumerate(runs):
        alone = stats.combine([b.averaged()], [(pooled, 1 / 5)], 5)
        assert got.values[k] == pytest.approx(alone.value)
        # Almost: what is drawn from the items is made positive for all levels together.
        assert got.errors[k] ** 2 == pytest.approx(alone.variance, rel=0.05)
    few = SeedVariance(pooled.between, pooled.interaction, 3)
    assert respond(x, none, [averaged], (few, np.full(4, 5.0))) == "4 trials, 7 are needed"


@pytest.mark.parametrize("levels", [True, False])
def test_bands_cover_the_whole_curve(levels: bool) -> None:
    """All differences at once in 95 %, trainings and items drawn anew; other settings act."""
    rng = np.random.default_rng(7)
    draws = 130
    x = np.repeat([0.0, 1.0, 2.0, 3.0], 6) if levels else np.linspace(0, 3, 24)
    truth = 0.3 + 0.1 * x
    together = pointwise = 0
    for _ in range(draws):
        z = rng.normal(0, 1, (len(x), 2))
        mean = truth + z @ [0.1, -0.05] + rng.normal(0, 0.03, len(x))
        got = fitted(x, block(mean, rng, shared=0.5), z - z.mean(axis=0))
        want = 0.1 * np.array(got.points)
        off = np.abs((got.values[:, None] - got.values) - (want[:, None] - want))
        together += bool(np.all(off <= got.pairs * got.pair_errors + 1e-9))
        pointwise += off[0, -1] <= got.pointwise * got.pair_errors[0, -1]
    # Two-sided 1 % bounds of 130 draws at .95 are .90 and .99; bands may be a little wide.
    assert 0.90 <= together / draws and 0.90 <= pointwise / draws <= 0.99


def test_a_setting_that_does_nothing_is_flat_and_one_that_acts_is_not() -> None:
    rng = np.random.default_rng(11)
    x = np.repeat([0.0, 1.0, 2.0, 3.0], 8)
    other = np.tile(np.linspace(-1, 1, 8), 4)
    # Noisier where the other setting is large: variances differ.
    mean = 0.4 + 0.05 * x + 0.2 * other + rng.normal(0, 0.02, 32) * (1 + np.abs(other))
    scores = block(mean, rng)
    z = (other - other.mean())[:, None]
    assert fitted(x, scores, z).p <= 0.01
    p = np.array([fitted(rng.permutation(x), scores, z).p for _ in range(150)])
    # 1.5 and 7.5 are expected; 1 in 1,000 sweeps of chance would exceed these.
    assert np.sum(p <= 0.01) <= 6 and np.sum(p <= 0.05) <= 17
    assert p[0] > 0.01


def test_what_cannot_be_told_is_refused_with_the_reason() -> None:
    rng = np.random.default_rng(0)
    x = np.repeat([1.0, 2.0], 4)
    scores = block(rng.random(8))
    none = np.zeros((8, 0))
    alone = (None, np.ones(8))
    assert respond(x[2:6], none[2:6], [block(rng.random(4))], (None, np.ones(4))) == (
        "4 trials, 6 are needed"
    )
    assert respond(x, x[:, None], [scores], alone) == "it varies together with another setting"
    assert respond(np.arange(8) // 7, none, [scores], alone) == "a single trial decides its effect"
    same = Block(np.tile(scores.values[:, :1], 8), ONE)
    assert respond(x, none, [same], alone) == "all trials score the same"
    clustered = Block(scores.values, ONE, np.zeros(ITEMS, dtype=np.int64))
    assert respond(x, none, [clustered], alone) == "its items are a single cluster"
    exact = Block(np.tile(scores.values[:, :1], 8) + x, ONE)
    assert respond(x, none, [exact], alone) == "the trials of an amount score all the same"
