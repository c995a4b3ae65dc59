"""What a form to serve in costs: paired with the same run's own scores, and never ranked."""

import json
from dataclasses import replace

import numpy as np
import pytest

from keepgain.analysis import render
from keepgain.analysis.analyze import analyze
from keepgain.analysis.contract import to_json
from keepgain.analysis.result import Analysis
from keepgain.analysis.served import AsServed
from keepgain.core.items import served_as
from keepgain.core.record import Evidence, Question, Served
from tests.analysis.evidence import exact, ones, scores

N = 100
TRIAL, BASE = "trial-s0", "base-s-s0"
COST = {"weight_bytes": 512.0, "seconds_per_answer_p50": 0.25}


def of(
    gain: np.ndarray | None,
    facts: np.ndarray | None = None,
    *,
    question: Question | None = None,
    **served: object,
) -> Evidence:
    """A trial with 80 of 100 right at the task, 60 of facts, and served scores of its first seed;
    its base has 50 of both right."""
    whole = exact(
        {
            "base-s": ("s", "base", {n: ones(50, N, seeds=1) for n in ("gain", "facts")}),
            "trial": ("s", "trial", {"gain": ones(80, N), "facts": ones(60, N)}),
        },
        measures={"gain": "gain", "facts": "forgetting"},
        question=question or Question(delta=0.02, max_forgetting=0.05),
    )
    result = Served.model_validate({"form": "nf4", "cost": COST, **served})
    runs = tuple(
        r.model_copy(update={"served": (result,), "cost": {**r.cost, "weight_bytes": 2048.0}})
        if r.run_key == TRIAL
        else r
        for r in whole.sweep.runs
    )
    arrays = {"gain": gain, "facts": facts}
    items = [
        (TRIAL, replace(scores(n, "test", a[:, 0]), suite=served_as("nf4", n)))
        for n, a in arrays.items()
        if a is not None
    ]
    sweep = whole.sweep.model_copy(update={"runs": runs})
    return Evidence(sweep, (*whole.items, *items))


def one(analysis: Analysis) -> AsServed:
    (found,) = analysis.served
    return found


def test_a_change_is_paired_with_the_runs_own_items() -> None:
    """Right before 0..79, served 10..79: 10 of 100 lost; facts 0..59, then 0..56."""
    found = one(analyze(of(ones(70, N, start=10), ones(57, N))))
    assert (found.trial, found.kind, found.form, found.failure) == ("trial", "trial", "nf4", None)
    assert found.task.value == pytest.approx(-0.1)
    # s = sqrt(n / (n - 1) * .1 * .9) of 0/1 differences; t quantile with df 99.
    half = 1.9842169515 * np.sqrt(0.09 / 99)
    assert (found.task.low, found.task.high) == pytest.approx((-0.1 - half, -0.1 + half))
    assert (found.task.n_items, found.task.n_seeds) == (100, 1)
    assert found.drop.value == pytest.approx(0.03) and found.drop_suite == "facts"
    assert (found.weight_bytes, found.scored_weight_bytes) == (512.0, 2048.0)
    assert found.seconds_per_answer == 0.25


def test_nothing_else_of_the_analysis_changes() -> None:
    served = of(ones(77, N), ones(58, N))
    runs = tuple(r.model_copy(update={"served": ()}) for r in served.sweep.runs)
    items = tuple((k, s) for k, s in served.items if not s.suite.startswith("served/"))
    plain = Evidence(served.sweep.model_copy(update={"runs": runs}), items)
    with_served, without = (json.loads(to_json(analyze(e))) for e in (served, plain))
    assert len(with_served.pop("served")) == 1 and without.pop("served") == []
    assert with_served == without


def test_losing_more_than_delta_beyond_the_interval_is_told_beside_the_recommendation() -> None:
    analysis = analyze(of(ones(60, N, start=20), ones(60, N)))
    assert analysis.decision.trial == "trial"
    said = "Served in nf4, it loses 20.0 points [12.0, 28.0] of task score"
    assert said in analysis.decision.reason and analysis.decision.reason.endswith("(delta).")
    assert any(said in c for c in analysis.cautions)
    little = analyze(of(ones(77, N), ones(60, N)))
    assert "Served" not in little.decision.reason, "3 of 100 lost is within noise of a delta of 2"
    assert little.decision.trial == "trial"


def test_breaking_the_forgetting_limit_is_judged_against_the_base() -> None:
    """Facts: the base has 50, served 30: 20 points lost, not the 30 against its own 60."""
    reason = analyze(of(ones(80, N), ones(30, N))).decision.reason
    assert (
        "Served in nf4, it forgets 20.0 points [12.0, 28.0] on facts (limit 5.0 points)" in reason
    )
    kept = analyze(of(ones(80, N), ones(48, N))).decision.reason
    assert "Served" not in kept, "12 below its own scores, 2 below the base"
    free = of(ones(80, N), ones(30, N), question=Question(delta=0.02))
    assert "Served" not in analyze(free).decision.reason, "without a limit"


def test_it_is_shown_in_tables_and_in_json() -> None:
    analysis = analyze(of(ones(70, N, start=10), ones(60, N)))
    text = render.text(analysis)
    (line,) = [part for part in text.splitlines() if " nf4 " in part and "-0.100" in part]
    assert "512 B of 2 KiB" in line and "0.25" in line and "0.000 (no interval)" in line
    (entry,) = json.loads(to_json(analysis))["served"]
    assert entry["task_score_change"]["value"] == pytest.approx(-0.1)
    assert (entry["worst_drop_suite"], entry["same"], entry["seed"]) == ("facts", False, 0)


def test_what_failed_or_was_not_needed_is_told() -> None:
    failed = analyze(of(None, failure="out_of_memory: 80 GiB asked for"))
    assert one(failed).task.value is None
    assert "no figures as served in nf4 (out_of_memory: 80 GiB asked for)" in flat(failed)
    same = analyze(of(None, same=True, cost={}))
    assert "as scored" in flat(same) and "no figures" not in flat(same)
    lacking = analyze(of(ones(80, N)[:50], None))
    assert "cannot be compared" in str(one(lacking).failure)


def flat(analysis: Analysis) -> str:
    return " ".join(render.text(analysis).split())
