"""What a sweep has found and what it cost, from sweeps written down by hand."""

import math
from pathlib import Path

import pytest
from arms import Task
from domain import Domain, load_domain
from front import Point
from grid import Cell
from measure import Curve, Estimate, at, cost_to, curve, quantile, ratio, settled_at
from simulate import Finish, Outcome

from tests.benchmarks.search.made import GridTask

STEP = Curve(
    tokens=(100, 200, 300),
    seconds=(10.0, 11.0, 30.0),
    of_model={"xs": (0.25, 1.0, 1.0), "s": (0.25, 0.25, 1.0)},
)
RATES = (2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2)


def cell(model: str, number: int) -> Cell:
    return Cell(model, "full", RATES[number], 0.0, 0.0)


def outcome(domain: Domain, *finished: tuple[Cell, int]) -> Outcome:
    """A sweep of these (configuration, seed), one after another, 1,000 tokens and 10 s each."""
    finishes = tuple(
        Finish(10.0 * n, 1000 * n, domain.trial_ids[one], seed)
        for n, (one, seed) in enumerate(finished, 1)
    )
    count = len(finishes)
    task = Task("far", "random", 0, 1)
    return Outcome(task, finishes, 1000 * count, 10.0 * count, count, wall_seconds=0.0)


# -- curves ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fronts(task: GridTask, tmp_path_factory: pytest.TempPathFactory) -> Domain:
    """Two trading points in xs (0.32 + 0.20 = 0.52), one point in the other two (0.4)."""
    folder = tmp_path_factory.mktemp("fronts")
    finals = {
        cell("xs", 0): [Point(0.5, 0.2)],
        cell("xs", 1): [Point(0.8, 0.6)],
        cell("xs", 2): [Point(0.4, 0.4)],
        cell("s", 0): [Point(0.4, 0.2), Point(0.6, 0.2)],
        cell("m", 0): [Point(0.5, 0.2)],
    }
    task.write(folder, finals)
    return load_domain("far", folder)


def test_a_curve_is_the_share_of_each_models_own_hypervolume(fronts: Domain) -> None:
    order = [cell("xs", 0), cell("xs", 2), cell("m", 0), cell("xs", 1), cell("s", 0)]
    found = curve(fronts, outcome(fronts, *((one, 0) for one in order)))
    assert found.tokens == (1000, 2000, 3000, 4000, 5000)
    assert found.seconds == (10.0, 20.0, 30.0, 40.0, 50.0)
    part = pytest.approx(0.4 / 0.52)
    assert found.of_model["xs"] == (part, part, part, pytest.approx(1), pytest.approx(1))
    # Its seed 0 gained 0.4, but it is judged by the mean over its seeds: 0.5, all there is.
    assert found.of_model["s"] == (0, 0, 0, 0, pytest.approx(1))
    assert found.of_model["m"] == (0, 0, *[pytest.approx(1)] * 3)
    assert found.average[-2:] == [pytest.approx(2 / 3), pytest.approx(1)]


def test_a_level_is_reached_with_the_trial_that_lifts_the_average_to_it() -> None:
    assert STEP.average == [0.25, 0.625, 1.0]
    assert cost_to(STEP, 0.95) == 300
    assert cost_to(STEP, 0.625) == 200
    assert cost_to(STEP, 0.95, "xs") == 200
    assert cost_to(STEP, 0.95, "s", seconds=True) == 30.0


def test_a_level_never_reached_costs_infinitely_much() -> None:
    assert cost_to(STEP, 1.01) == math.inf
    assert cost_to(Curve((), (), {"xs": (), "s": ()})) == math.inf


def test_between_two_trials_a_sweep_has_what_the_earlier_one_left_it() -> None:
    assert at(STEP, [99, 100, 299, 300, 999]) == [0, 0.25, 0.625, 1, 1]
    assert at(STEP, [9.9, 10.0, 29.0], seconds=True) == [0, 0.25, 0.625]


# -- ratios ----------------------------------------------------------------------------------------


def test_a_ratio_is_median_over_median() -> None:
    found = ratio([1, 2, 30], [8, 4, 400])
    assert (found.value, found.reached, found.of) == (2 / 8, 3, 3)


def test_of_an_even_number_the_upper_middle_is_the_median() -> None:
    assert ratio([1, 2, 3, 4], [1, 1, 1, 1]).value == 3


def test_seeds_are_drawn_together_so_that_what_they_share_cancels() -> None:
    reference = [10.0, 20.0, 30.0, 40.0, 50.0]
    found = ratio([cost / 2 for cost in reference], reference)
    assert found == Estimate(0.5, 0.5, 0.5, 5, 5)


def test_an_interval_spans_the_medians_of_drawn_seeds() -> None:
    # Of two draws out of {1, 3} the upper is 1 with probability 1/4: more than 2.5 %.
    found = ratio([1, 3], [1, 1])
    assert (found.value, found.low, found.high) == (3, 1, 3)


