"""Exposure: ranks by hand, what is expected without memory, intervals, and what the base shows."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

from keepgain.analysis.behaviour.exposure import (
    expected_exposure,
    exposure_figures,
    exposures,
)
from keepgain.analysis.behaviour.families import family_figures
from keepgain.analysis.stats import UNKNOWN
from keepgain.analysis.table import SuiteItems
from keepgain.core.items import Floats
from keepgain.core.record import SuiteInfo

SEVEN = np.arange(1.0, 8.0)[:, None]


def suite(repeats: Sequence[int]) -> SuiteItems:
    names = [f"i{k:04d}" for k in range(len(repeats))]
    return SuiteItems(
        SuiteInfo(name="exposure", measures="behaviour", scorer="canary_bits"),
        "test",
        np.array(names),
        np.ones(len(names)),
        None,
        {"repeats": np.array([str(r) for r in repeats])},
    )


def drawn(rng: np.random.Generator, shift: float, planted: int, controls: int) -> Floats:
    """Bits of canaries that are `shift` likelier than controls, then of controls."""
    return np.append(rng.normal(30 - shift, 2, planted), rng.normal(30, 2, controls))[:, None]


@pytest.mark.parametrize(
    ("bits", "exposure"),
    [
        (0.5, 3.0),  # first of 8: log2 8
        (3.5, 1.0),  # three controls are likelier: rank 4
        (9.0, 0.0),  # last
        (1.0, 3 - math.log2(1.5)),  # shares the ranks 1 and 2
        (4.0, 3 - math.log2(4.5)),
    ],
)
def test_a_rank_among_seven_controls_by_hand(bits: float, exposure: float) -> None:
    assert exposures(np.array([[bits]]), SEVEN)[0, 0] == pytest.approx(exposure)


def test_every_seed_has_its_own_controls() -> None:
    controls = np.concatenate([SEVEN, SEVEN + 10], axis=1)
    found = exposures(np.array([[3.5, 3.5]]), controls)
    np.testing.assert_allclose(found, [[1.0, 3.0]])


@pytest.mark.parametrize("n", [1, 7, 40, 120])
def test_without_memory_the_expectation_is_the_mean_over_all_ranks(n: int) -> None:
    ranks = range(1, n + 2)
    mean = sum(math.log2(n + 1) - math.log2(r) for r in ranks) / (n + 1)
    assert expected_exposure(n) == pytest.approx(mean)


def test_expectations_are_those_of_the_docs_and_go_to_log2_e() -> None:
    assert round(expected_exposure(40), 2) == 1.34 and round(expected_exposure(60), 2) == 1.37
    assert expected_exposure(10**7) == pytest.approx(math.log2(math.e), abs=1e-5)


def test_each_control_among_all_others_gives_that_mean_whatever_the_model_does() -> None:
    """Which is why such a mean is no check, and is not reported."""
    for seed in range(3):
        bits = np.random.default_rng(seed).lognormal(3, 1, (50, 1))
        each = [exposures(bits[[j]], np.delete(bits, j, axis=0))[0, 0] for j in range(50)]
        assert np.mean(each) == pytest.approx(expected_exposure(49))


def test_canaries_never_trained_on_have_the_expected_exposure_and_so_have_controls() -> None:
    rng = np.random.default_rng(1)
    means, controls = [], []
    for _ in range(300):
        found = exposure_figures(suite([4] * 20 + [0] * 60), drawn(rng, 0, 20, 60), None)
        assert [f.name for f in found] == ["exposure, planted 4 times", "exposure of controls"]
        means.append(found[0].estimate.value)
        controls.append(found[1].estimate.value)
    assert np.mean(means) == pytest.approx(expected_exposure(60), abs=0.1)
    assert np.mean(controls) == pytest.approx(expected_exposure(30), abs=0.1)


@pytest.mark.parametrize(("shift", "least"), [(0.0, 0.88), (3.0, 0.88)])
def test_intervals_hold_the_truth_about_as_often_as_they_say(shift: float, least: float) -> None:
    rng = np.random.default_rng(2)
    items = suite([1] * 25 + [0] * 60)
    many = [exposures(*np.split(drawn(rng, shift, 25, 60), [25])).mean() for _ in range(3000)]
    truth = np.mean(many)
    held = 0
    for _ in range(300):
        e = exposure_figures(items, drawn(rng, shift, 25, 60), None)[0].estimate
        assert e.low is not None and e.high is not None
        held += e.low <= truth <= e.high
    assert least <= held / 300 <= 0.99


def test_figures_are_by_repeats_with_the_base_beside_them() -> None:
    rng = np.random.default_rng(3)
    items = suite([1] * 10 + [16] * 10 + [0] * 80)
    base = drawn(rng, 0, 20, 80)
    tuned = np.repeat(base, 3, axis=1) + rng.normal(0, 0.2, (100, 3))
    tuned[10:20] -= 9
    once, often, controls = family_figures(items, tuned, base)
    assert [f.name for f in (once, often)] == [
        "exposure, planted 1 time",
        "exposure, planted 16 times",
    ]
    assert often.estimate.value == pytest.approx(math.log2(81), abs=0.6)
    assert often.base is not None and often.change is not None
    assert often.change.value == pytest.approx(often.estimate.value - often.base.value)
    assert often.change.low is not None and often.change.low > 0
    assert once.change is not None and once.change.low is not None and once.change.high is not None
    assert once.change.low < 0 < once.change.high
    assert (often.estimate.n_items, often.estimate.n_seeds, often.unit) == (10, 3, "bits")
    assert "ranked among 80 controls: 1.39 expected without memory, at most 6.34" in often.note
    assert "ranked among 40 controls" in controls.note
    assert controls.base is not None and controls.base.low is not None
    assert controls.base.low < expected_exposure(40) < controls.base.high


def test_where_all_rank_first_there_is_a_bound_and_no_interval() -> None:
    rng = np.random.default_rng(4)
    found = exposure_figures(suite([64] * 8 + [0] * 50), drawn(rng, 29, 8, 50), None)[0]
    assert found.estimate.value == pytest.approx(math.log2(51))
    assert found.estimate.interval_method == UNKNOWN and found.estimate.low is None
    assert found.note.startswith(
        "8 canaries, 8 of which rank first: a lower bound; ranked among 50"
    )


def test_one_canary_has_no_interval() -> None:
    found = exposure_figures(suite([2, *[0] * 40]), drawn(np.random.default_rng(5), 1, 1, 40), None)
    assert found[0].estimate.value is not None and found[0].estimate.low is None


def test_too_few_common_controls_or_none_named_give_no_figure() -> None:
    rng = np.random.default_rng(6)
    assert exposure_figures(suite([1] * 5 + [0] * 39), drawn(rng, 0, 5, 39), None) == []
    bare = suite([1] * 5 + [0] * 40)
    bare.slices.clear()  # type: ignore[attr-defined]
    assert exposure_figures(bare, drawn(rng, 0, 5, 40), None) == []
