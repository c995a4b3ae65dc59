"""The size rule keeps its word over simulated sweeps (`benchmarks/analysis/calibration.py`)."""

from dataclasses import replace
from functools import cache

from benchmarks.analysis import calibration
from benchmarks.analysis.calibration import Summary


@cache
def summary() -> Summary:
    """Fewer items with less noise each: the same standard errors as the benchmark's first line."""
    usual = calibration.SETTINGS[0]
    noise = replace(usual.noise, item=usual.noise.item / 2)
    setting = replace(usual, n_items=usual.n_items // 4, noise=noise)
    return calibration.summarise(list(calibration.simulate(setting, 150, seed=3)))


def test_sizes_called_surely_adequate_are() -> None:
    assert summary().sure >= 30
    assert summary().sure_and_true >= 0.93


def test_the_pick_is_right_about_as_often_as_an_oracle_s() -> None:
    """The oracle has the same scores and knows the variances. Wrong is to pick an inadequate size;
    the rule allows 5 to 8.75 % of that."""
    assert summary().right >= summary().oracle_right - 0.06
    assert summary().wrong <= 0.0875
