"""Limits on cost: what they take out of the choice, what is then recommended, where it flips."""

import json
from collections.abc import Mapping

import pytest

from keepgain.analysis.analyze import analyze
from keepgain.analysis.contract import to_json
from keepgain.analysis.judge import Flip, scan
from keepgain.analysis.render import text
from keepgain.core.errors import UserError
from keepgain.core.record import Evidence, Question
from tests.analysis.evidence import Trial, base, build

PRICES = {"small": 1.0, "big": 8.0, "base-s": 0.5, "base-m": 0.5}


def evidence(prices: Mapping[str, float] = PRICES, **question: object) -> Evidence:
    """The small size is 20 points behind: only the big one is adequate, eight times as dear."""
    trials = [base("s"), base("m"), Trial("big", "m", 0.85), Trial("small", "s", 0.65)]
    built = build(trials, question=Question(delta=0.05, max_forgetting=0.2, **question))  # type: ignore[arg-type]
    return priced(built, prices)


def priced(built: Evidence, prices: Mapping[str, float]) -> Evidence:
    """The same with what each configuration cost."""
    runs = [
        r.model_copy(update={"cost": {**r.cost, "usd": prices[r.trial_id]}})
        if r.trial_id in prices
        else r
        for r in built.sweep.runs
    ]
    sweep = built.sweep.model_copy(update={"runs": tuple(runs)})
    return Evidence(sweep=sweep, items=built.items)


def of_cost(flips: tuple[Flip, ...]) -> list[Flip]:
    return [f for f in flips if f.what == "max_cost.usd"]


def test_without_a_limit_the_answer_tells_below_which_price_it_flips() -> None:
    decision = analyze(evidence(cost="usd")).decision
    assert (decision.status, decision.model) == ("recommended", "m")
    assert of_cost(decision.flips) == [
        Flip("max_cost.usd", None, 8.0, "s"),
        Flip("max_cost.usd", None, 1.0, "infeasible"),
    ]
    said = " ".join(text(analyze(evidence(cost="usd"))).split())
    assert "With max_cost.usd below $8.00 (now none) the answer would be: s." in said


@pytest.mark.parametrize(
    ("budget", "status", "model"),
    [(8.0, "recommended", "m"), (7.99, "recommended", "s"), (0.99, "infeasible", None)],
)
def test_each_flip_is_where_it_says(budget: float, status: str, model: str | None) -> None:
    decision = analyze(evidence(), budget_usd=budget).decision
    assert (decision.status, decision.model) == (status, model)


def test_what_is_over_budget_is_told_and_no_longer_the_level() -> None:
    analysis = analyze(evidence(), budget_usd=2.0)
    assert "m (1M parameters) was not offered: usd 8 is above 2 (max_cost)" in (
        analysis.decision.reason
    )
    assert "Only this size was compared." in analysis.decision.reason
    assert of_cost(analysis.decision.flips)[0] == Flip("max_cost.usd", 2.0, 8.0, "m")
    data = json.loads(to_json(analysis))
    over = {s["model"]: s["over_budget"] for s in data["sizes"]}
    assert over == {"m": "usd 8 is above 2 (max_cost)", "s": None}
    assert "over budget" in text(analysis)
    big = next(t for t in data["trials"] if t["id"] == "big")
    assert not big["on_front"] and big["front_excluded"] == "usd 8 is above 2 (max_cost)"


def test_nothing_within_the_budget_says_what_every_size_costs() -> None:
    decision = analyze(evidence(), budget_usd=0.5).decision
    assert decision.status == "infeasible" and decision.trial is None
    assert "m: usd 8 is above 0.5 (max_cost)." in decision.reason
    assert "s: usd 1 is above 0.5 (max_cost)." in decision.reason


def test_an_unknown_cost_is_not_within_a_limit() -> None:
    some = {k: v for k, v in PRICES.items() if k != "big"}
    analysis = analyze(evidence(some), budget_usd=100.0)
    assert analysis.decision.model == "s"
    assert "usd is not known, and may be at most 100 (max_cost)" in analysis.decision.reason
    assert of_cost(analyze(evidence(some, cost="usd")).decision.flips) == []


