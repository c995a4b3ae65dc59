"""Hand-worked variances and quantiles, and coverage against a known truth."""

import math

import numpy as np
import pytest
from scipy.special import ndtr, ndtri

from keepgain.analysis import stats
from keepgain.analysis.stats import Block, SeedVariance


def block(columns: list[list[float]], weights: list[float] | None = None) -> Block:
    """A block from columns, one a seed."""
    values = np.array(columns, dtype=float).T
    return Block(values, np.ones(len(values)) if weights is None else np.array(weights))


def test_variance_of_a_plain_mean_is_s_squared_over_n() -> None:
    values = np.array([0.0, 1.0, 1.0, 0.0])
    assert stats.mean_variance(values, np.ones(4), None) == pytest.approx((1 / 3) / 4)


def test_variance_of_a_weighted_mean() -> None:
    # mean = (1*2 + 3*4) / 4 = 3.5; parts = 1*(2-3.5)/4, 3*(4-3.5)/4 = -.375, .375
    variance = stats.mean_variance(np.array([2.0, 4.0]), np.array([1.0, 3.0]), None)
    assert variance == pytest.approx(2 * 2 * 0.375**2)


def test_items_of_a_cluster_count_as_one() -> None:
    values, clusters = np.array([1.0, 1.0, 0.0, 0.0]), np.array([0, 0, 1, 1])
    # mean .5; cluster sums of (x - .5)/4 are +.25 and -.25; G/(G-1) = 2
    assert stats.mean_variance(values, np.ones(4), clusters) == pytest.approx(0.25)
    assert stats.mean_variance(values, np.ones(4), None) == pytest.approx(1 / 12)


def test_one_item_or_one_cluster_has_no_variance_estimate() -> None:
    assert stats.mean_variance(np.array([1.0]), np.ones(1), None) == math.inf
    u = stats.combine([block([[1.0]])], [], 1)
    assert not u.known and u.estimate().low is None


def test_pooled_seed_variance_by_hand() -> None:
    # Two seeds that differ by .5 on every item: V = .125, no interaction.
    steady = [block([[0.0, 1.0], [0.5, 1.5]])]
    pooled = stats.pool_seeds([steady])
    assert pooled is not None and pooled.df == 1
    assert pooled.between == pytest.approx(0.125) and pooled.interaction == pytest.approx(0.0)
    # Two seeds with swapped items: equal means (V = 0), all interaction.
    # Residuals +-.5; each column has s^2/n = .5/2 = .25; sum over 2 seeds / (S-1) = .5
    swapped = [block([[1.0, 0.0], [0.0, 1.0]])]
    pooled = stats.pool_seeds([swapped])
    assert pooled is not None
    assert pooled.between == pooled.component == 0.0
    assert pooled.interaction == pytest.approx(0.5)
    both = stats.pool_seeds([steady, swapped, [block([[1.0, 0.0]])]])
    assert both is not None
    assert both.between == pytest.approx(0.0625) and both.df == 2


def test_no_replicate_means_unknown() -> None:
    assert stats.pool_seeds([[block([[1.0, 0.0, 1.0]])]]) is None
    u = stats.combine([block([[1.0, 0.0, 1.0]])], [(None, 1.0)], 1)
    e = u.estimate()
    assert (e.low, e.high, e.interval_method) == (None, None, "unknown")
    assert e.value == pytest.approx(2 / 3)


def test_crossed_formula_is_the_two_way_random_model() -> None:
    """Var = (MS_item + MS_seed - MS_error) / (n S) for one replicated configuration."""
    rng = np.random.default_rng(3)
    n, s = 40, 4
    y = rng.normal(size=(n, 1)) + rng.normal(size=(1, s)) + rng.normal(size=(n, s))
    rows, columns, grand = y.mean(1), y.mean(0), y.mean()
    ms_item = s * np.sum((rows - grand) ** 2) / (n - 1)
    ms_seed = n * np.sum((columns - grand) ** 2) / (s - 1)
    rest = y - rows[:, None] - columns[None] + grand
    ms_error = np.sum(rest**2) / ((n - 1) * (s - 1))
    b = Block(y, np.ones(n))
    pooled = stats.pool_seeds([[b]])
    u = stats.combine([b.averaged()], [(pooled, 1 / s)], s)
    assert u.variance == pytest.approx((ms_item + ms_seed - ms_error) / (n * s))


