"""Statistics of counts, by hand and against scipy."""

import numpy as np
import pytest
from scipy import stats

from keepgain.sweeps.gates.columns import Column
from keepgain.sweeps.gates.counts import (
    chi_squared_p,
    cramers_v,
    crosstab,
    effective_number,
    half_width,
    odd_cells,
    odd_rows,
    total_variation,
    wilson,
)


def test_wilson_is_scipys() -> None:
    for hits, n in ((0, 12), (6, 12), (11, 12), (190, 200)):
        expected = stats.binomtest(hits, n).proportion_ci(method="wilson")
        assert wilson(hits, n) == pytest.approx((expected.low, expected.high), abs=1e-6)
    assert wilson(0, 0) == (0.0, 1.0)
    # z sqrt(1/4n + z²/4n²) / (1 + z²/n) with n = 12: 1.96 * .1658 / 1.3201
    assert half_width(12) == pytest.approx(0.2462, abs=1e-4)


def test_a_table_counts_rows_that_have_both() -> None:
    rows = Column(("a", "b"), np.array([0, 0, 1, -1, 1], dtype=np.int32))
    columns = Column(("x", "y", "z"), np.array([0, 2, 2, 1, -1], dtype=np.int32))
    assert crosstab(rows, columns).tolist() == [[1, 0, 1], [0, 0, 1]]


def test_cramers_v_is_bergsmas_and_zero_without_association() -> None:
    """[[30, 10], [10, 30]]: chi² = 20, phi² = .25 - 1/79, k = 2 - 1/79."""
    table = np.array([[30, 10], [10, 30]])
    assert cramers_v(table) == pytest.approx(((0.25 - 1 / 79) / (1 - 1 / 79)) ** 0.5)
    assert chi_squared_p(table) == pytest.approx(stats.chi2.sf(20, 1))
    assert cramers_v(np.array([[20, 20], [20, 20]])) == 0.0
    assert cramers_v(np.array([[20, 20], [0, 0]])) == 0.0
    assert chi_squared_p(np.array([[20, 0], [10, 0]])) == 1.0


def test_odd_cells_are_those_of_fishers_test_and_enough_off() -> None:
    table = np.array([[80, 20], [80, 20], [50, 50]])
    (first, *_) = odd_cells(table, 0.01, 0.1)
    assert (first.row, first.share, first.elsewhere) == (2, 0.5, 0.8 if first.column == 0 else 0.2)
    assert not odd_cells(table, 0.01, 0.35)
    assert not odd_cells(np.array([[8, 2], [8, 2], [5, 5]]), 0.01, 0.1), "ten rows say little"


def test_one_odd_row_does_not_make_the_others_odd() -> None:
    table = np.array([[80, 20], [78, 22], [82, 18], [10, 90]])
    assert [c.row for c in odd_rows(table, 0.01, 0.1)] == [3]


def test_chance_alone_gives_odd_cells_no_more_often_than_the_level_says() -> None:
    random = np.random.default_rng(0)
    found = 0
    for _ in range(200):
        table = np.stack([np.bincount(random.integers(4, size=60), minlength=4) for _ in range(5)])
        found += bool(odd_cells(table, 0.05, 0.0))
    assert found <= 18  # 10 expected at most; P(> 18) = .5 %


def test_distance_and_diversity_by_hand() -> None:
    assert total_variation(np.array([50, 50]), np.array([8, 2])) == pytest.approx(0.3)
    assert effective_number(np.array([25, 25, 25, 25])) == pytest.approx(4)
    assert effective_number(np.array([7, 0])) == pytest.approx(1)
