"""Mixture surfaces of known truth: the right form, an honest error, and a predicted best."""

import numpy as np
import pytest

from keepgain.analysis.why.mixture import SETTINGS, fit, mixture, needed
from keepgain.analysis.why.observations import observations
from tests.analysis.why.made import measured, sweep


def drawn(n: int, seed: int, sources: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(sources), n)


def fitted(r, y, z=None):
    z = np.zeros((len(y), 0)) if z is None else z
    return fit("m", "tickets", "gain", "points", r, z, y)[0]


def test_the_mixing_law_is_recovered_and_beats_a_straight_line() -> None:
    r = drawn(40, 0)
    noise = np.random.default_rng(1).normal(0, 0.5, 40)
    found = fitted(r, 5 + np.exp(r @ [4.0, 1.0, -1.0]) + noise)
    assert found.chosen == "log-linear" and found.resolved
    assert found.r2["log-linear"] > 0.97 > found.r2["ridge"] + 0.05
    assert found.spearman["log-linear"] > 0.95
    assert found.rmse == pytest.approx(0.5, rel=0.3)  # the noise, and no less


def test_a_straight_line_is_fitted_as_one() -> None:
    r = drawn(40, 2)
    found = fitted(r, r @ [40.0, 10.0, 0.0] + np.random.default_rng(3).normal(0, 2, 40))
    assert found.resolved and found.r2["ridge"] > 0.9


def test_noise_is_not_taken_for_a_surface() -> None:
    resolved = sum(
        fitted(drawn(30, seed), np.random.default_rng(100 + seed).normal(0, 1, 30)).resolved
        for seed in range(12)
    )
    assert resolved <= 3  # binomial(12, .05), 1 % level


def test_what_another_setting_does_is_not_the_mixtures() -> None:
    rng = np.random.default_rng(5)
    z = rng.normal(size=(40, 1))
    found = fitted(drawn(40, 6), 20 + 5 * z[:, 0] + rng.normal(0, 1, 40), z)
    assert found.r2[SETTINGS] > 0.9
    assert not found.resolved


def test_boosted_trees_are_fitted_from_64_trials_on() -> None:
    r = drawn(64, 7)
    y = 50.0 * (r[:, 0] > 0.3)  # a step, which no smooth form follows
    assert "boosted trees" not in fitted(r[:63], y[:63]).r2
    found = fitted(r, y)
    assert found.chosen == "boosted trees" and found.resolved


def searched(n: int):
    """The task's error falls with its share; the general one rises without replay."""
    trials = []
    for share in drawn(n, 8, 2)[:, 0]:
        task = round(200 * (0.9 - 0.5 * np.exp(-3 * share)))
        general = round(200 * (0.9 - 0.6 * np.exp(-3 * (1 - share))))
        params = {"mixture.task": float(share), "mixture.general": float(1 - share)}
        trials.append(("m", params, task, general))
    return trials


def test_the_predicted_best_mixture_is_near_the_true_one_and_within_what_was_tried() -> None:
    trials = searched(30)
    measures = measured(sweep(trials))
    found = mixture(observations(measures), measures, ["m"])
    tried = [t[1]["mixture.task"] for t in trials]
    task, general = found.best
    assert (task.aim, general.aim) == ("task", "general")
    # The error of the task is least at the largest share of it, that of the general suite at the
    # least: the ends of what was tried, and not beyond.
    assert task.shares["mixture.task"] == pytest.approx(max(tried), abs=0.02)
    assert general.shares["mixture.task"] == pytest.approx(min(tried), abs=0.02)
    assert min(tried) <= task.shares["mixture.task"] <= max(tried)
    assert sum(task.shares.values()) == pytest.approx(1)
    truth = 100 * (1 - (0.9 - 0.5 * np.exp(-3 * task.shares["mixture.task"])))
    assert abs(task.predicted - truth) < 3 * task.rmse + 0.5


def test_too_few_trials_are_refused_with_the_number_needed() -> None:
    measures = measured(sweep(searched(needed(2) - 1)))
    found = mixture(observations(measures), measures, ["m"])
    assert {s.reason for s in found.surfaces} == {"10 trials, 11 are needed"}
    assert found.best == ()


def test_without_a_searched_mixture_there_is_no_surface() -> None:
    measures = measured(sweep([("m", {"learning_rate": 1e-4 * i}, 50, 50) for i in range(1, 30)]))
    assert mixture(observations(measures), measures, ["m"]).sources == ()
