"""A look of an adaptive confirmation: who gets more seeds, and when more seeds cannot help."""

from collections.abc import Sequence

import numpy as np
import pytest

from benchmarks import confirmation
from keepgain.analysis.analyze import analyze
from keepgain.analysis.looks import next_look
from keepgain.analysis.render import text
from keepgain.analysis.spending import LEVELS, confidence_at, final_confidence
from keepgain.core.record import Evidence, LookRecord, Question
from tests.analysis.evidence import Trial, base, build, exact, ones

QUESTION = Question(delta=0.03, max_forgetting=0.05)


def adaptive(evidence: Evidence, looks: tuple[int, ...] = (3, 6)) -> Evidence:
    sweep = evidence.sweep.model_copy(update={"planned_looks": looks})
    return Evidence(sweep, evidence.items)


def world(
    trials: Sequence[Trial], *, seed_sd: float = 0.002, n_items: int = 4000, rng_seed: int = 1
) -> Evidence:
    return adaptive(
        build(
            [base("s"), base("m"), *trials],
            n_items=n_items,
            seed_sd=seed_sd,
            question=QUESTION,
            rng_seed=rng_seed,
            test=False,
        )
    )


def test_a_clear_case_is_decided_at_the_first_look() -> None:
    found = next_look(world([Trial("big", "m", 0.8), Trial("small", "s", 0.8)], n_items=20_000), 1)
    assert (found.undecided, found.more) == ((), {})
    assert found.reason == "every size is decided on validation"
    assert found.seeds == {"big": 3, "small": 3}


def test_an_open_size_and_the_largest_get_more_seeds_but_no_clear_loser() -> None:
    trials = [
        Trial("big", "m", 0.8),
        Trial("small", "s", 0.785),
        Trial("rival", "s", 0.783),
        Trial("loser", "s", 0.5),
    ]
    found = next_look(world(trials, seed_sd=0.012, n_items=20_000, rng_seed=3), 1)
    assert found.undecided == ("s",)
    assert found.more == {"big": 6, "small": 6, "rival": 6}


def test_what_has_failed_for_sure_gets_no_seed() -> None:
    trials = [Trial("big", "m", 0.8), Trial("small", "s", 0.5)]
    found = next_look(world(trials, n_items=20_000), 1)
    assert (found.undecided, found.more) == ((), {})


def test_nothing_is_spent_below_a_size_whose_score_failed() -> None:
    sizes = {"s": 10, "m": 100, "l": 1000}
    trials = [base(m) for m in sizes]
    trials += [Trial("big", "l", 0.8), Trial("mid", "m", 0.5), Trial("small", "s", 0.785)]
    evidence = build(
        trials, n_items=20_000, seed_sd=0.015, question=QUESTION, sizes=sizes, test=False
    )
    found = next_look(adaptive(evidence), 1)
    assert "s" not in found.undecided and "small" not in found.more


def test_more_seeds_are_refused_where_the_items_noise_alone_leaves_it_open() -> None:
    """30 of 100 items differ one way and 28 the other: value .02 over a margin of .03.

    Every seed alike, so that infinitely many leave it as it is. Item variance
    (.58 - .0004) / 99 = .005855; distance .05; (1.695398 + .841621)^2 = 6.43646:
    100 * .005855 * 6.43646 / .0025 = 1507.3.
    """
    n = 100
    big, small = np.zeros((n, 3)), np.zeros((n, 3))
    big[:28], small[28:58] = 1.0, 1.0
    big[58:], small[58:] = 1.0, 1.0
    evidence = exact(
        {
            "base-m": ("m", "base", {"tickets": ones(0, n, 1)}),
            "base-s": ("s", "base", {"tickets": ones(0, n, 1)}),
            "big": ("m", "trial", {"tickets": big}),
            "small": ("s", "trial", {"tickets": small}),
        },
        measures={"tickets": "gain"},
        question=Question(delta=0.03),
    )
    found = next_look(adaptive(evidence), 1)
    assert found.undecided == ("s",) and found.more == {}
    assert "about 1,508 validation items would, now 100" in found.reason


def test_test_scores_have_no_say() -> None:
    trials = [Trial("big", "m", 0.8), Trial("small", "s", 0.785)]
    found = build(
        [base("s"), base("m"), *trials], n_items=500, seed_sd=0.01, question=QUESTION, test=True
    )
    without = tuple((k, s) for k, s in found.items if s.split == "validation")
    assert next_look(adaptive(found), 1) == next_look(adaptive(Evidence(found.sweep, without)), 1)


def test_the_last_look_asks_for_nothing() -> None:
    evidence = world([Trial("big", "m", 0.8), Trial("small", "s", 0.785)], seed_sd=0.015)
    found = next_look(evidence, 2)
    assert found.undecided and found.more == {}
    assert "undecided at the last look" in found.reason


def test_a_look_without_scores_says_so() -> None:
    found = next_look(world([Trial("big", "m", 0.8, seeds=0)]), 1)
    assert found.reason == "no finalist has scores on validation"


def test_the_decision_is_made_at_the_level_that_the_looks_have_left() -> None:
    trials = [base("s"), base("m"), Trial("big", "m", 0.8), Trial("small", "s", 0.79)]
    plain = build(trials, n_items=1000, question=QUESTION)
    look = LookRecord(look=1, seeds={"big": 3, "small": 3}, reason="every size is decided")
    looked = adaptive(plain)
    looked = Evidence(looked.sweep.model_copy(update={"looks": (look,)}), looked.items)
    assert final_confidence(plain.sweep) == 0.95
    assert final_confidence(looked.sweep) == pytest.approx(0.955)

    def bounds(evidence: Evidence) -> list[tuple[str, float]]:
        checks = [c for s in analyze(evidence).decision.verdict.sizes for c in s.checks]
        checks += list(analyze(evidence).decision.verdict.against_arm.values())
        return [(c.claim, c.confidence) for c in checks if c.bound is not None]

    assert {c for _, c in bounds(plain)} == {0.95}
    assert {round(c, 9) for _, c in bounds(looked)} == {0.955}
    assert "Confirmation, look 1 of 2: every size is decided; confirmation ends." in text(
        analyze(looked)
    )


def test_levels_ascend_and_stay_below_five_per_cent() -> None:
    for looks, levels in LEVELS.items():
        assert len(levels) == looks and list(levels) == sorted(levels) and levels[-1] < 0.05
    assert confidence_at(1, 2) == 0.99 and confidence_at(3, 3) == 0.96


@pytest.mark.parametrize("looks", [(3, 6), (3, 6, 12)])
@pytest.mark.parametrize("same_items", [False, True])
def test_the_looks_together_err_at_most_five_times_in_a_hundred(
    looks: tuple[int, ...], same_items: bool
) -> None:
    """Standard error of a rate of .05 from 60,000 repetitions: .0009."""
    plan = confirmation.Plan(looks, LEVELS[len(looks)], item_share=0.3, same_items=same_items)
    rate, seeds = confirmation.run(plan, 60_000)
    assert 0.035 <= rate <= 0.0525
    assert looks[0] < seeds < looks[-1]


def test_without_spending_it_would_be_twice_that() -> None:
    assert confirmation.optional_stopping(range(3, 9), 40_000) > 0.11
