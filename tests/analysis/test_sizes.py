"""The size rule on hand-worked numbers."""

import math

import numpy as np
import pytest

from keepgain.analysis import sizes, stats
from keepgain.analysis.adequacy import probabilities
from keepgain.analysis.judge import flips
from keepgain.analysis.measures import Measures
from keepgain.analysis.sizes import Size
from keepgain.analysis.table import build_table
from keepgain.core.record import Question
from tests.analysis.evidence import Trial, base, build, exact, ones

N = 400
MEASURES = {"task": "gain", "facts": "forgetting", "sums": "forgetting"}
LADDER = {"s": 1_000, "m": 2_000, "l": 3_000}


def configuration(model: str, task: int, facts: int, sums: int = 300) -> tuple:
    arrays = {"task": ones(task, N), "facts": ones(facts, N), "sums": ones(sums, N)}
    return (model, "trial", arrays)


def measures(given: dict[str, tuple]) -> Measures:
    """Bases are right on 300 of 400 general items; seeds are identical, so only items vary."""
    for model in LADDER:
        arrays = {"task": ones(0, N, 1), "facts": ones(300, N, 1), "sums": ones(300, N, 1)}
        given[f"base-{model}"] = (model, "base", arrays)
    return Measures(build_table(exact(given, measures=MEASURES, sizes=LADDER)))


def climb(m: Measures, question: Question) -> tuple[Size, ...]:
    pool = [c for c in m.table.configurations if c.kind == "trial"]
    return sizes.ladder(m, "test", pool, question)


def bound(lost: int, confidence: float = 0.95) -> float:
    """Upper bound of a drop of `lost` of N items: all changed items lost, none won."""
    p = lost / N
    return p + stats.t_quantile(confidence, N - 1) * math.sqrt(p * (1 - p) / (N - 1))


def test_the_task_bound_is_the_paired_one_sided_one() -> None:
    m = measures({"a": configuration("l", 360, 300), "b": configuration("s", 356, 300)})
    limit = bound(4)
    for delta, reached in ((limit - 1e-6, ["l"]), (limit + 1e-6, ["l", "s"])):
        ladder = climb(m, Question(delta=delta))
        assert [s.model for s in ladder if s.reached] == reached
    check = ladder[2].checks[0]
    assert check.bound == pytest.approx(-limit) and check.holds_at_point


def test_forgetting_bounds_are_simultaneous_over_suites() -> None:
    m = measures({"a": configuration("l", 360, 294, 300)})
    limit = bound(6, 1 - 0.05 / 2)
    assert not climb(m, Question(max_forgetting=limit - 1e-6))[0].reached
    assert climb(m, Question(max_forgetting=limit + 1e-6))[0].reached


def test_the_descent_stops_at_the_first_failure() -> None:
    m = measures(
        {
            "a": configuration("l", 360, 300),
            "b": configuration("m", 200, 300),
            "c": configuration("s", 360, 300),
        }
    )
    ladder = climb(m, Question(delta=0.05))
    assert [(s.model, s.reached) for s in ladder] == [("l", True), ("m", False), ("s", False)]


def test_a_largest_size_that_forgets_too_much_stays_the_level_to_hold() -> None:
    given = {"a": configuration("l", 360, 100), "b": configuration("m", 358, 300)}
    question = Question(delta=0.05, max_forgetting=0.05)
    ladder = climb(measures(dict(given)), question)
    assert [(s.model, s.reached) for s in ladder[:2]] == [("l", False), ("m", True)]
    given["b"] = configuration("m", 300, 300)
    assert not any(s.reached for s in climb(measures(given), question))


@pytest.mark.parametrize("skipped", [1, 2])
def test_every_skipped_size_halves_the_error_of_the_descent_below_it(skipped: int) -> None:
    """s loses 4 task items and 6 general ones; its bounds are those of .05 / 2^skipped."""
    given = {"a": configuration("l", 360, 100), "c": configuration("s", 356, 294)}
    if skipped == 2:
        given["b"] = configuration("m", 360, 100)
    m, error = measures(given), 0.05 / 2**skipped
    task, drop = bound(4, 1 - error), bound(6, 1 - error / 2)
    for step, stands in ((1e-6, True), (-1e-6, False)):
        for question in (
            Question(delta=task + step, max_forgetting=0.1),
            Question(delta=0.1, max_forgetting=drop + step),
        ):
            ladder = climb(m, question)
            assert [s.model for s in ladder if s.reached] == ["s"] * stands
            assert [s.confidence for s in ladder if s.candidate] == pytest.approx(
                [1 - 0.05 / 2**n for n in range(skipped + 1)]
            )


