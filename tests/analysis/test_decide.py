"""Fixtures with a known truth: each must give the right status and say so in words."""

import numpy as np
import pytest

from keepgain.analysis.analyze import analyze
from keepgain.analysis.measures import Measures
from keepgain.analysis.result import Analysis
from keepgain.analysis.table import build_table
from keepgain.core.errors import UserError
from keepgain.core.record import Evidence, Question
from tests.analysis.evidence import Trial, base, build

BASES = [base("s"), base("m")]
QUESTION = Question(delta=0.05, max_forgetting=0.06)


def decide(trials: list[Trial], n_items: int = 1500, **options: object) -> Analysis:
    options.setdefault("question", QUESTION)
    return analyze(build([*BASES, *trials], n_items=n_items, **options))  # type: ignore[arg-type]


def method_pair(full: float, lora: float) -> list[Trial]:
    return [
        Trial("full-m", "m", full, 0.79, method="full"),
        Trial("lora-m", "m", lora, 0.79, method="lora"),
        Trial("full-s", "s", 0.3, 0.79, method="full"),
    ]


def test_lora_wins_where_it_is_better() -> None:
    decision = decide(method_pair(full=0.6, lora=0.8)).decision
    assert (decision.status, decision.model, decision.trial) == ("recommended", "m", "lora-m")
    assert "Use m (1M parameters), trial lora-m (lora)" in decision.reason
    assert "1,500 test items over 3 seeds" in decision.reason
    assert decision.tied_with == () and decision.guards == ()
    assert decision.probability is not None and decision.probability > 0.99


def test_lora_loses_where_it_is_worse() -> None:
    decision = decide(method_pair(full=0.8, lora=0.6)).decision
    assert (decision.status, decision.trial) == ("recommended", "full-m")
    assert "(full)" in decision.reason and "lora" not in decision.reason


@pytest.mark.fault("N6")
def test_sizes_that_tie_give_the_smallest() -> None:
    decision = decide([Trial("big", "m", 0.8), Trial("small", "s", 0.8)]).decision
    assert (decision.status, decision.model, decision.trial) == ("recommended", "s", "small")
    assert "that of m (1M parameters)" in decision.reason
    assert "5.0 points (delta) were allowed" in decision.reason


@pytest.mark.fault("N6")
def test_settings_that_tie_are_named() -> None:
    trials = [Trial("one", "m", 0.8), Trial("two", "m", 0.8), Trial("bad", "m", 0.5)]
    decision = decide(trials).decision
    assert decision.status == "tied" and decision.model == "m"
    assert {decision.trial, *decision.tied_with} == {"one", "two"}
    assert "those are tied" in decision.reason


def test_changing_delta_changes_the_answer_and_the_flip_says_where() -> None:
    trials = [*BASES, Trial("big", "m", 0.85), Trial("small", "s", 0.78)]
    evidence = build(trials, n_items=800, question=Question(max_forgetting=0.2))
    strict, loose = analyze(evidence, delta=0.02), analyze(evidence, delta=0.15)
    assert (strict.decision.model, loose.decision.model) == ("m", "s")
    places = set()
    for analysis, other in ((strict, "s"), (loose, "m")):
        flip = next(f for f in analysis.decision.flips if f.what == "delta")
        assert flip.answer == other and flip.current == analysis.question.delta
        places.add(flip.to)
    assert len(places) == 1
    for step, model in ((1e-9, "s"), (-1e-9, "m")):
        assert analyze(evidence, delta=max(places) + step).decision.model == model


@pytest.mark.fault("N6", "N7")
def test_nothing_feasible_names_what_kills_each_size() -> None:
    trials = [Trial("big", "m", 0.8, 0.5), Trial("small", "s", 0.8, 0.4)]
    decision = decide(trials).decision
    assert (decision.status, decision.model, decision.trial) == ("infeasible", None, None)
    assert "m: it forgets" in decision.reason and "s: it forgets" in decision.reason
    assert "limit 6.0 points" in decision.reason
    flip = next(f for f in decision.flips if f.what == "max_forgetting")
    assert flip.to > 0.06 and flip.answer in ("not_resolved", "m", "s")


@pytest.mark.fault("N7")
def test_the_largest_may_forget_too_much_and_a_smaller_one_stand() -> None:
    trials = [Trial("big", "m", 0.8, 0.5), Trial("small", "s", 0.8, 0.8)]
    assert decide(trials).decision.model == "s"


