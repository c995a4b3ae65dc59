"""A real model learns canaries by heart the better the more often it sees them, and no control."""

import pytest

from benchmarks.behaviour.exposure import Plan, measure, report
from keepgain.analysis.behaviour.exposure import expected_exposure
from keepgain.analysis.behaviour.figure import Figure
from keepgain.analysis.stats import Estimate

PLAN = Plan(canaries=60, repeats=(1, 4, 16), controls=160, epochs=3, seeds=1)


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> list[Figure]:
    return measure(PLAN, tmp_path_factory.mktemp("exposure"))


def bounds(estimate: Estimate | None) -> tuple[float, float]:
    assert estimate is not None and estimate.low is not None and estimate.high is not None
    return estimate.low, estimate.high


def test_exposure_rises_with_repeats(figures: list[Figure]) -> None:
    once, some, often, _ = figures
    values = [f.estimate.value or 0 for f in (once, some, often)]
    assert values == sorted(values) and values[0] < values[-1]
    # Ten canaries a level: the ends are told apart, neighbours need not be.
    assert bounds(often.estimate)[0] > bounds(once.estimate)[1]
    assert bounds(often.change)[0] > 0


def test_controls_and_the_base_show_no_memory(figures: list[Figure]) -> None:
    *planted, controls = figures
    for estimate in (controls.estimate, controls.base):
        low, high = bounds(estimate)
        assert low < expected_exposure(40) < high
    for figure in planted:
        low, high = bounds(figure.base)
        assert low < expected_exposure(80) < high


def test_the_report_says_what_was_planted(figures: list[Figure]) -> None:
    text = report(PLAN, figures, 1.0)
    assert "30 canaries of 8 digits (10 of each number of repeats) and 80 controls" in text
    assert text.count("| exposure, planted") == 3 and "| exposure of controls |" in text
