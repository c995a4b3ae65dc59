"""Trends with size: known lines, a refusal below four sizes, and intervals that hold the truth."""

import numpy as np
import pytest

from keepgain.analysis.measures import Measures
from keepgain.analysis.scaling import fit, scaling
from keepgain.analysis.table import build_table
from tests.analysis.evidence import Trial, base, build

LOG = np.log10([1e6, 1e7, 1e8, 1e9])


def test_an_exact_line_has_its_slope_and_no_width() -> None:
    assert fit(LOG, 0.3 + 0.1 * LOG) == pytest.approx((0.1, 0.1, 0.1, 1.0))
    # The published absolute drops of BLOOMZ (Luo et al. 2023): they rise with size.
    sizes = np.log10([1.1e9, 1.7e9, 3e9, 7.1e9])
    slope, low, _, explained = fit(sizes, np.array([9.54, 10.72, 14.63, 18.37]))
    assert low > 0 and slope == pytest.approx(11.3, abs=0.3) and explained > 0.95


def test_a_slope_equals_the_textbooks_on_worked_numbers() -> None:
    # y = 0, 1, 1, 2 over x = 6..9: slope .6, residual sum .2, variance .1 / 5, t(2) = 4.303.
    slope, low, high, explained = fit(LOG, np.array([0.0, 1.0, 1.0, 2.0]))
    assert slope == pytest.approx(0.6)
    assert high - slope == pytest.approx(slope - low) == pytest.approx(4.3027 * 0.02**0.5, abs=1e-4)
    assert explained == pytest.approx(0.9)


def test_points_on_a_line_by_chance_are_no_surer_than_their_own_errors() -> None:
    drawn = 0.1 * LOG + np.random.default_rng(0).normal(0, 0.05, (5000, 4))
    slope, low, high, _ = fit(LOG, 0.1 * LOG, drawn)
    assert slope == pytest.approx(0.1)
    assert (high - low) / 2 == pytest.approx(4.3027 * 0.05 / np.sqrt(5), rel=0.05)


def test_intervals_hold_the_truth_at_their_rate() -> None:
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(1000):
        _, low, high, _ = fit(LOG, 0.2 * LOG + rng.normal(0, 0.03, 4))
        held += low <= 0.2 <= high
    assert 930 <= held <= 970


def sizes(count: int) -> Measures:
    given = {f"m{n}": 10 ** (5 + n) for n in range(count)}
    trials = [base(m, 0.1, 0.8) for m in given]
    # Errors fall by a factor of 10 ** -.2 a step; forgetting by a tenth of a point.
    trials += [
        Trial(f"t{n}", f"m{n}", 1 - 0.5 * 10 ** (-0.2 * n), 0.7 + 0.01 * n) for n in range(count)
    ]
    return Measures(build_table(build(trials, n_items=2000, seed_sd=0.005, sizes=given)))


def test_below_four_sizes_there_is_no_fit_and_it_says_so() -> None:
    m = sizes(3)
    found = scaling(m, "test", [c for c in m.table.configurations if c.kind == "trial"])
    assert found.slopes == ()
    assert found.refusal == "a fit over sizes needs at least 4 of them, here are 3"


def test_the_power_law_of_errors_is_found() -> None:
    m = sizes(5)
    found = scaling(m, "test", [c for c in m.table.configurations if c.kind == "trial"])
    by = {(s.figure, s.form): s for s in found.slopes}
    law = by["task_score", "power_law_of_errors"]
    assert law.sizes == 5 and law.low < -0.2 < law.high and law.high < -0.15
    lost = by["forgetting", "per_tenfold"]
    assert lost.low < -0.01 < lost.high
    assert ("forgetting", "power_law") in by and ("task_score", "power_law") not in by
