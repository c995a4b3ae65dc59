"""What lacks test scores is named, and never silently replaced."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from keepgain.analysis import render
from keepgain.analysis.analyze import analyze
from keepgain.analysis.result import Analysis
from keepgain.core.record import Evidence, Question
from keepgain.core.status import FailureCause, Stage, TrialStatus
from keepgain.sweeps.evidence import _record
from keepgain.sweeps.search.ledger import Asked
from keepgain.sweeps.search.replay import RunState
from tests.analysis.evidence import Trial, base, build

SIZES = {"s": 1_000, "m": 2_000, "l": 3_000}
TRIALS = [
    *(base(model) for model in SIZES),
    Trial("prompt", "s", 0.2, arm="few_shot", general=None),
    *(Trial(f"on-{model}", model, 0.8) for model in SIZES),
]
FULL = "out_of_memory: 80 GiB asked for"


def without_test(keys: Sequence[str], failure: str | None = FULL) -> Evidence:
    """Runs whose test job failed, or that were never scored there."""
    whole = build(
        TRIALS, n_items=400, sizes=SIZES, question=Question(delta=0.1, max_forgetting=0.2)
    )
    runs = tuple(
        r.model_copy(update={"test_failure": failure}) if r.run_key in keys else r
        for r in whole.sweep.runs
    )
    items = tuple((k, s) for k, s in whole.items if k not in keys or s.split != "test")
    return Evidence(whole.sweep.model_copy(update={"runs": runs}), items)


def confirmed(model: str) -> list[str]:
    return [f"on-{model}-s{seed}" for seed in (100, 101, 102)]


def excluded(analysis: Analysis) -> set[tuple[str, str]]:
    return {(e.trial, e.reason) for e in analysis.excluded}


@pytest.mark.parametrize(
    ("status", "cause", "reason", "said"),
    [
        (TrialStatus.FAILED, FailureCause.OUT_OF_MEMORY, "80 GiB asked for", FULL),
        (TrialStatus.FAILED, FailureCause.WORKER_LOST, None, "worker_lost"),
        (TrialStatus.INTERRUPTED, None, "Ctrl-C", "interrupted: Ctrl-C"),
        (TrialStatus.COMPLETED, None, None, None),
        (TrialStatus.ASKED, None, None, None),
    ],
)
def test_the_record_says_why_a_test_job_failed(
    status: TrialStatus, cause: FailureCause | None, reason: str | None, said: str | None
) -> None:
    def state(key: str, stage: Stage) -> RunState:
        asked = Asked(
            run_key=key, trial_id="t", seed=0, stage=stage, kind="trial", model="m", config={}
        )
        return RunState(asked, status=TrialStatus.COMPLETED)

    test = RunState(state("x", Stage.TEST).asked, status=status, reason=reason, cause=cause)
    assert _record(state("t-s0", Stage.CONFIRM), test, {}).test_failure == said
    assert _record(state("t-s0", Stage.CONFIRM), None, {}).test_failure is None


def test_nothing_is_excluded_from_a_whole_sweep() -> None:
    analysis = analyze(without_test([]))
    assert not analysis.excluded and analysis.decision.model == "s"


def test_bases_arms_seeds_and_configurations_are_named() -> None:
    keys = ["base-m-s0", "prompt-s0", "on-l-s101", *confirmed("m")]
    analysis = analyze(without_test(keys))
    assert excluded(analysis) == {
        ("base-m", f"test: {FULL}"),
        ("prompt", f"test: {FULL}"),
        ("on-l", f"seed 101: test: {FULL}"),
        *(("on-m", f"seed {seed}: test: {FULL}") for seed in (100, 101, 102)),
    }
    row = next(r for r in analysis.rows if r.who.trial_id == "on-l")
    assert row.estimates["task_score"].n_seeds == 2


def test_scores_that_others_have_are_missed_without_a_reason_too() -> None:
    analysis = analyze(without_test(["base-s-s0"], failure=None))
    assert excluded(analysis) == {("base-s", "test: no scores, while others have them")}


def test_without_scores_of_the_largest_size_no_other_becomes_the_level() -> None:
    decision = (analysis := analyze(without_test(confirmed("l")))).decision
    assert (decision.status, decision.model, decision.trial) == ("not_resolved", None, None)
    assert decision.probability is None and not decision.probabilities and not decision.flips
    assert f"l (3k parameters) is the largest confirmed size and has no test scores ({FULL})" in (
        decision.reason
    )
    assert "no test scores" in render.text(analysis, width=160).split("Sizes, each")[1]


def test_a_smaller_size_without_scores_is_told() -> None:
    decision = analyze(without_test(confirmed("s"))).decision
    assert (decision.status, decision.model) == ("recommended", "m")
    assert f"s (1k parameters) was not judged: it has no test scores ({FULL})" in decision.reason
    assert "Nothing smaller was confirmed" not in decision.reason


def test_a_test_stage_that_failed_as_a_whole_leaves_a_provisional_answer() -> None:
    everything = [r.run_key for r in build(TRIALS, n_items=5, sizes=SIZES).sweep.runs]
    analysis = analyze(
        without_test([k for k in everything if not k.endswith("s0") or "on" not in k])
    )
    assert (analysis.decision.status, analysis.decision.split) == ("provisional", "validation")
    assert ("base-l", f"test: {FULL}") in excluded(analysis)


def test_a_largest_size_whose_every_confirmation_failed_is_not_passed_over() -> None:
    whole = build(
        TRIALS, n_items=400, sizes=SIZES, question=Question(delta=0.1, max_forgetting=0.2)
    )
    lost = set(confirmed("l"))
    failed = {"status": TrialStatus.FAILED, "reason": "out of memory"}
    runs = [r.model_copy(update=failed) if r.run_key in lost else r for r in whole.sweep.runs]
    sweep = whole.sweep.model_copy(update={"runs": tuple(runs)})
    items = tuple((k, s) for k, s in whole.items if k not in lost)
    decision = analyze(Evidence(sweep=sweep, items=items)).decision
    assert (decision.status, decision.model) == ("not_resolved", None)
    assert "l (3k parameters) is the largest confirmed size" in decision.reason
    assert "(failed: out of memory)" in decision.reason


def test_a_base_that_was_not_scored_leaves_forgetting_open_and_not_broken() -> None:
    trials = [Trial("on-s", "s", 0.8)]
    question = Question(delta=0.1, max_forgetting=0.2)
    decision = analyze(build(trials, n_items=400, sizes={"s": 1_000}, question=question)).decision
    assert (decision.status, decision.trial) == ("not_resolved", None)
    assert "facts could not be compared with the base" in decision.reason


@pytest.mark.parametrize("n_items", [1, 400])
def test_a_single_item_or_cluster_is_unknown_everywhere(n_items: int) -> None:
    whole = build(
        [base("s"), Trial("a", "s", 0.999), Trial("b", "s", 0.999)],
        n_items=n_items,
        sizes={"s": 1_000},
        question=Question(delta=0.1, max_forgetting=1.0),
    )
    items = tuple((k, replace(s, clusters=("x",) * n_items)) for k, s in whole.items)
    analysis = analyze(Evidence(sweep=whole.sweep, items=items))
    decision = analysis.decision
    assert (decision.status, decision.probability) == ("not_resolved", None)
    assert "there is a single item, or cluster of items" in decision.reason
    assert "a larger size failed first" not in decision.reason
    assert all(b.trials is None for b in decision.inference.best)
    assert all(r.place is None or r.place.membership is None for r in analysis.rows)
