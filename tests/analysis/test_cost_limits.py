"""Limits on cost: what they take out of the choice, what is then recommended, where it flips."""

import json
from collections.abc import Mapping

import pytest

from keepgain.analysis.analyze import analyze
from keepgain.analysis.contract import to_json
from keepgain.analysis.judge import Flip
from keepgain.analysis.render import text
from keepgain.core.errors import UserError
from keepgain.core.record import Evidence, Question
from tests.analysis.evidence import Trial, base, build

PRICES = {"small": 1.0, "big": 8.0, "base-s": 0.5, "base-m": 0.5}


def evidence(prices: Mapping[str, float] = PRICES, **question: object) -> Evidence:
    """The small size is 20 points behind: only the big one is adequate, eight times as dear."""
    trials = [base("s"), base("m"), Trial("big", "m", 0.85), Trial("small", "s", 0.65)]
    built = build(trials, question=Question(delta=0.05, max_forgetting=0.2, **question))  # type: ignore[arg-type]
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