@pytest.mark.parametrize("arm", ["system_prompt", "few_shot", "context"])
def test_a_better_reference_arm_means_do_not_fine_tune(arm: str) -> None:
    trials = [
        Trial("big", "m", 0.7),
        Trial("small", "s", 0.6),
        Trial("arm", "s", 0.8, arm=arm, general=None),  # type: ignore[arg-type]
    ]
    decision = decide(trials).decision
    assert decision.status == "do_not_fine_tune"
    assert (decision.model, decision.trial, decision.probability) == ("s", "arm", None)
    assert decision.reason.startswith("Do not fine-tune: the base s with")


def test_a_trial_that_only_equals_its_base_is_not_worth_it() -> None:
    decision = analyze(build([base("m", 0.6), Trial("big", "m", 0.55)], n_items=2000)).decision
    assert decision.status == "do_not_fine_tune"
    assert "the untouched base m" in decision.reason


def test_a_smaller_size_that_loses_to_the_arm_gives_way_to_a_larger_that_wins() -> None:
    trials = [
        Trial("big", "m", 0.85),
        Trial("small", "s", 0.75),
        Trial("arm", "m", 0.8, arm="few_shot"),
    ]
    decision = decide(trials, question=Question(delta=0.2)).decision
    assert (decision.status, decision.model) == ("recommended", "m")


def test_a_size_that_would_win_but_for_a_bound_leaves_it_open() -> None:
    """The small one is adequate and loses to the arm; the big one wins, its drop is not settled."""
    trials = [
        Trial("big", "m", 0.85, 0.75),
        Trial("small", "s", 0.70, 0.8),
        Trial("arm", "m", 0.78, arm="few_shot"),
    ]
    question = Question(delta=0.3, max_forgetting=0.07)
    decision = decide(
        trials, n_items=500, seed_sd=0.0, question=question, general_suites=("facts",)
    ).decision
    assert (decision.status, decision.model) == ("not_resolved", None)
    assert "s: it is behind m few_shot by" in decision.reason


def test_only_sizes_that_forget_too_much_beat_the_arm() -> None:
    trials = [
        Trial("big", "m", 0.9, 0.4),
        Trial("small", "s", 0.75, 0.8),
        Trial("arm", "m", 0.8, arm="few_shot"),
    ]
    decision = decide(trials, question=Question(delta=0.3, max_forgetting=0.06)).decision
    assert decision.status == "do_not_fine_tune"
    assert "m scores more, but it forgets" in decision.reason


def test_too_few_items_are_not_resolved_and_the_number_needed_is_said() -> None:
    trials = [Trial("big", "m", 0.60, 0.85), Trial("arm", "m", 0.5, arm="few_shot")]
    question = Question(delta=0.05, max_forgetting=0.15)
    decision = decide(trials, n_items=40, seed_sd=0.0, question=question).decision
    assert (decision.status, decision.model) == ("not_resolved", None)
    assert "would resolve it with 80 % power (now 40)" in decision.reason


def test_no_replicates_is_not_resolved_and_says_why() -> None:
    decision = decide([Trial("big", "m", 0.8, seeds=1), Trial("small", "s", 0.8, seeds=1)]).decision
    assert (decision.status, decision.probability) == ("not_resolved", None)
    assert "seed variance of m and s is unknown" in decision.reason


def test_no_forgetting_suite_still_decides_and_says_so() -> None:
    analysis = decide([Trial("big", "m", 0.8)], general_suites=())
    assert analysis.decision.status == "recommended"
    assert "forgetting not measured" in analysis.decision.reason.lower()
    assert analysis.rows[-1].estimates["forgetting"].value is None
    nothing = decide([Trial("big", "m", 0.05)], general_suites=())
    assert nothing.decision.status == "do_not_fine_tune"
    assert "forgetting not measured" in nothing.decision.reason.lower()


def test_validation_alone_is_provisional() -> None:
    decision = decide([Trial("big", "m", 0.8), Trial("small", "s", 0.5)], test=False).decision
    assert (decision.status, decision.model, decision.split) == ("provisional", "m", "validation")
    assert "the test split was not used" in decision.reason


