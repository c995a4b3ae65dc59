"""Expected best of k: against all subsets, without bias, and compared at equal k alone."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keepgain.analysis.best_of_k import Curve, compared_at, curves, expected_best
from keepgain.analysis.measures import Measures
from keepgain.analysis.table import build_table
from keepgain.core.record import Evidence, Question, Stopping
from tests.analysis.evidence import Trial, base, build


def expected_best_with_replacement(values: np.ndarray, k: int) -> float:
    """The estimator of Dodge et al. 2019."""
    steps = (np.arange(len(values) + 1) / len(values)) ** k
    return float(np.diff(steps) @ np.sort(values))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-5, 5), min_size=1, max_size=7), st.data())
def test_it_is_the_mean_over_all_subsets(values: list[int], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(values)))
    every = [max(c) for c in itertools.combinations(values, k)]
    assert expected_best(np.array(values, float), k) == pytest.approx(np.mean(every), abs=1e-9)
    again = [max(c) for c in itertools.product(values, repeat=k)] if len(values) < 5 else None
    if again:
        found = expected_best_with_replacement(np.array(values, float), k)
        assert found == pytest.approx(np.mean(again), abs=1e-9)


def test_it_is_unbiased_where_the_estimate_with_replacement_is_too_low() -> None:
    """The best of 8 uniform draws is 8 / 9 on average; searches of 10 trials."""
    rng = np.random.default_rng(0)
    searches = rng.random((4000, 10))
    fair = np.array([expected_best(s, 8) for s in searches])
    low = np.array([expected_best_with_replacement(s, 8) for s in searches])
    error = fair.std() / np.sqrt(len(fair))
    assert abs(fair.mean() - 8 / 9) < 4 * error
    assert low.mean() < 8 / 9 - 20 * error


def test_thousands_of_trials_lose_no_digits() -> None:
    values = np.arange(5000) / 5000
    # The expected largest of k of 0..n-1 without replacement is k (n + 1) / (k + 1) - 1.
    assert expected_best(values, 700) == pytest.approx((700 * 5001 / 701 - 1) / 5000, abs=1e-9)
    assert expected_best(values, 5000) == pytest.approx(values[-1], abs=1e-12)


def searched(small: int, big: int, **extra: object) -> Evidence:
    trials = [base("s"), base("m")]
    trials += [Trial(f"s{i}", "s", 0.5 + 0.02 * i, seeds=0) for i in range(small)]
    trials += [Trial(f"m{i}", "m", 0.6 + 0.02 * i, seeds=0) for i in range(big)]
    return build(trials, n_items=300, test=False, **extra)


def found(evidence: Evidence, question: Question | None = None) -> dict[str, Curve]:
    m = Measures(build_table(evidence))
    return {c.model: c for c in curves(m, question or evidence.sweep.question)}


def test_unequal_effort_is_compared_at_equal_k() -> None:
    by = found(searched(5, 10))
    assert (by["s"].trials, by["m"].trials) == (5, 10)
    assert compared_at(tuple(by.values())) == 5
    small, big = by["s"].comparable, by["m"].comparable
    assert small is not None and big is not None and small.k == big.k == 5
    assert big.value < by["m"].points[-1].value  # the best of all ten is no fair rival
    assert small.low is None and big.low is not None and big.low < big.value


def test_too_few_trials_of_a_size_are_not_comparable_and_say_so() -> None:
    by = found(searched(2, 10))
    assert by["s"].points == () and by["s"].reason == "2 trials of at least 3"
    assert by["m"].comparable is None and by["m"].reason == "no other size has enough trials"
    assert compared_at(tuple(by.values())) is None


def test_what_forgets_too_much_counts_as_its_base() -> None:
    evidence = searched(4, 4)
    free = found(evidence, Question())["s"]
    none = found(evidence, Question(max_forgetting=-1.0))["s"]
    m = Measures(build_table(evidence))
    untouched = m.base("s")
    assert untouched is not None
    level = m.point(untouched, "validation", "task_score")
    assert none.points[-1].value == pytest.approx(level)
    assert free.points[-1].value > 0.4


def test_where_trials_were_stopped_early_only_audits_count() -> None:
    evidence = searched(8, 8)
    runs = [
        r.model_copy(update={"audit": r.trial_id in {"s0", "s1", "s2", "m0", "m1", "m2"}})
        for r in evidence.sweep.runs
    ]
    changes = {"runs": tuple(runs), "stopping": Stopping(keep=0.5, grace=0.2)}
    sweep = evidence.sweep.model_copy(update=changes)
    by = found(Evidence(sweep=sweep, items=evidence.items))
    assert by["s"].audits and by["s"].trials == 3
