"""The confidence set for the best holds the true best, and leaves clear losers out."""

import time

import numpy as np
import pytest

from benchmarks.analysis.worlds import Known, base_of, world
from keepgain.analysis.best_set import best_set, cheapest, could_be_best
from keepgain.analysis.draws import deviations
from keepgain.analysis.measures import Measures
from keepgain.core.record import Question


def found(m: Measures, draws: int = 500) -> tuple[str, ...] | None:
    trials = [c for c in m.table.configurations if c.kind == "trial"]
    noise = deviations(m, "validation", trials, "task_score", draws)
    best = best_set(m, "validation", trials, noise, Question())
    assert best is not None
    return best.trials


@pytest.mark.parametrize("step", [0.0, 0.01, 0.04])
def test_the_true_best_is_in_the_set(step: float) -> None:
    """Eight trials of 1 to 3 seeds, equal, close, and further apart than their noise."""
    given = [
        Known(f"t{k}", "m", 0.7 - step * k, seeds=1 + k % 3, confirmed=False) for k in range(8)
    ]
    rng = np.random.default_rng(8)
    hits = sizes = 0
    for _ in range(150):
        trials = found(world(rng, [base_of("m"), *given], n_items=300, splits=("validation",)))
        assert trials is not None
        hits += len(trials) / 8 if step == 0 else "t0" in trials  # equal ones are all the best
        sizes += len(trials)
    assert hits / 150 >= 0.93
    assert sizes / 150 < (8 if step < 0.04 else 4.5)


def test_the_best_is_held_among_many_with_unequal_noise() -> None:
    rng = np.random.default_rng(4)
    for truth in (np.zeros(50), np.r_[0.0, np.full(49, -2.5)], rng.normal(0, 1, 50)):
        errors = np.linspace(0.5, 2, 50)
        best, hits = int(truth.argmax()), 0
        for _ in range(300):
            values = truth + errors * rng.standard_normal(50)
            hits += could_be_best(values, errors * rng.standard_normal((500, 50)))[best]
        assert hits / 300 >= 0.93


def test_of_two_it_is_the_one_sided_test() -> None:
    noise = np.random.default_rng(0).standard_normal((4000, 2))
    edge = 1.645 * np.sqrt(2)
    assert could_be_best(np.array([0.0, edge * 0.95]), noise).tolist() == [True, True]
    assert could_be_best(np.array([0.0, edge * 1.15]), noise).tolist() == [False, True]


def test_without_noise_only_ties_stay() -> None:
    values = np.array([0.5, 0.7, 0.7])
    assert could_be_best(values, np.zeros((10, 3))).tolist() == [False, True, True]


def test_ten_thousand_take_seconds() -> None:
    rng = np.random.default_rng(1)
    values, noise = rng.standard_normal(10_000), rng.standard_normal((1000, 10_000))
    start = time.process_time()
    could_be_best(values, noise)
    assert time.process_time() - start < 3


def test_the_draws_have_the_variance_of_the_intervals() -> None:
    rng = np.random.default_rng(3)
    given = [Known(f"t{k}", "m", 0.7, seeds=1 + k % 3) for k in range(24)]
    m = world(rng, [base_of("m"), *given], n_items=400, splits=("validation",))
    trials = m.table.trials("m", "validation")
    drawn = deviations(m, "validation", trials, "task_score", 4000)
    for n, who in enumerate(trials):
        u = m.uncertain(who, "validation", "task_score")
        assert u is not None
        seeds = m.seed_variance("m", "validation", "task_score")
        assert seeds is not None
        wider = seeds.between * seeds.df / (seeds.df - 2) - seeds.interaction  # mean of 1 / chi^2
        expected = u.item_variance + wider / who.seeds("validation")
        assert drawn[:, n].var() == pytest.approx(expected, rel=0.1)
    apart = m.difference(trials[0], trials[1], "validation", "task_score")
    assert apart is not None
    assert (drawn[:, 0] - drawn[:, 1]).var() == pytest.approx(apart.variance, rel=0.25)


def test_without_replicates_the_set_is_unknown() -> None:
    given = [Known(f"t{k}", "m", 0.7, seeds=1) for k in range(3)]
    m = world(np.random.default_rng(0), [base_of("m"), *given], n_items=50)
    assert found(m) is None


def test_the_cheapest_by_the_question_s_cost_then_by_training() -> None:
    def who(*costs: dict[str, float]) -> list:
        given = [Known(f"t{k}", "m", 0.7, cost=c) for k, c in enumerate(costs)]
        m = world(np.random.default_rng(0), given, n_items=5)
        return list(m.table.configurations)

    same = {"parameters": 5.0}
    assert cheapest(who({"parameters": 6.0}, same), "parameters") == "t1"
    flops = [{**same, "train_flops": f} for f in (3.0, 2.0)]
    assert cheapest(who(*flops), "parameters") == "t1"
    assert cheapest(who(same, same), "parameters") is None
    assert cheapest(who(same, {}), "parameters") is None
