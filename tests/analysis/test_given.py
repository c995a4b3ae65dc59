"""Decisions on tables from elsewhere: hand-worked intervals, and published figures.

Figures of `design` notes on papers: those said to be approximate are so, and no test rests on their
last digit.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from scipy import stats

from keepgain.analysis.analyze import analyze
from keepgain.analysis.given_question import default_margin, is_forgetting, task_of
from keepgain.analysis.given_table import given_table
from keepgain.analysis.result import Analysis
from keepgain.core.errors import UserError
from keepgain.core.record import Evidence, GivenObjective, Question, RunRecord, SweepRecord
from keepgain.core.status import Stage, TrialStatus

SCORE = GivenObjective(name="score", direction="maximize", unit="share")
FORGETTING = GivenObjective(name="forgetting", direction="minimize", unit="share")


def row(name: str, *values: float, model: str = "", seed: int = 1, **more: Any) -> dict[str, Any]:
    """A row of a table: its values in the order of the objectives."""
    return {"name": name, "values": values, "model": model, "seed": seed, **more}


def table(
    objectives: Sequence[GivenObjective], rows: Sequence[Mapping[str, Any]], **question: Any
) -> Evidence:
    names = [o.name for o in objectives]
    runs = tuple(
        RunRecord(
            run_key=f"{r['name']}-{r['seed']}",
            trial_id=r["name"],
            seed=r["seed"],
            kind="trial",
            model=r["model"],
            stage=Stage.SEARCH,
            status=TrialStatus.COMPLETED,
            named=r["name"],
            metrics=dict(zip(names, r["values"], strict=False)),
            standard_errors=dict(zip(names, r.get("se", ()), strict=False)),
            n=r.get("n"),
            cost={"parameters": r["size"]} if "size" in r else {},
        )
        for r in rows
    )
    sweep = SweepRecord(
        id="t", name="t", stage=Stage.DECIDED, question=Question(**question), suites=(),
        models=(), objectives=tuple(objectives), runs=runs,
    )  # fmt: skip
    return Evidence(sweep=sweep, items=())


def on_front(analysis: Analysis) -> set[str]:
    return {r.who.label for r in analysis.rows if r.place and r.place.on_front}


def estimate(analysis: Analysis, name: str, objective: str = "score") -> Any:
    return next(r.estimates[objective] for r in analysis.rows if r.who.label == name)


# -- uncertainty --------------------------------------------------------------------------------


def test_a_given_standard_error_makes_a_normal_interval() -> None:
    e = estimate(analyze(table([SCORE], [row("a", 0.8, se=(0.01,))])), "a")
    assert (e.low, e.high) == (
        pytest.approx(0.8 - 1.959964 * 0.01, abs=1e-7),
        pytest.approx(0.8 + 1.959964 * 0.01, abs=1e-7),
    )
    assert e.interval_method == "given_standard_errors"


def test_items_give_a_share_its_binomial_error() -> None:
    e = estimate(analyze(table([SCORE], [row("a", 0.8, n=400)])), "a")
    half = stats.t.ppf(0.975, 399) * math.sqrt(0.8 * 0.2 / 400)  # .02
    assert e.high - e.value == pytest.approx(half)
    assert (e.n_items, e.interval_method) == (400, "binomial")


def test_a_perfect_score_on_few_items_is_not_certain() -> None:
    e = estimate(analyze(table([SCORE], [row("a", 1.0, n=20)])), "a")
    p = 22 / 24
    assert e.value - e.low == pytest.approx(stats.t.ppf(0.975, 19) * math.sqrt(p * (1 - p) / 24))


def test_per_cent_are_shares_of_a_hundred() -> None:
    percent = GivenObjective(name="score", direction="maximize", unit="%")
    e = estimate(analyze(table([percent], [row("a", 80.0, n=400)])), "a")
    assert e.high - e.value == pytest.approx(stats.t.ppf(0.975, 399) * 2.0)


@pytest.mark.parametrize("objective", [
    GivenObjective(name="score", direction="minimize", unit="nats"), FORGETTING,
])  # fmt: skip
def test_items_say_nothing_of_what_is_no_share(objective: GivenObjective) -> None:
    evidence = table([objective], [row("a", 0.02, n=400)])
    assert estimate(analyze(evidence), "a", objective.name).low is None


def test_without_anything_there_is_no_interval_and_the_words_say_so() -> None:
    analysis = analyze(table([SCORE], [row("a", 0.8), row("b", 0.7)]))
    e = estimate(analysis, "a")
    assert (e.low, e.high, e.interval_method) == (None, None, "unknown")
    assert analysis.decision.status == "provisional"
    assert analysis.decision.trial == "a" and analysis.decision.tied_with == ()
    assert "nothing can be told apart" in analysis.decision.reason
    assert all(r.place is None or r.place.membership is None for r in analysis.rows)


REPLICATED = [
    row("a", 0.80, model="m", seed=1), row("a", 0.82, model="m", seed=2),
    row("b", 0.70, model="m", seed=1), row("b", 0.71, model="m", seed=2),
    row("b", 0.72, model="m", seed=3), row("c", 0.75, model="m"),
    row("d", 0.90, model="other"),
]  # fmt: skip


def test_the_spread_of_replicates_is_pooled_over_a_model_and_holds_for_its_single_rows() -> None:
    """V = (.0002 + .0002) / (1 + 2), with 3 degrees of freedom."""
    analysis = analyze(table([SCORE], REPLICATED))
    variance, t = 0.0004 / 3, stats.t.ppf(0.975, 3)
    for name, value, seeds in (("a", 0.81, 2), ("b", 0.71, 3), ("c", 0.75, 1)):
        e = estimate(analysis, name)
        assert e.value == pytest.approx(value) and e.n_seeds == seeds
        assert e.high - e.value == pytest.approx(t * math.sqrt(variance / seeds))
        assert e.interval_method == "pooled_seeds_t"
    assert estimate(analysis, "d").low is None  # of a model without a replicate


def test_standard_errors_and_replicates_add_with_satterthwaites_degrees_of_freedom() -> None:
    rows = [{**r, "se": (0.01,)} for r in REPLICATED]
    e = estimate(analyze(table([SCORE], rows)), "a")
    items, seeds = 1e-4, 0.0004 / 3 / 2
    df = (items + seeds) ** 2 / (seeds**2 / 3)
    assert e.high - e.value == pytest.approx(stats.t.ppf(0.975, df) * math.sqrt(items + seeds))
    assert e.interval_method == "given_standard_errors_and_pooled_seeds_t"


def test_a_difference_takes_rows_for_independent_and_pools_the_seeds_of_one_model() -> None:
    given = given_table(table([SCORE], REPLICATED).sweep)
    a, b = (c for c in given.configurations if c.label in ("a", "b"))
    u = given.difference(a, b, "score")
    assert u.value == pytest.approx(0.10)
    assert u.variance == pytest.approx(0.0004 / 3 * (1 / 2 + 1 / 3)) and u.df == pytest.approx(3)
    given = given_table(
        table([SCORE], [row("a", 0.8, se=(0.03,)), row("b", 0.7, se=(0.04,))]).sweep
    )
    a, b = given.configurations
    assert given.difference(a, b, "score").variance == pytest.approx(0.05**2)


def test_a_difference_is_unknown_where_one_side_is() -> None:
    given = given_table(table([SCORE], [row("a", 0.8, se=(0.03,)), row("b", 0.7)]).sweep)
    a, b = given.configurations
    assert not given.difference(a, b, "score").known


# -- what the objectives stand for --------------------------------------------------------------


def test_the_first_maximised_objective_is_the_task_score() -> None:
    loss = GivenObjective(name="loss", direction="minimize", unit="nats")
    assert task_of([loss, FORGETTING, SCORE]) == SCORE
    assert task_of([FORGETTING, loss]) == loss
    assert is_forgetting(GivenObjective(name="summary.Forgetting", direction="minimize"))
    assert not is_forgetting(GivenObjective(name="forget_score", direction="maximize"))


def test_the_margin_is_two_points_of_a_share_and_none_in_an_unknown_unit() -> None:
    def of(unit: str, *values: float) -> float:
        named = GivenObjective(name="x", direction="maximize", unit=unit)
        return default_margin(named, values)

    assert (of("share", 0.5), of("%", 50.0), of("", 0.5, 0.9)) == (0.02, 2.0, 0.02)
    assert of("", 0.5, 50.0) == of("nats", 0.5) == 0.0


# -- the decision -------------------------------------------------------------------------------

SIZES = [
    row("l", 0.90, 0.05, model="l", size=8e9, se=(0.005, 0.002)),
    row("m", 0.89, 0.01, model="m", size=2e9, se=(0.005, 0.002)),
    row("s", 0.70, 0.00, model="s", size=1e9, se=(0.005, 0.002)),
]


def test_the_smallest_size_within_the_margin_by_its_bound_is_the_answer() -> None:
    analysis = analyze(table([SCORE, FORGETTING], SIZES, delta=0.03))
    d = analysis.decision
    assert (d.status, d.model, d.trial) == ("provisional", "m", "m")
    bound = 0.01 + stats.norm.ppf(0.95) * 0.005 * math.sqrt(2)  # .0216: the price of the margin
    assert [f.to for f in d.flips if f.answer == "l"] == [pytest.approx(bound)]
    z = (0.03 - 0.01) / (0.005 * math.sqrt(2))
    assert d.probability == pytest.approx(stats.norm.cdf(z))
    assert [s.size.model for s in analysis.sizes] == ["l", "m", "s"]


def test_a_bound_beyond_the_margin_keeps_the_larger_size() -> None:
    assert analyze(table([SCORE, FORGETTING], SIZES, delta=0.02)).decision.model == "l"


def test_a_size_that_forgets_too_much_is_passed_over() -> None:
    analysis = analyze(table([SCORE, FORGETTING], SIZES, delta=0.03), max_forgetting=0.02)
    assert analysis.decision.model == "m"
    assert "l (8B parameters) does not qualify itself" in analysis.decision.reason
    assert on_front(analysis) == {"m", "s"}


def test_no_size_within_the_limit_is_told_with_what_breaks_it() -> None:
    rows = [r for r in SIZES if r["name"] != "s"]
    d = analyze(table([SCORE, FORGETTING], rows), max_forgetting=0.001).decision
    assert (d.status, d.model, d.verdict.outcome) == ("provisional", None, "infeasible")
    assert "every size breaks a condition" in d.reason


def test_without_a_cost_of_every_model_no_size_is_asked_for() -> None:
    rows = [{k: v for k, v in r.items() if k != "size" or r["name"] != "m"} for r in SIZES]
    analysis = analyze(table([SCORE, FORGETTING], rows))
    assert analysis.sizes == () and analysis.decision.trial == "l"
    assert "Which size is enough is not asked" in analysis.decision.reason


def test_a_limit_on_forgetting_holds_without_a_question_of_size() -> None:
    rows = [row("a", 0.9, 0.05), row("b", 0.8, 0.01)]
    assert analyze(table([SCORE, FORGETTING], rows)).decision.trial == "a"
    limited = analyze(table([SCORE, FORGETTING], rows), max_forgetting=0.02)
    assert limited.decision.trial == "b" and on_front(limited) == {"b"}
    nothing = analyze(table([SCORE, FORGETTING], rows), max_forgetting=0.001)
    assert nothing.decision.trial is None and "Every row breaks a limit" in nothing.decision.reason


def test_the_front_may_be_of_other_objectives_and_costs() -> None:
    evidence = table([SCORE, FORGETTING], SIZES)
    assert on_front(analyze(evidence, objectives=["score"])) == {"l"}
    assert on_front(analyze(evidence, objectives=["parameters", "score"])) == {"l", "m", "s"}
    with pytest.raises(UserError, match="'gain' is no objective"):
        analyze(evidence, objectives=["gain"])


def test_what_has_no_row_cannot_be_decided() -> None:
    with pytest.raises(UserError, match="no row with all its objectives"):
        analyze(table([SCORE, FORGETTING], [row("a", 0.9)]))


# -- published figures --------------------------------------------------------------------------


def test_lora_land_the_smaller_model_is_enough_by_the_mean_alone() -> None:
    """Means over 31 tasks; no errors are given."""
    rows = [
        row("phi-2", 0.677, model="phi-2", size=2.7e9),
        row("llama-2-7b", 0.696, model="llama-2-7b", size=7e9),
    ]
    d = analyze(table([SCORE], rows, delta=0.02)).decision
    assert (d.status, d.model) == ("provisional", "phi-2")
    assert "1.9 points worse" in d.reason and "nothing can be told apart" in d.reason
    (flip,) = d.flips
    assert flip.to == pytest.approx(0.019) and flip.answer == "llama-2-7b"
    # A second 7B model at .70 holds the level, and .677 is 2.3 points behind it.
    zephyr = row("zephyr-7b", 0.70, model="zephyr-7b", size=7e9)
    assert analyze(table([SCORE], [*rows, zephyr], delta=0.02)).decision.model != "phi-2"


def test_lora_against_full_neither_dominates_in_code_pretraining() -> None:
    """Llama-2-7B, HumanEval (approximate) against what is kept of three general suites."""
    kept = GivenObjective(name="forget_score", direction="maximize", unit="share")
    rows = [row("full", 0.26, 0.54), row("lora", 0.18, 0.64)]
    assert on_front(analyze(table([SCORE, kept], rows))) == {"full", "lora"}


@pytest.mark.parametrize(
    ("old", "new", "replay"),
    [
        ((2.44, 2.23, 2.17), (2.50, 2.51, 2.53), "5 %"),
        ((3.56, 2.33, 2.26), (1.11, 1.16, 1.17), "25 %"),
    ],
)
def test_replay_is_on_the_front_of_old_and_new_loss(
    old: tuple[float, ...], new: tuple[float, ...], replay: str
) -> None:
    """405M; losses on the new domain approximate."""
    losses = [
        GivenObjective(name=f"{which} loss", direction="minimize", unit="nats/token")
        for which in ("old", "new")
    ]
    names = ("none", replay, "union")
    rows = [row(n, o, w) for n, o, w in zip(names, old, new, strict=True)]
    analysis = analyze(table(losses, rows, delta=0.0))
    assert replay in on_front(analysis)
    assert analysis.decision.trial == "union"  # best on old text, which is the first objective
    assert "so nothing can be told apart" in analysis.decision.reason


def test_absolute_and_relative_conclusions_on_size_are_kept_apart() -> None:
    """BLOOMZ loses more points the larger it is; a larger model bears more new data."""
    lost = {
        "1.1B": (1.1e9, 9.54),
        "1.7B": (1.7e9, 10.72),
        "3B": (3e9, 14.63),
        "7.1B": (7.1e9, 18.37),
    }
    drop = GivenObjective(name="forgetting", direction="minimize", unit="points")
    rows = [row(n, v, model=n, size=s) for n, (s, v) in lost.items()]
    absolute = analyze(table([drop], rows, delta=0.0))
    assert absolute.decision.model == "1.1B"
    shares = {".46B": (0.46e9, 29.8), ".94B": (0.94e9, 34.9), "1.6B": (1.6e9, 41.4),
              "3.1B": (3.1e9, 47.8)}  # fmt: skip
    ratio = GivenObjective(name="critical mixture ratio", direction="maximize", unit="%")
    rows = [row(n, v, model=n, size=s) for n, (s, v) in shares.items()]
    relative = analyze(table([ratio], rows, delta=2.0))
    assert relative.decision.model == "3.1B"


RANKS = {
    "Qwen3-8B": (2.33, 0.57), "Qwen3-4B": (3.33, 1.90), "Llama-3.1-8B": (4.11, 2.08),
    "Llama-3.2-3B": (4.11, 1.28), "Qwen3-1.7B": (4.67, 1.79), "Qwen3-0.6B": (5.44, 2.60),
}  # fmt: skip
"""Average rank and half a 95 % interval, of a vendor's study."""


