"""What the winner of a search owes to luck is taken off, whatever the trials are like."""

import numpy as np
import pytest

from benchmarks.analysis.worlds import Noise, True_, base_of, world
from keepgain.analysis.draws import deviations
from keepgain.analysis.winners_curse import luck_of_the_best, own_variance, shrunk

TRUTHS = {
    "equal": lambda rng, n: np.zeros(n),
    "as far apart as their noise": lambda rng, n: rng.normal(0, 1, n),
    "twice as far": lambda rng, n: rng.normal(0, 2, n),
    "half of them failed": lambda rng, n: np.where(np.arange(n) % 2, 0.0, -15.0),
}


@pytest.mark.parametrize(("trials", "rounds"), [(10, 300), (50, 100), (200, 60)])
@pytest.mark.parametrize("kind", TRUTHS)
def test_at_least_80_percent_of_the_bias_goes(kind: str, trials: int, rounds: int) -> None:
    rng = np.random.default_rng(7)
    bias = left = 0.0
    for _ in range(rounds):
        truth = TRUTHS[kind](rng, trials)
        scores = truth + rng.standard_normal(trials)
        best = int(scores.argmax())
        bias += scores[best] - truth[best]
        left += shrunk(scores, np.ones(trials))[best] - truth[best]
    assert abs(left) <= 0.2 * bias


def test_from_item_scores_with_pooled_seeds() -> None:
    """Ten equal trials; two more seeds of some tell what a seed does."""
    rng = np.random.default_rng(2)
    given = [True_(f"t{k}", "m", 0.7, seeds=1 + 2 * (k % 2)) for k in range(10)]
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
    given = [True_(f"t{k}", "m", 0.7, seeds=1) for k in range(20)]
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