def test_a_sweep_that_never_reached_the_level_is_the_costliest_and_not_left_out() -> None:
    most = ratio([1, 2, math.inf], [2, 2, 2])
    assert (most.value, most.reached, most.of) == (1, 2, 3)
    # Two or three of three draws miss with probability 7/27, so that the upper end is infinite.
    assert (most.low, most.high) == (0.5, math.inf)
    few = ratio([1, math.inf, math.inf], [2, 2, 2])
    assert (few.value, few.low, few.high, few.reached) == (math.inf, 0.5, math.inf, 1)


def test_against_a_reference_that_was_not_reached_the_ratio_is_below_any_number() -> None:
    assert ratio([5, 5, 5], [math.inf] * 3).value == 0
    assert ratio([math.inf] * 3, [math.inf] * 3).value == math.inf


# -- the first comparison --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def picks(task: GridTask, tmp_path_factory: pytest.TempPathFactory) -> Domain:
    """The best that forgets at most 0.2 gains 0.5: its standard error is sqrt(.25 / 500) = 0.0224
    by its items, and no configuration has a second seed."""
    folder = tmp_path_factory.mktemp("picks")
    finals = {
        cell("xs", 0): [Point(0.3, 0.1)],
        cell("xs", 1): [Point(0.48, 0.1)],
        cell("xs", 2): [Point(0.5, 0.2)],
        cell("xs", 3): [Point(0.9, 0.9)],
        cell("xs", 4): [Point(0.47, 0.1)],
        cell("s", 0): [Point(0.5, 0.0)],
        cell("m", 0): [Point(0.5, 0.0)],
    }
    task.write(folder, finals)
    return load_domain("far", folder)


def settled(domain: Domain, *order: int, model: str | None = "xs") -> float:
    return settled_at(domain, outcome(domain, *((cell("xs", n), 0) for n in order)), model)


def test_the_error_of_a_gain_is_that_of_its_items(picks: Domain) -> None:
    error = picks.standard_error(picks.trial_ids[cell("xs", 2)])
    assert error.gain == pytest.approx(math.sqrt(0.25 / 500))
    # Five suites of 100 items with 0.8 right each, averaged.
    assert error.forgetting == pytest.approx(math.sqrt(5 * 0.8 * 0.2 / 100) / 5)


def test_the_pick_settles_once_it_is_within_one_standard_error_of_the_best(picks: Domain) -> None:
    assert settled(picks, 0, 1, 2) == 2000  # .48 is within .0224 of .5
    assert settled(picks, 0, 4, 2) == 3000  # .47 is not
    assert settled(picks, 0, 4) == math.inf


def test_what_forgets_more_than_allowed_is_never_picked(picks: Domain) -> None:
    assert settled(picks, 3, 2) == 2000
    assert settled(picks, 2, 3) == 1000
    assert settled(picks, 3) == math.inf


def test_all_base_models_settle_with_the_last_of_them(picks: Domain) -> None:
    order = [cell("xs", 2), cell("s", 0), cell("xs", 0), cell("m", 0)]
    found = outcome(picks, *((one, 0) for one in order))
    assert settled_at(picks, found) == 4000
    assert settled_at(picks, found, "s") == 2000


def test_a_lucky_seed_that_beats_a_good_pick_unsettles_it(task: GridTask, tmp_path: Path) -> None:
    """Three configurations with two seeds: .80/.80, .81/.49 (mean .65), .30/.30. Their pooled
    variance is (2 x .16^2) / 3 = .1307^2, so that .65 is out of reach of the best, .80."""
    finals = {
        cell("xs", 0): [Point(0.8, 0.1)] * 2,
        cell("xs", 1): [Point(0.81, 0.1), Point(0.49, 0.1)],
        cell("xs", 2): [Point(0.3, 0.1)] * 2,
        cell("s", 0): [Point(0.5, 0.0)],
        cell("m", 0): [Point(0.5, 0.0)],
    }
    task.write(tmp_path, finals)
    domain = load_domain("far", tmp_path)
    assert domain.standard_error(domain.trial_ids[cell("xs", 0)]).gain == pytest.approx(
        math.sqrt(2 * 0.16**2 / 3)
    )
    lucky = outcome(domain, (cell("xs", 0), 0), (cell("xs", 1), 0))
    assert settled_at(domain, lucky, "xs") == math.inf
    unlucky = outcome(domain, (cell("xs", 0), 0), (cell("xs", 1), 1))
    assert settled_at(domain, unlucky, "xs") == 1000


def test_a_quantile_is_a_cost_within_which_that_share_is_done() -> None:
    costs = [float(n) for n in range(1, 21)]
    assert quantile(costs, 0.95) == 19
    assert quantile(costs, 0.5) == 10
    assert quantile([*costs[:18], math.inf, math.inf], 0.95) == math.inf
    assert quantile([*costs[:19], math.inf], 0.95) == 19
