"""Learning curves: exact without noise, intervals that cover, and refusals that say what to add."""

from dataclasses import replace

import numpy as np
import pytest

from keepgain.analysis.stats import t_quantile
from keepgain.analysis.why.learning import changes, fit_curve
from keepgain.analysis.why.observations import observations
from keepgain.core.record import Evidence
from tests.analysis.why.made import N, measured, sweep

ROWS = np.repeat([125.0, 250.0, 500.0, 1000.0], 4)
NONE = np.zeros((len(ROWS), 0))


def items(mean: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
    """Item scores of trials with these means, shape [400, T]: items differ, alike for all."""
    spread = np.linspace(-0.2, 0.2, 400)[:, None]
    if rng is None:
        return mean + spread
    return mean + rng.normal(0, 0.25, (400, 1)) + rng.normal(0, 0.35, (400, len(mean)))


def power(n: float | np.ndarray) -> float | np.ndarray:
    return 0.9 - 0.3 * (n / 1000) ** -0.5


def test_a_power_law_is_extrapolated_exactly() -> None:
    wobble = np.tile([1e-6, -1e-6], 8)
    fitted = fit_curve(ROWS, NONE, items(power(ROWS) + wobble), np.ones(400))
    assert fitted.form == "power law"
    change, error, df = fitted.change
    assert change == pytest.approx(power(2000.0) - power(1000.0), abs=1e-5)
    assert fitted.predicted[0] == pytest.approx(power(2000.0), abs=1e-5)
    assert fitted.at == pytest.approx([power(n) for n in (125.0, 250.0, 500.0, 1000.0)], abs=1e-5)
    assert df == 16 - 3
    assert error < 1e-5  # items that all trials share do not move a difference


def test_with_fewer_than_four_sizes_the_curve_is_a_logarithm() -> None:
    n = np.repeat([250.0, 500.0, 1000.0], 4)
    fitted = fit_curve(n, NONE[:12], items(power(n)), np.ones(400))
    assert fitted.form == "logarithm"
    straight = fit_curve(n, NONE[:12], items(0.4 + 0.05 * np.log(n)), np.ones(400))
    assert straight.change[0] == pytest.approx(0.05 * np.log(2))


def test_other_settings_are_allowed_for() -> None:
    rng = np.random.default_rng(1)
    other = np.tile([-1.0, 1.0], 8)
    scores = items(0.4 + 0.05 * np.log(ROWS) + 0.2 * other + rng.normal(0, 1e-4, 16))
    fitted = fit_curve(ROWS, other[:, None], scores, np.ones(400))
    assert fitted.change[0] == pytest.approx(0.05 * np.log(2), abs=1e-3)
    together = fit_curve(ROWS, np.log(ROWS)[:, None], scores, np.ones(400))
    assert together == "it varies together with another setting"


@pytest.mark.parametrize("truth", [power, lambda n: 0.7 + 0 * n, lambda n: 0.3 + 0.06 * np.log(n)])
def test_intervals_cover_the_truth(truth) -> None:
    draws = 200
    change = prediction = 0
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        mean = truth(ROWS) + rng.normal(0, 0.02, len(ROWS))
        fitted = fit_curve(ROWS, NONE, items(mean, rng), np.ones(400))
        value, error, df = fitted.change
        reach = t_quantile(0.975, df)
        change += abs(value - (truth(2000.0) - truth(1000.0))) <= reach * error
        value, error, df = fitted.predicted
        prediction += abs(value - truth(2000.0) - rng.normal(0, 0.02)) <= reach * error
    # .90 is two-sided 1 % below .95 of 200 draws; the prediction may be too wide.
    assert 0.90 <= change / draws <= 0.99
    assert prediction / draws >= 0.90


def searched(levels: tuple[int, ...], repeats: int = 4, **more: object) -> Evidence:
    rng = np.random.default_rng(2)
    trials = []
    for rows in levels:
        for _ in range(repeats):
            task = round(N * power(float(rows)) + rng.integers(-2, 3))
            trials.append(("s", {"rows": rows, **more}, task, 80))
    return sweep(trials)


def test_twice_the_rows_is_told_for_suites_and_slices() -> None:
    evidence = searched((125, 250, 500, 1000))
    halves = tuple("even" if i % 2 else "odd" for i in range(N))
    few = tuple("rare" if i < 10 else "usual" for i in range(N))
    sliced = tuple(
        (k, replace(s, slices={"parity": halves, "kind": few})) for k, s in evidence.items
    )
    measures = measured(Evidence(evidence.sweep, sliced))
    found = {(c.suite, c.part): c for c in changes(observations(measures), measures)}
    # Ten items are no slice; slices are of what the task is scored on.
    assert set(found) == {
        ("tickets", None),
        ("tickets", "kind=usual"),
        ("tickets", "parity=even"),
        ("tickets", "parity=odd"),
        ("facts", None),
    }
    whole = found["tickets", None]
    assert whole.change.low < power(2000.0) - power(1000.0) < whole.change.high
    assert whole.levels == (125.0, 250.0, 500.0, 1000.0) and whole.trials == 16
    assert found["tickets", "kind=usual"].items == N - 10
    assert found["facts", None].reason == "all trials score the same"


def test_up_is_good_for_bits_too() -> None:
    evidence = searched((125, 250, 500, 1000))
    suites = tuple(s.model_copy(update={"scorer": "bits_per_byte"}) for s in evidence.sweep.suites)
    bits = tuple((k, replace(s, metric="bits_per_byte")) for k, s in evidence.items)
    changed = Evidence(evidence.sweep.model_copy(update={"suites": suites}), bits)
    plain, lower = (
        next(c for c in changes(observations(m), m) if c.suite == "tickets")
        for m in (measured(evidence), measured(changed))
    )
    assert lower.change.value == pytest.approx(-plain.change.value)
    assert lower.predicted.value == pytest.approx(plain.predicted.value)


def test_durations_are_curves_in_tokens() -> None:
    evidence = searched((500, 1000))
    runs = tuple(
        r
        if r.kind == "base"
        else r.model_copy(
            update={
                "params": {"duration": r.params["rows"] / 500, "budget": r.params["rows"]},
                "tokens": r.params["rows"] + 7,
                "budget": r.params["rows"],
            }
        )
        for r in evidence.sweep.runs
    )
    items_ = tuple(
        (k, replace(s, tokens=next(r.tokens for r in runs if r.run_key == k)))
        for k, s in evidence.items
    )
    measures = measured(Evidence(evidence.sweep.model_copy(update={"runs": runs}), items_))
    found = changes(observations(measures), measures)
    assert {(c.of, c.levels) for c in found} == {("duration", (507.0, 1007.0))}
    assert next(c for c in found if c.suite == "tickets").form == "logarithm"


def test_few_trials_are_refused_and_a_sweep_without_rows_has_no_curve() -> None:
    measures = measured(searched((250, 500), repeats=2))
    assert {c.reason for c in changes(observations(measures), measures)} == {
        "4 trials, 6 are needed"
    }
    measures = measured(sweep([("s", {}, 100, 80)] * 8))
    assert changes(observations(measures), measures) == ()


def test_a_single_cluster_of_items_has_no_interval_and_so_no_curve() -> None:
    n = np.repeat([100.0, 200.0, 400.0, 800.0], 4)
    scores = np.random.default_rng(0).random((50, 16))
    z, weights = np.zeros((16, 0)), np.ones(50)
    assert not isinstance(fit_curve(n, z, scores, weights), str)
    alone = fit_curve(n, z, scores, weights, np.zeros(50, dtype=np.int64))
    assert alone == "its items are a single cluster"