def test_overlapping_ranks_are_not_told_apart() -> None:
    rank = GivenObjective(name="rank", direction="minimize")
    rows = [row(n, v, se=(half / 1.959964,)) for n, (v, half) in RANKS.items()]
    analysis = analyze(table([rank], rows, delta=0.0))
    assert analysis.decision.trial == "Qwen3-8B"
    separated = set(RANKS) - set(analysis.decision.tied_with) - {"Qwen3-8B"}
    assert separated <= {"Qwen3-0.6B"}
    ranked = [(r.who.label, r.place.rank) for r in analysis.rows if r.place]
    assert ranked[0] == ("Qwen3-8B", 1) and ranked[-1] == ("Qwen3-0.6B", 6)
    assert [rank for _, rank in ranked] == [1, 2, 3, 3, 5, 6]  # exact ties share one
    e = estimate(analysis, "Qwen3-4B", "rank")
    assert e.high - e.value == pytest.approx(1.90, abs=1e-5)


def test_a_flip_below_a_skipped_size_is_where_the_answer_changes() -> None:
    """A size that is skipped halves the error below it, and so moves the bound."""

    def answer(delta: float) -> Analysis:
        rows = [
            row("big", 0.90, 0.20, model="big", size=9e9, se=(0.01, 0.005)),
            row("mid", 0.85, 0.01, model="mid", size=2e9, se=(0.01, 0.005)),
        ]
        return analyze(table([SCORE, FORGETTING], rows, delta=delta, max_forgetting=0.05))

    first = answer(0.06)
    assert first.decision.model is None
    flip = first.decision.flips[0]
    assert (flip.what, flip.answer) == ("delta", "mid")
    assert flip.to == pytest.approx(0.05 + stats.norm.ppf(0.975) * math.sqrt(2) * 0.01)
    assert answer(flip.to - 1e-6).decision.model is None
    assert answer(flip.to + 1e-6).decision.model == "mid"