def test_a_budget_limits_serving_where_the_question_is_about_that() -> None:
    by_serving = evidence(cost="usd_per_million_tokens")
    with pytest.raises(UserError, match="a budget limits usd_per_million_tokens, which nothing"):
        analyze(by_serving, budget_usd=1.0)
    with pytest.raises(UserError, match="a budget limits usd, which nothing"):
        analyze(evidence({}), budget_usd=1.0)


def test_min_gain_and_objectives_can_be_asked_for_anew() -> None:
    analysis = analyze(evidence(), min_gain=0.6, objectives=("task_score", "usd"))
    assert analysis.question.min_gain == 0.6
    front = analysis.fronts["s / test"]
    assert front.points.names == ("task_score", "usd")
    assert set(front.excluded) == {"base-s", "small"}  # gains 0 and .55
    assert analysis.levels is not None and analysis.levels.points.names == ("task_score", "usd")
    with pytest.raises(UserError, match="'charm' is no objective"):
        analyze(evidence(), objectives=("charm",))
    with pytest.raises(UserError, match="has the cost 'gpu_seconds'"):
        analyze(evidence(), objectives=("gain", "gpu_seconds"))


def test_a_trial_over_budget_ties_with_nothing() -> None:
    trials = [base("s"), Trial("cheap", "s", 0.6), Trial("dear", "s", 0.6)]
    built = build(trials, n_items=400, question=Question(delta=0.05, max_forgetting=0.2))
    alike = priced(built, {"cheap": 1.0, "dear": 8.0, "base-s": 0.5})
    assert analyze(alike).decision.tied_with
    decision = analyze(alike, budget_usd=2.0).decision
    assert (decision.status, decision.trial, decision.tied_with) == ("recommended", "cheap", ())


def test_what_is_over_budget_and_has_no_test_scores_is_not_missed_as_the_level() -> None:
    whole = evidence()
    items = tuple((k, s) for k, s in whole.items if not (k[:3] == "big" and s.split == "test"))
    lost = Evidence(sweep=whole.sweep, items=items)
    assert analyze(lost).decision.status == "not_resolved"
    decision = analyze(lost, budget_usd=2.0).decision
    assert (decision.status, decision.model) == ("recommended", "s")
    assert "m (1M parameters) was not offered: usd 8 is above 2 (max_cost)" in decision.reason


def test_a_reference_arm_beyond_a_limit_is_no_alternative() -> None:
    """The untouched big base beats the tuned small model, but it may not be used."""
    trials = [base("s"), base("m", 0.75), Trial("big", "m", 0.9), Trial("small", "s", 0.65)]
    free = build(trials, n_items=400, question=Question(delta=0.05, max_forgetting=0.2))
    limited = free.sweep.question.model_copy(update={"max_cost": {"parameters": 500_000}})
    sweep = free.sweep.model_copy(update={"question": limited})
    decision = analyze(Evidence(sweep=sweep, items=free.items)).decision
    assert (decision.status, decision.model) == ("recommended", "s")
    assert "the untouched base s, by" in decision.reason


def test_an_arm_without_the_cost_that_is_limited_stays_one() -> None:
    some = {k: v for k, v in PRICES.items() if not k.startswith("base")}
    assert "the best alternative to fine-tuning" in analyze(evidence(some)).decision.reason
    limited = analyze(evidence(some), budget_usd=2.0)
    assert "the best alternative to fine-tuning" in limited.decision.reason


def test_a_limit_that_is_just_met_still_tells_what_lies_below() -> None:
    assert scan("x", 1.0, [1.0], lambda x: "in" if x >= 1.0 else "out") == [
        Flip("x", 1.0, 1.0, "out")
    ]
    assert scan("x", 1.0, [1.0], lambda x: "in" if x > 1.0 else "out") == [
        Flip("x", 1.0, 1.0, "in")
    ]


def test_a_trial_over_budget_takes_no_better_rank_and_no_layer_from_others() -> None:
    trials = [
        base("s"),
        Trial("careful", "s", 0.5, 0.8),
        Trial("best", "s", 0.7, 0.70),
        Trial("dear", "s", 0.8, 0.75),
    ]
    found = priced(build(trials, n_items=1000), {"careful": 1.0, "best": 1.0, "dear": 8.0})
    rows = analyze(found, budget_usd=2.0, max_forgetting=0.3).rows
    ranks = {r.who.trial_id: r.place.rank for r in rows if r.place and r.who.kind == "trial"}
    assert ranks == {"best": 1, "careful": 2, "dear": 3}
