"""Fronts against brute force, membership, nearness, ranks, and the front across sizes."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keepgain.analysis import fronts
from keepgain.analysis.measures import Measures
from keepgain.analysis.objectives import Objective
from keepgain.analysis.points import Points, of_arrays
from keepgain.analysis.table import build_table
from keepgain.core.errors import UserError
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
    table = {"base": ("s", "base", {"task": ones(0, n, 1), "facts": ones(n, n, 1)})}
    for name, (task, facts) in trials.items():
        table[name] = ("s", "trial", {"task": ones(task, n), "facts": ones(facts, n)})
    return Measures(build_table(exact(table, measures=MEASURES)))


@pytest.mark.fault("N6")
def test_front_ranks_and_ties_within_a_size() -> None:
    _, places = fronts.within_size(small_field(), "test", "s", Question(delta=0.02))
    assert {k for k, p in places.items() if p.on_front} == {"base", "best", "kind", "twin"}
    ranks = {k: p.rank for k, p in places.items()}
    # Gain decides on the front; the twins share rank 2, and the next rank counts both.
    assert ranks == {"base": None, "best": 1, "kind": 2, "twin": 2, "poor": 4}
    assert {p.field for p in places.values()} == {"s / test"}


def test_the_limit_ranks_feasible_trials_first() -> None:
    question = Question(delta=0.02, max_forgetting=0.25)
    _, places = fronts.within_size(small_field(), "test", "s", question)
    assert {k: p.rank for k, p in places.items() if p.rank} == {
        "kind": 1,
        "twin": 1,
        "poor": 3,
        "best": 4,
    }


def test_near_means_within_delta_of_gain() -> None:
    m = small_field()
    assert not fronts.within_size(m, "test", "s", Question(delta=0.19))[1]["poor"].near_front
    assert fronts.within_size(m, "test", "s", Question(delta=0.21))[1]["poor"].near_front


def test_membership_follows_the_evidence() -> None:
    trials = [
        base("s"),
        Trial("good", "s", 0.8, 0.79),
        Trial("same", "s", 0.8, 0.79),
        Trial("bad", "s", 0.6, 0.6),
    ]
    m = Measures(build_table(build(trials, n_items=500, seed_sd=0.02)))
    _, places = fronts.within_size(m, "test", "s", Question())
    shares = {k: p.membership for k, p in places.items()}
    assert shares["bad"] == 0.0
    assert shares["good"] is not None and shares["same"] is not None
    assert 0.1 < shares["good"] < 1 and 0.1 < shares["same"] < 1
    _, again = fronts.within_size(m, "test", "s", Question())
    assert {k: p.membership for k, p in again.items()} == shares


def test_no_replicate_no_membership() -> None:
    trials = [base("s"), Trial("one", "s", 0.8, seeds=0), Trial("two", "s", 0.7, seeds=0)]
    m = Measures(build_table(build(trials, n_items=100)))
    _, places = fronts.within_size(m, "validation", "s", Question())
    assert all(p.membership is None for p in places.values())
    assert places["one"].rank == 1


def test_without_forgetting_suites_there_is_no_front_and_gain_ranks() -> None:
    trials = [base("s"), Trial("one", "s", 0.8), Trial("two", "s", 0.5)]
    m = Measures(build_table(build(trials, n_items=200, general_suites=())))
    _, places = fronts.within_size(m, "test", "s", Question())
    assert not any(p.on_front or p.near_front for p in places.values())
    assert (places["one"].rank, places["two"].rank) == (1, 2)


def test_across_sizes_levels_and_cost_decide() -> None:
    n = 50
    arms = {
        "small": ("s", "trial", {"task": ones(40, n), "facts": ones(30, n)}),
        "large": ("m", "trial", {"task": ones(45, n), "facts": ones(40, n)}),
        "worse": ("m", "trial", {"task": ones(40, n), "facts": ones(30, n)}),
    }
    m = Measures(build_table(exact(arms, measures=MEASURES)))
    who = list(m.table.configurations)
    on = fronts.across_sizes(m, "test", who, Question()).ids
    assert on == {"small", "large"}
    assert fronts.across_sizes(m, "test", who, Question(cost="train_flops")).ids == {"large"}


def dominated(points: np.ndarray, maximise: tuple[bool, ...]) -> list[bool]:
    """By definition: some other row is no worse anywhere and better somewhere."""
    goods = points * np.where(maximise, 1.0, -1.0)
    return [bool(((goods >= p).all(axis=1) & (goods > p).any(axis=1)).any()) for p in goods]


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_fronts_of_any_objectives_equal_brute_force(data: st.DataObject) -> None:
    k = data.draw(st.integers(2, 4))
    rows = data.draw(st.lists(st.tuples(*[st.integers(0, 3)] * k), min_size=1, max_size=30))
    maximise = tuple(data.draw(st.lists(st.booleans(), min_size=k, max_size=k)))
    points = np.array(rows, dtype=float)
    on = fronts.nondominated(points, maximise)
    assert on.tolist() == [not d for d in dominated(points, maximise)]
    for one, two in itertools.combinations(range(len(rows)), 2):
        assert rows[one] != rows[two] or on[one] == on[two]  # duplicates stand or fall together


def test_a_large_front_of_three_objectives_agrees_with_a_slow_check() -> None:
    rng = np.random.default_rng(3)
    points = rng.integers(0, 400, size=(100_000, 3)).astype(float)
    maximise = (True, False, False)
    on = fronts.nondominated(points, maximise)
    goods = points * np.where(maximise, 1.0, -1.0)
    checked = np.concatenate([np.flatnonzero(on)[:50], rng.integers(0, 100_000, 50)])
    assert on[checked].any() and not on[checked].all()
    for i in checked:
        beaten = ((goods >= goods[i]).all(axis=1) & (goods > goods[i]).any(axis=1)).any()
        assert on[i] == (not beaten)


def table(values: list[list[float]], errors: list[list[float]] | None = None) -> Points:
    named = (Objective("gain", "maximize", "share", 1), Objective("loss", "minimize", "share", 1))
    given_errors = None if errors is None else np.array(errors)
    names = [f"r{n}" for n in range(len(values))]
    return of_arrays(names, named, np.array(values), standard_errors=given_errors)


def test_a_row_without_an_objective_is_never_on_a_front_and_says_why() -> None:
    front = fronts.front_of(table([[0.9, np.nan], [0.5, 0.5], [np.nan, np.nan]]))
    assert front.ids == {"r1"}
    assert front.excluded == {"r0": "no loss", "r2": "no gain and no loss"}


def test_what_breaks_a_limit_is_on_no_front_and_displaces_nobody() -> None:
    m = small_field()
    free, _ = fronts.within_size(m, "test", "s", Question())
    assert free.ids == {"base", "best", "kind", "twin"}
    for question, gone in (
        (Question(min_gain=0.1), {"base"}),
        (Question(max_forgetting=0.2), {"best"}),
        (Question(max_forgetting=0.05), {"best", "kind", "twin", "poor"}),
        (Question(max_cost={"parameters": 10}), {"base", "best", "kind", "twin", "poor"}),
    ):
        front, places = fronts.within_size(m, "test", "s", question)
        assert set(front.excluded) == gone
        assert front.ids == free.ids - gone
        assert {t for t, p in places.items() if p.excluded} == gone
        assert all(places[t].membership is None for t in gone)
    front, _ = fronts.within_size(m, "test", "s", Question(max_forgetting=0.2))
    assert front.excluded["best"] == "largest drop 0.3 is above 0.2 (max_forgetting)"


def test_the_volume_of_a_field_is_what_its_front_covers() -> None:
    # Gains .8 at a drop of .3 and .7 at .1, from gain 0 and forgetting 1; the base covers nothing.
    front, _ = fronts.within_size(small_field(), "test", "s", Question())
    assert front.volume is not None
    assert front.volume.value == pytest.approx(0.7 * 0.9 + 0.1 * 0.7)
    moved = Question(reference_point={"gain": 0.75, "forgetting": 0.5})
    front, _ = fronts.within_size(small_field(), "test", "s", moved)
    assert front.volume is not None
    assert front.volume.value == pytest.approx(0.05 * 0.2)
    assert front.volume.beyond == 3  # base and the two of gain .7


def test_membership_of_a_table_follows_its_standard_errors() -> None:
    values = [[0.9, 0.1], [0.5, 0.5], [0.5, 0.5]]
    sure = fronts.front_of(table(values, [[0.0, 0.0]] * 3))
    assert sure.membership is not None and sure.membership.tolist() == [1.0, 0.0, 0.0]
    # Two rows that differ in one objective alone: either is ahead in half of the draws.
    two = fronts.front_of(table([[0.5, 0.5], [0.5, 0.5]], [[0.1, 0.0]] * 2), draws=4000)
    assert two.membership is not None
    assert two.membership == pytest.approx([0.5, 0.5], abs=0.03)
    assert fronts.front_of(table(values)).membership is None
    assert fronts.front_of(table(values, [[0.1, np.nan]] * 3)).membership is None


def test_fronts_within_and_across_sizes_take_other_objectives() -> None:
    m = small_field()
    front, _ = fronts.within_size(m, "test", "s", Question(), ("task_score", "parameters"))
    assert front.ids == {"best"}
    across = fronts.across_sizes(m, "test", m.table.configurations, Question(), ("max_forgetting",))
    assert across.ids == {"base"}
    with pytest.raises(UserError, match="no_such_thing"):
        fronts.within_size(m, "test", "s", Question(), ("no_such_thing",))


@given(
    rows=st.integers(1, 6),
    columns=st.integers(1, 3),
    maximise=st.lists(st.booleans(), min_size=3, max_size=3),
    seed=st.integers(0, 10**6),
)
def test_counting_fronts_of_many_draws_at_once_equals_one_by_one(
    rows: int, columns: int, maximise: list[bool], seed: int
) -> None:
    # Few values, so that ties and duplicates are frequent.
    draws = np.random.default_rng(seed).integers(0, 3, size=(7, rows, columns)) / 2
    one_by_one = np.sum([fronts.nondominated(d, maximise[:columns]) for d in draws], axis=0)
    assert fronts.on_fronts(draws, maximise[:columns]).tolist() == one_by_one.tolist()
    many = np.repeat(draws, 10, axis=1)[:, : fronts.FEW + 1]
    beyond = np.sum([fronts.nondominated(d, maximise[:columns]) for d in many], axis=0)
    assert fronts.on_fronts(many, maximise[:columns]).tolist() == beyond.tolist()