def test_interval_by_hand() -> None:
    """Items: s^2/n = .25/3 at 3 df; seeds: .02/2 at 4 df; Satterthwaite between them."""
    b = block([[0.0, 1.0, 0.0, 1.0]])
    u = stats.combine([b], [(SeedVariance(0.02, 0.0, 4), 0.5)], 2)
    item, seed = (1 / 3) / 4, 0.01
    df = (item + seed) ** 2 / (item**2 / 3 + seed**2 / 4)
    assert u.variance == pytest.approx(item + seed)
    assert u.df == pytest.approx(df)
    half = stats.t_quantile(0.975, df) * math.sqrt(item + seed)
    assert u.estimate().high == pytest.approx(0.5 + half)
    assert u.lower() == pytest.approx(0.5 - stats.t_quantile(0.95, df) * math.sqrt(item + seed))


def test_degrees_of_freedom_never_fall_below_the_poorest_source() -> None:
    """A near-perfect trial beside a noisy pool: the subtraction must not blow the interval up."""
    b = block([[1.0] * 99 + [0.0]])
    u = stats.combine([b], [(SeedVariance(0.001, 0.0012, 6), 1.0)], 1)
    assert u.variance == pytest.approx(u.item_variance)
    assert u.df == 6.0


def test_quantiles_are_student_s() -> None:
    assert stats.t_quantile(0.975, 2) == pytest.approx(4.302653, abs=1e-6)
    assert stats.t_quantile(0.975, math.inf) == pytest.approx(1.959964, abs=1e-6)


@pytest.mark.parametrize(("discordance", "items"), [(0.06, 4709), (0.10, 7849), (0.16, 12558)])
def test_items_needed_for_one_point(discordance: float, items: int) -> None:
    """Decision 27, two-sided 5 %: about 7,850 items at 10 % discordance."""
    n = 10_000
    u = stats.Uncertain(0.01, n, 1, ((discordance / n, n - 1.0),), discordance / n, "x")
    needed = stats.items_needed(u, 0.01, confidence=0.975)
    assert needed == pytest.approx(items, abs=2)


def test_no_number_of_items_beats_noisy_seeds() -> None:
    u = stats.Uncertain(0.01, 100, 1, ((0.001, 99.0), (0.01, 4.0)), 0.001, "x")
    assert stats.items_needed(u, 0.01) is None


def test_exact_mcnemar() -> None:
    assert stats.mcnemar(0, 0) == 1.0
    assert stats.mcnemar(5, 5) == 1.0
    assert stats.mcnemar(1, 9) == pytest.approx(2 * 11 / 1024)
    assert stats.mcnemar(9, 1) == stats.mcnemar(1, 9)


def coverage(seeds: int, n_items: int, rounds: int = 700) -> tuple[float, float]:
    """How often the 95 % interval of a gain holds the truth (seed sd .02, 4 replicated rivals),
    with seed variance and without."""
    rng = np.random.default_rng(20260)
    weights, truth, start, b = np.ones(n_items), 0.7, 0.3, 0.8
    hits = [0, 0]
    for _ in range(rounds):
        difficulty = rng.normal(size=n_items)

        def draw(p: float, z: np.ndarray = difficulty) -> np.ndarray:
            chance = ndtr((ndtri(p) - b * z) / math.sqrt(1 - b * b))
            return (rng.random(len(z)) < chance).astype(float)

        base = draw(start)[:, None]

        def trial(s: int, base: np.ndarray = base) -> Block:
            runs = [draw(truth + rng.normal(0, 0.02)) for _ in range(s)]
            return Block(np.column_stack(runs) - base, weights)

        mine = trial(seeds)
        pool = stats.pool_seeds([[trial(3)] for _ in range(4)] + [[mine]])
        for k, terms in enumerate(([(pool, 1 / seeds)], [])):
            e = stats.combine([mine.averaged()], terms, seeds).estimate()
            assert e.low is not None and e.high is not None
            hits[k] += e.low <= truth - start <= e.high
    return hits[0] / rounds, hits[1] / rounds


@pytest.mark.parametrize(("seeds", "n_items"), [(1, 500), (1, 2000), (3, 1000)])
def test_coverage_is_nominal_with_seed_variance_and_not_without(seeds: int, n_items: int) -> None:
    counted, without = coverage(seeds, n_items)
    assert 0.92 <= counted <= 0.98
    assert without < 0.92
