"""What the winner of a search owes to luck is taken off, whatever the trials are like."""

import numpy as np
import pytest

from benchmarks.analysis.worlds import Known, Noise, base_of, world
from keepgain.analysis.draws import deviations
from keepgain.analysis.winners_curse import luck_of_the_best, own_variance, shrunk


def remaining(spread: float, failed: bool, trials: int, rounds: int) -> float:
    """Share of the winner's bias that the correction leaves, of errors with variance 1.

    True scores are normal with this spread; with `failed`, every second lies 15 below. Truth enters
    by its expectation given the scores, spread^2 / (spread^2 + 1) of the way, which only spares
    rounds: the expectation of the result is the same.
    """
    rng = np.random.default_rng(7)
    level = np.where(np.arange(trials) % 2, 0.0, -15.0 * failed)
    bias = left = 0.0
    for _ in range(rounds):
        scores = level + rng.normal(0, np.hypot(spread, 1), trials)
        best = int(scores.argmax())
        truth = level[best] + (scores[best] - level[best]) * spread**2 / (spread**2 + 1)
        bias += scores[best] - truth
        left += shrunk(scores, np.ones(trials))[best] - truth
    return left / bias


@pytest.mark.parametrize("spread", [0.0, 1.0, 2.0])
@pytest.mark.parametrize(("trials", "rounds"), [(10, 300), (50, 60), (200, 25)])
def test_at_least_80_percent_of_the_bias_goes(spread: float, trials: int, rounds: int) -> None:
    assert abs(remaining(spread, False, trials, rounds)) <= 0.2


@pytest.mark.parametrize(("trials", "rounds"), [(50, 60), (200, 25)])
def test_failed_trials_do_not_pass_for_spread(trials: int, rounds: int) -> None:
    assert abs(remaining(0.0, True, trials, rounds)) <= 0.2


def test_from_item_scores_with_pooled_seeds() -> None:
    """Ten equal trials; two more seeds of some tell what a seed does."""
    rng = np.random.default_rng(2)
    given = [Known(f"t{k}", "m", 0.7, seeds=1 + 2 * (k % 2)) for k in range(10)]
    bias = left = 0.0
    for _ in range(120):
        m = world(rng, [base_of("m"), *given], n_items=300, splits=("validation",))
        trials = m.table.trials("m", "validation")
        noise = deviations(m, "validation", trials, "task_score", 300)
        luck = luck_of_the_best(m, "validation", trials, noise)
        assert luck is not None and luck.seeds_counted and luck.trials == 10
        bias += luck.score - 0.7
        left += luck.expected - 0.7
    assert abs(left) <= 0.2 * bias


def test_without_replicates_the_luck_of_the_items_is_taken_off() -> None:
    rng = np.random.default_rng(2)
    given = [Known(f"t{k}", "m", 0.7, seeds=1) for k in range(20)]
    bias = left = 0.0
    for _ in range(60):
        m = world(rng, given, n_items=300, splits=("validation",), noise=Noise(seed=0.0))
        trials = m.table.trials("m", "validation")
        noise = deviations(m, "validation", trials, "task_score", 300)
        luck = luck_of_the_best(m, "validation", trials, noise)
        assert luck is not None and not luck.seeds_counted
        bias += luck.score - 0.7
        left += luck.expected - 0.7
    assert abs(left) <= 0.2 * bias


def test_errors_that_all_trials_share_move_no_rank() -> None:
    rng = np.random.default_rng(1)
    own, shared = rng.standard_normal((20_000, 6)), 9 * rng.standard_normal((20_000, 1))
    assert own_variance(own + shared) == pytest.approx(np.ones(6), rel=0.05)


def test_far_apart_or_without_noise_a_score_stays() -> None:
    values = np.array([0.1, 0.5, 0.9])
    assert shrunk(values, np.zeros(3)).tolist() == values.tolist()
    assert shrunk(values, np.full(3, 1e-8)) == pytest.approx(values, abs=1e-5)
