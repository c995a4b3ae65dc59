"""Calibration and selective prediction, worked by hand, and their chance levels."""

import numpy as np
import pytest

from keepgain.analysis.behaviour.calibration import (
    BINS,
    area_under_risk,
    calibration_error,
    calibration_figures,
    ece_if_calibrated,
    selective_accuracy,
)
from keepgain.analysis.behaviour.families import family_figures
from keepgain.analysis.behaviour.figure import Figure
from tests.analysis.behaviour.test_groups import suite


def items(n: int):
    return suite("signed_confidence", group=[""] * n)


def named(figures: list[Figure], name: str) -> Figure:
    return next(f for f in figures if f.name == name)


def test_the_error_is_the_mean_gap_of_bins_with_equally_many_items():
    # 30 items, two a bin. In 14 bins both are right at .5; in the last one is right at .9.
    confidence = np.array([0.5] * 28 + [0.9] * 2)
    right = np.array([1.0] * 28 + [0.0, 1.0])
    assert calibration_error(confidence, right) == pytest.approx((14 * 0.5 + 0.4) / BINS)


def test_fewer_items_than_bins_are_a_bin_each():
    assert calibration_error(np.array([0.6, 0.8]), np.array([1.0, 0.0])) == pytest.approx(0.6)


def test_bins_differ_by_at_most_one_item():
    # 31 items: one of the bins has three. All gaps are +.1, so the error is .1 whatever the bins.
    assert calibration_error(np.full(31, 0.9), np.ones(31)) == pytest.approx(0.1)


def test_the_most_confident_items_are_kept():
    right = np.array([0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    assert selective_accuracy(0.8, right, right) == pytest.approx(7 / 8)
    assert selective_accuracy(0.9, right, right) == pytest.approx(7 / 9)


def test_the_area_is_the_mean_risk_over_all_coverages():
    # From the most confident on: right, wrong, right: risks 0, 1/2, 1/3.
    right = np.array([1.0, 0.0, 1.0])
    assert area_under_risk(right, right) == pytest.approx((0 + 1 / 2 + 1 / 3) / 3)


def test_equal_confidences_count_as_their_mean_whatever_their_order():
    signed = np.array([0.9] * 3 + [-0.9] * 2 + [0.4, -0.4])
    forward = calibration_figures(items(7), signed[:, None], None)
    backward = calibration_figures(items(7), signed[::-1][:, None], None)
    values = [[f.estimate.value for f in side] for side in (forward, backward)]
    assert values[0] == pytest.approx(values[1])
    # Risks: .4 five times, then (2 + .5)/6 and (2 + 1)/7.
    aurc = named(forward, "AURC").estimate.value
    assert aurc == pytest.approx((5 * 0.4 + 2.5 / 6 + 3 / 7) / 7)


def test_figures_of_tuned_and_base_and_their_change():
    rng = np.random.default_rng(1)
    confidence = rng.uniform(0.5, 1, 600)
    calibrated = np.where(rng.random(600) < confidence, confidence, -confidence)
    sure = np.where(calibrated > 0, 0.99, -0.99)
    found = calibration_figures(items(600), sure[:, None], calibrated[:, None])
    assert family_figures(items(600), sure[:, None], calibrated[:, None])[: len(found)] == found
    ece = named(found, "calibration error (ECE)")
    assert ece.estimate.value == pytest.approx(0.99 - np.mean(sure > 0))
    assert "not calibrated" in ece.note
    assert ece.change is not None and ece.change.low is not None and ece.change.low > 0
    chance = named(found, "ECE if calibrated")
    assert chance.base is not None and ece.base is not None
    assert chance.base.low <= ece.base.value <= chance.base.high
    kept = named(found, "accuracy at coverage 0.8")
    assert kept.base is not None and kept.base.value > np.mean(calibrated > 0)
    # All items are equally sure: leaving some out changes nothing.
    assert kept.estimate.value == pytest.approx(np.mean(sure > 0))
    assert named(found, "AURC").estimate.value == pytest.approx(np.mean(sure < 0))


def test_a_calibrated_model_is_said_to_be_within_its_chance():
    rng = np.random.default_rng(3)
    confidence = rng.uniform(0.3, 1, 300)
    signed = np.where(rng.random(300) < confidence, confidence, -confidence)
    ece = calibration_figures(items(300), signed[:, None], None)[0]
    assert ece.estimate.value is not None and ece.estimate.value > 0.02, "never 0 by chance"
    assert ece.note.startswith("15 bins of equal mass, n = 300; no more than a calibrated model")
    assert ece.estimate.low == 0.0
    rise = float(ece.note.split("resampled one is ")[1].split()[0])
    assert rise > 0.005, "the bootstrap adds the bias once more"


def test_the_error_of_a_calibrated_model_is_the_mean_deviation_within_bins():
    # Bins of n/15 fair coins: mean |share - 1/2| = sqrt(2/pi) * sqrt(.25 / (n/15)).
    expected = ece_if_calibrated(np.full((1500, 1), 0.5))
    assert expected.value == pytest.approx((2 / np.pi) ** 0.5 * (0.25 / 100) ** 0.5, rel=0.02)
    assert expected.low < expected.value < expected.high


def test_a_figure_of_seeds_is_the_mean_of_their_own():
    # Each seed is calibrated in its one bin a pair; their mean scores would not be.
    one, two = np.array([0.5, -0.5] * 30), np.array([-0.5, 0.5] * 30)
    both = calibration_figures(items(60), np.column_stack([one, two]), None)
    alone = calibration_figures(items(60), one[:, None], None)
    assert both[0].estimate.value == alone[0].estimate.value == 0
    assert both[0].estimate.n_seeds == 2


def test_few_calibrated_models_are_called_not_calibrated():
    """One in forty is above the 97.5 % of its range."""
    rng = np.random.default_rng(5)
    above = 0
    for _ in range(80):
        confidence = np.sort(rng.uniform(0.5, 1, 300))
        right = (rng.random(300) < confidence).astype(float)
        expected = ece_if_calibrated(confidence[:, None], draws=400)
        assert expected.high is not None
        above += calibration_error(confidence, right) > expected.high
    assert above <= 6  # binomial(80, .025): 7 or more once in 250


def test_intervals_hold_the_error_of_the_population_and_its_change():
    """Confidences are uniform on [.5, 1], and items right with that probability, or .2 less."""
    rng = np.random.default_rng(6)
    held = {"calibrated": 0, "too sure": 0, "change": 0, "resolved": 0}
    for _ in range(30):
        confidence = rng.uniform(0.5, 1, 600)
        u = rng.random(600)
        base, tuned = (
            np.where(u < confidence - less, confidence, -confidence)[:, None] for less in (0, 0.2)
        )
        ece = calibration_figures(items(600), tuned, base)[0]
        held["calibrated"] += ece.base.low <= 0 <= ece.base.high
        held["too sure"] += ece.estimate.low <= 0.2 <= ece.estimate.high
        held["change"] += ece.change.low <= 0.2 <= ece.change.high
        held["resolved"] += ece.change.low > 0
    assert min(held["calibrated"], held["too sure"], held["change"]) >= 26
    assert held["resolved"] >= 20
