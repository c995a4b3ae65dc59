"""Fronts against brute force, membership, nearness, ranks, and the front across sizes."""

import numpy as np
import pytest

from keepgain.analysis import fronts
from keepgain.analysis.measures import Measures
from keepgain.analysis.table import build_table
from keepgain.core.record import Question
from tests.analysis.evidence import Trial, base, build, exact, ones

MEASURES = {"task": "gain", "facts": "forgetting"}


def brute_force(points: np.ndarray) -> list[bool]:
    """Gain up, forgetting down."""
    kept = []
    for g, f in points:
        better = (points[:, 0] >= g) & (points[:, 1] <= f)
        strictly = (points[:, 0] > g) | (points[:, 1] < f)
        kept.append(not np.any(better & strictly))
    return kept


@pytest.mark.parametrize("seed", range(5))
def test_front_and_layers_equal_brute_force(seed: int) -> None:
    points = np.random.default_rng(seed).integers(0, 8, size=(40, 2)).astype(float)
    assert fronts.nondominated(points, (True, False)).tolist() == brute_force(points)
    layer = fronts.layers(points, (True, False))
    rest, depth = np.arange(40), 0
    while len(rest):
        front = np.array(brute_force(points[rest]))
        assert set(layer[rest[front]]) == {depth}
        rest, depth = rest[~front], depth + 1


def test_equal_points_and_rounding_noise_stand_together() -> None:
    points = np.array([[0.1 + 0.2, 0.0], [0.3, 0.0], [0.2, 0.0]])
    assert fronts.nondominated(points, (True, False)).tolist() == [True, True, False]
    assert fronts.nondominated(np.empty((0, 2)), (True, False)).tolist() == []


def small_field() -> Measures:
    """Gains .8, .7, .7, .5 and drops .3, .1, .1, .2 over a base of 100 items."""
    n = 100
    trials = {
        "best": (80, 70),
        "kind": (70, 90),
        "twin": (70, 90),
        "poor": (50, 80),
    }
    given = {"base": ("s", "base", {"task": ones(0, n, 1), "facts": ones(n, n, 1)})}
    for name, (task, facts) in trials.items():
        given[name] = ("s", "trial", {"task": ones(task, n), "facts": ones(facts, n)})
    return Measures(build_table(exact(given, measures=MEASURES)))


def test_front_ranks_and_ties_within_a_size() -> None:
    places = fronts.within_size(small_field(), "test", "s", Question(delta=0.02))
    assert {k for k, p in places.items() if p.on_front} == {"base", "best", "kind", "twin"}
    ranks = {k: p.rank for k, p in places.items()}
    # Gain decides on the front; the twins share rank 2, and the next rank counts both.
    assert ranks == {"base": None, "best": 1, "kind": 2, "twin": 2, "poor": 4}
    assert {p.field for p in places.values()} == {"s / test"}


def test_the_limit_ranks_feasible_trials_first() -> None:
    question = Question(delta=0.02, max_forgetting=0.25)
    places = fronts.within_size(small_field(), "test", "s", question)
    assert {k: p.rank for k, p in places.items() if p.rank} == {
        "kind": 1,
        "twin": 1,
        "poor": 3,
        "best": 4,
    }


def test_near_means_within_delta_of_gain() -> None:
    m = small_field()
    assert not fronts.within_size(m, "test", "s", Question(delta=0.19))["poor"].near_front
    assert fronts.within_size(m, "test", "s", Question(delta=0.21))["poor"].near_front


def test_membership_follows_the_evidence() -> None:
    trials = [
        base("s"),
        Trial("good", "s", 0.8, 0.79),
        Trial("same", "s", 0.8, 0.79),
        Trial("bad", "s", 0.6, 0.6),
    ]
    m = Measures(build_table(build(trials, n_items=500, seed_sd=0.02)))
    places = fronts.within_size(m, "test", "s", Question())
    shares = {k: p.membership for k, p in places.items()}
    assert shares["bad"] == 0.0
    assert shares["good"] is not None and shares["same"] is not None
    assert 0.1 < shares["good"] < 1 and 0.1 < shares["same"] < 1
    again = fronts.within_size(m, "test", "s", Question())
    assert {k: p.membership for k, p in again.items()} == shares


def test_no_replicate_no_membership() -> None:
    trials = [base("s"), Trial("one", "s", 0.8, seeds=0), Trial("two", "s", 0.7, seeds=0)]
    m = Measures(build_table(build(trials, n_items=100)))
    places = fronts.within_size(m, "validation", "s", Question())
    assert all(p.membership is None for p in places.values())
    assert places["one"].rank == 1


def test_without_forgetting_suites_there_is_no_front_and_gain_ranks() -> None:
    trials = [base("s"), Trial("one", "s", 0.8), Trial("two", "s", 0.5)]
    m = Measures(build_table(build(trials, n_items=200, general_suites=())))
    places = fronts.within_size(m, "test", "s", Question())
    assert not any(p.on_front or p.near_front for p in places.values())
    assert (places["one"].rank, places["two"].rank) == (1, 2)


def test_across_sizes_levels_and_cost_decide() -> None:
    n = 50
    given = {
        "small": ("s", "trial", {"task": ones(40, n), "facts": ones(30, n)}),
        "large": ("m", "trial", {"task": ones(45, n), "facts": ones(40, n)}),
        "worse": ("m", "trial", {"task": ones(40, n), "facts": ones(30, n)}),
    }
    m = Measures(build_table(exact(given, measures=MEASURES)))
    who = list(m.table.configurations)
    on = fronts.across_sizes(m, "test", who, "parameters")
    assert on == {"small", "large"}
    assert fronts.across_sizes(m, "test", who, "no_such_cost") == {"large"}