def test_a_flip_is_found_at_the_level_that_holds_there() -> None:
    """With the limit of now nothing is skipped; where s would fail, l has been."""
    m = measures({"a": configuration("l", 360, 100), "b": configuration("s", 360, 294)})
    pool = [c for c in m.table.configurations if c.kind == "trial"]
    found = flips(m, "test", pool, Question(delta=0.1, max_forgetting=0.9))
    limits = [f.to for f in found if f.what == "max_forgetting" and f.answer == "not_resolved"]
    assert limits == [pytest.approx(bound(6, 1 - 0.025 / 2))]


def test_below_a_size_that_stands_the_error_is_not_halved() -> None:
    m = measures({"a": configuration("l", 360, 300), "b": configuration("m", 360, 100)})
    assert [s.confidence for s in climb(m, Question(max_forgetting=0.05))] == [0.95] * 3


@pytest.mark.fault("N7")
def test_the_candidate_is_the_best_within_the_limit_else_the_least_forgetting() -> None:
    m = measures(
        {
            "a": configuration("s", 380, 200),
            "b": configuration("s", 350, 298),
            "c": configuration("s", 340, 300),
        }
    )
    pool = [c for c in m.table.configurations if c.kind == "trial"]

    def pick(limit: float | None) -> str:
        chosen = sizes.candidate(m, pool, Question(max_forgetting=limit))
        assert chosen is not None
        return chosen.trial_id

    assert (pick(None), pick(0.01), pick(0.001)) == ("a", "b", "c")
    assert sizes.candidate(m, pool[:1], Question(max_forgetting=0.01)) is pool[0]
    assert sizes.candidate(m, [], Question()) is None


def test_a_size_without_confirmed_trials_is_on_the_ladder_and_not_judged() -> None:
    ladder = climb(measures({"a": configuration("m", 360, 300)}), Question())
    assert [(s.model, s.candidate is None, s.reached) for s in ladder] == [
        ("l", True, False),
        ("m", False, True),
        ("s", True, False),
    ]


def test_probability_is_a_half_at_the_margin_and_one_far_from_it() -> None:
    given = {"a": configuration("l", 360, 300), "b": configuration("s", 340, 300)}
    m = measures(given)
    for delta, low, high in ((0.05, 0.4, 0.6), (0.15, 0.999, 1.0), (0.0, 0.0, 0.001)):
        question = Question(delta=delta)
        shares = probabilities(m, "test", climb(m, question), question)
        assert low <= shares["s"] <= high
        assert shares["l"] == 1.0


def test_probability_counts_seeds_and_all_conditions() -> None:
    trials = [base("s"), base("m"), Trial("a", "m", 0.8), Trial("b", "s", 0.8, 0.75)]
    question = Question(delta=0.05, max_forgetting=0.05)
    shares = []
    for sd in (0.0, 0.06):
        m = Measures(build_table(build(trials, n_items=4000, seed_sd=sd, rng_seed=2)))
        pool = [c for c in m.table.configurations if c.kind == "trial"]
        ladder = sizes.ladder(m, "test", pool, question)
        shares.append(probabilities(m, "test", ladder, question)["s"])
    assert shares[0] > 0.05 and abs(shares[0] - shares[1]) > 0.02


def test_without_replicates_bounds_and_probability_are_unknown() -> None:
    trials = [base("s"), Trial("a", "s", 0.8, seeds=1)]
    m = Measures(build_table(build(trials, n_items=100)))
    pool = [c for c in m.table.configurations if c.kind == "trial"]
    question = Question(max_forgetting=0.5)
    ladder = sizes.ladder(m, "test", pool, question)
    checks = ladder[1].checks
    assert all(c.bound is None and not c.holds and c.holds_at_point for c in checks)
    assert not ladder[1].reached
    assert sizes.ladder(m, "test", pool, question, by_point=True)[1].reached
    assert probabilities(m, "test", ladder, question) == {}


def test_bound_agrees_with_numpy() -> None:
    lost = np.array([1.0] * 6 + [0.0] * (N - 6))
    by_hand = lost.mean() + stats.t_quantile(0.95, N - 1) * lost.std(ddof=1) / math.sqrt(N)
    assert bound(6) == pytest.approx(by_hand)