def test_unconfirmed_trials_are_provisional() -> None:
    decision = decide([Trial("big", "m", 0.8, seeds=0), Trial("bad", "m", 0.5, seeds=0)]).decision
    assert (decision.status, decision.trial) == ("provisional", "big")
    assert "no trial was confirmed" in decision.reason


@pytest.mark.fault("N6")
def test_nothing_completed_is_provisional_without_a_model() -> None:
    decision = decide([]).decision
    assert (decision.status, decision.model, decision.trial) == ("provisional", None, None)
    assert "no complete trial" in decision.reason


def test_the_asked_split_is_used_or_refused() -> None:
    evidence = build([*BASES, Trial("big", "m", 0.8)], n_items=200)
    assert analyze(evidence, split="validation").decision.status == "provisional"
    without = build([*BASES, Trial("big", "m", 0.8)], n_items=200, test=False)
    with pytest.raises(UserError, match="has no test scores"):
        analyze(without, split="test")


def test_repeated_openings_of_the_test_items_are_said() -> None:
    assert "opened 3 times" in decide([Trial("big", "m", 0.8)], test_opened=3).decision.reason


def test_bits_per_byte_decide_with_the_right_sign() -> None:
    """The task suite in bits: the lower score wins."""
    evidence = build([*BASES, Trial("big", "m", 0.2), Trial("small", "s", 0.6)], n_items=2000)
    suites = tuple(
        s.model_copy(update={"scorer": "bits_per_byte"}) if s.measures == "gain" else s
        for s in evidence.sweep.suites
    )
    items = []
    for key, s in evidence.items:
        if s.suite == "tickets":
            object.__setattr__(s, "metric", "bits_per_byte")
            object.__setattr__(s, "values", 2.0 - s.values)
        items.append((key, s))
    sweep = evidence.sweep.model_copy(update={"suites": suites})
    analysis = analyze(Evidence(sweep, tuple(items)))
    assert analysis.decision.trial == "small" or analysis.decision.model == "s"
    assert "bits/byte" in analysis.decision.reason
    row = next(r for r in analysis.rows if r.who.trial_id == "small")
    assert row.estimates["gain"].value == pytest.approx(0.5, abs=0.05)
    assert row.estimates["task_score"].value == pytest.approx(1.4, abs=0.05)


def test_permuted_trial_labels_remove_the_effect() -> None:
    """Runs dealt to the two trials at random: the difference is then noise."""
    trials = [base("m"), Trial("good", "m", 0.8, seeds=4), Trial("poor", "m", 0.5, seeds=4)]
    evidence = build(trials, n_items=400, seed_sd=0.02)

    def covers_zero(found: Evidence) -> bool:
        table = build_table(found)
        named = {c.trial_id: c for c in table.configurations}
        difference = Measures(table).difference(named["good"], named["poor"], "test", "task_score")
        assert difference is not None
        e = difference.estimate()
        assert e.low is not None and e.high is not None
        return e.low <= 0 <= e.high

    assert not covers_zero(evidence)
    rng = np.random.default_rng(5)
    confirm = [r for r in evidence.sweep.runs if r.kind == "trial" and r.stage == "confirm"]
    rest = [r for r in evidence.sweep.runs if r not in confirm]
    covered = []
    for _ in range(20):
        names = rng.permutation(["good"] * 4 + ["poor"] * 4)
        moved = [
            r.model_copy(update={"trial_id": str(n)}) for r, n in zip(confirm, names, strict=True)
        ]
        sweep = evidence.sweep.model_copy(update={"runs": (*rest, *moved)})
        covered.append(covers_zero(Evidence(sweep, evidence.items)))
    assert np.mean(covered) >= 0.85


@pytest.mark.parametrize("stored", [{}, {"test/tickets": 123.0}], ids=["deleted", "nonsense"])
def test_stored_metrics_are_not_read(stored: dict[str, float]) -> None:
    """Deleting every metric, or writing nonsense there, changes nothing."""
    evidence = build([*BASES, Trial("big", "m", 0.8), Trial("small", "s", 0.7)], n_items=300)
    wrong = tuple(r.model_copy(update={"metrics": stored}) for r in evidence.sweep.runs)
    sweep = evidence.sweep.model_copy(update={"runs": wrong})
    a, b = analyze(evidence), analyze(Evidence(sweep, evidence.items))
    assert a.decision.reason == b.decision.reason
    assert [r.estimates for r in a.rows] == [r.estimates for r in b.rows]
