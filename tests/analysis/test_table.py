"""What counts, what is left out and why, and the pairing of items."""

import numpy as np
import pytest

from keepgain.analysis.table import build_table
from keepgain.core.items import ItemScores
from keepgain.core.record import Evidence, RunRecord
from keepgain.core.status import Stage, TrialStatus
from tests.analysis.evidence import TOKENS, Trial, base, build, scores

TRIALS = [base("s"), base("m"), Trial("t1", "s", 0.7), Trial("t2", "m", 0.8, seeds=0)]


def small(trials: list[Trial] | None = None) -> Evidence:
    return build(trials or TRIALS, n_items=20)


def change_items(
    evidence: Evidence, key: str, suite: str, new: ItemScores | None, split: str = "test"
) -> Evidence:
    """Replaces (or drops) one score table."""
    items = []
    for k, s in evidence.items:
        if (k, s.suite, s.split) != (key, suite, split):
            items.append((k, s))
        elif new is not None:
            items.append((k, new))
    return Evidence(evidence.sweep, tuple(items))


def change_run(evidence: Evidence, key: str, **changes: object) -> Evidence:
    runs = tuple(
        r.model_copy(update=changes) if r.run_key == key else r for r in evidence.sweep.runs
    )
    return Evidence(evidence.sweep.model_copy(update={"runs": runs}), evidence.items)


def reasons(evidence: Evidence) -> str:
    return "\n".join(f"{e.trial}: {e.reason}" for e in build_table(evidence).excluded)


def test_shapes_and_confirmation() -> None:
    table = build_table(small())
    found = {c.trial_id: c for c in table.configurations}
    assert found["t1"].scores["test"]["facts"].shape == (20, 3)
    # The search run that got t1 selected is not counted once fresh seeds exist.
    assert found["t1"].seeds("validation") == 3 and found["t1"].confirmed
    assert found["t2"].seeds("validation") == 1 and not found["t2"].has("test")
    assert found["base-s"].seeds("test") == 1
    assert table.excluded == ()


def test_items_are_paired_by_id_whatever_their_order() -> None:
    evidence = small()
    k, original = next((k, s) for k, s in evidence.items if k == "t1-s100" and s.split == "test")
    order = np.random.default_rng(0).permutation(20)
    shuffled = ItemScores(
        suite=original.suite,
        split="test",
        metric=original.metric,
        item_ids=original.item_ids[order],
        values=original.values[order],
        weights=original.weights[order],
        tokens=original.tokens,
    )
    again = change_items(evidence, k, original.suite, shuffled)
    for table in (build_table(evidence), build_table(again)):
        t1 = next(c for c in table.configurations if c.trial_id == "t1")
        assert np.array_equal(t1.scores["test"][original.suite][:, 0], original.values)


@pytest.mark.parametrize(
    ("new", "said"),
    [
        (scores("facts", "test", [1.0] * 18, TOKENS), "lacks 2 of 20 items"),
        (scores("facts", "test", [1.0] * 19 + [np.nan], TOKENS), "1 scores are not finite"),
        (scores("facts", "test", [1e308] + [0.0] * 19, TOKENS), "1 scores are not finite"),
        (scores("facts", "test", [1.0] * 20, TOKENS, metric="bits_per_byte"), "not exact_match"),
        (scores("facts", "test", [1.0] * 20, 300), "last scored at 300 of 1,000 tokens"),
        (None, "no scores on facts"),
    ],
)
@pytest.mark.fault("N3")
def test_unusable_scores_leave_with_a_reason(new: ItemScores | None, said: str) -> None:
    evidence = change_items(small(), "t1-s100", "facts", new)
    assert said in reasons(evidence) and "t1: seed 100: test:" in reasons(evidence)
    t1 = next(c for c in build_table(evidence).configurations if c.trial_id == "t1")
    assert t1.seeds("test") == 2 and t1.seeds("validation") == 3


def test_a_test_score_without_training_tokens_is_the_finished_model_s() -> None:
    evidence = change_items(
        small(), "t1-s100", "facts", scores("facts", "test", [1.0] * 20, tokens=0)
    )
    assert reasons(evidence) == ""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"status": TrialStatus.PRUNED, "reason": "rung 1"}, "pruned: rung 1"),
        ({"status": TrialStatus.FAILED, "reason": "nan at step 3"}, "failed: nan at step 3"),
        ({"status": TrialStatus.INTERRUPTED}, "interrupted"),
        ({"tokens": 300}, "truncated: trained on 300 of 1,000 tokens"),
    ],
)
@pytest.mark.fault("N9", "N1")
def test_runs_that_did_not_finish_are_never_compared(changes: dict[str, object], said: str) -> None:
    evidence = change_run(small(), "t2-s0", **changes)
    assert reasons(evidence) == f"t2: {said}"
    t2 = next(c for c in build_table(evidence).configurations if c.trial_id == "t2")
    assert not t2.scores


@pytest.mark.fault("N9")
def test_only_the_last_rung_counts() -> None:
    evidence = small()
    early = scores("facts", "validation", [0.0] * 20, tokens=100)
    more = Evidence(evidence.sweep, (*evidence.items, ("t2-s0", early)))
    before, after = build_table(evidence), build_table(more)
    for old, new in zip(before.configurations, after.configurations, strict=True):
        for split, suites in old.scores.items():
            for suite, values in suites.items():
                assert np.array_equal(values, new.scores[split][suite])


@pytest.mark.fault("P1")
def test_a_run_shipped_twice_counts_once() -> None:
    evidence = small()
    twice = evidence.sweep.model_copy(update={"runs": evidence.sweep.runs * 2})
    table = build_table(Evidence(twice, evidence.items * 2))
    assert next(c for c in table.configurations if c.trial_id == "t1").seeds("test") == 3


def test_a_reused_run_brings_its_scores_along() -> None:
    evidence = small()
    run = RunRecord(
        run_key="copy-s0",
        trial_id="copy",
        seed=0,
        kind="trial",
        model="m",
        stage=Stage.SEARCH,
        status=TrialStatus.COMPLETED,
        tokens=TOKENS,
        budget=TOKENS,
        reused_from="t2-s0",
    )
    sweep = evidence.sweep.model_copy(update={"runs": (*evidence.sweep.runs, run)})
    table = build_table(Evidence(sweep, evidence.items))
    copy = next(c for c in table.configurations if c.trial_id == "copy")
    assert copy.seeds("validation") == 1


def test_an_item_weighs_its_full_length_whichever_base_comes_first() -> None:
    """Bases whose tokenizers cover different parts of a text; the order must not matter."""
    found = []
    for first, second in (("s", "m"), ("m", "s")):
        evidence = small([base(first), base(second)])
        for model, uncovered in (("s", 0.0), ("m", 3.0)):
            new = scores("facts", "test", [1.0] * 20, weights=[10.0 - uncovered] * 20)
            evidence = change_items(evidence, f"base-{model}-s0", "facts", new)
        found.append(build_table(evidence).suites["test"]["facts"].weights.tolist())
    assert found == [[10.0] * 20] * 2


def test_clusters_become_codes_and_loners_stay_alone() -> None:
    evidence = small([base("s")])
    values = [1.0] * 20
    named = tuple(["a", "a", None, None] + ["b"] * 16)
    new = scores("facts", "test", values, clusters=named)
    codes = (
        build_table(change_items(evidence, "base-s-s0", "facts", new))
        .suites["test"]["facts"]
        .clusters
    )
    assert codes is not None
    assert codes[0] == codes[1] != codes[2] != codes[3] and len(set(codes)) == 4


def test_price_follows_from_speed_and_the_price_of_an_hour() -> None:
    evidence = change_run(
        small(), "t2-s0", cost={"generated_tokens_per_second": 1000.0, "parameters": 5.0}
    )
    sweep = evidence.sweep.model_copy(update={"prices": {"gpu_hour_usd": 3.6}})
    table = build_table(Evidence(sweep, evidence.items))
    t2 = next(c for c in table.configurations if c.trial_id == "t2")
    assert t2.cost["usd_per_million_tokens"] == pytest.approx(1.0)
    t1 = next(c for c in table.configurations if c.trial_id == "t1")
    assert "usd_per_million_tokens" not in t1.cost


def test_an_answer_costs_a_trials_own_lengths_at_the_speed_of_its_base_model() -> None:
    def run(prefill: float, decode: float, length: float) -> dict[str, float]:
        return {
            "prefill_tokens_per_second": prefill,
            "decode_tokens_per_second": decode,
            "prompt_tokens_per_answer": 100.0,
            "answer_tokens_p50": length,
            "gpu_seconds": 10.0,
        }

    trials = [base("s"), Trial("t1", "s", 0.6, seeds=0), Trial("t2", "s", 0.5, seeds=0)]
    evidence = change_run(small(trials), "t1-s0", cost=run(900.0, 40.0, 5.0))
    evidence = change_run(evidence, "t2-s0", cost=run(1100.0, 60.0, 11.0))
    sweep = evidence.sweep.model_copy(update={"prices": {"gpu_hour_usd": 3.6}})
    priced = build_table(Evidence(sweep, evidence.items))
    found = {c.trial_id: c.cost for c in priced.configurations}
    # Medians of 1000 and 50 tokens a second.
    assert found["t1"]["seconds_per_answer_p50"] == pytest.approx(0.1 + 4 / 50)
    assert found["t2"]["seconds_per_answer_p50"] == pytest.approx(0.1 + 10 / 50)
    assert found["t2"]["usd_per_answer_p50"] == pytest.approx(0.001 * 0.3)
    assert found["t2"]["usd"] == pytest.approx(0.01)
    assert "seconds_per_answer_p95" not in found["t2"], "not measured"
    assert found["t2"]["decode_tokens_per_second"] == 60.0, "what was measured stays"
    unpriced = build_table(evidence).configurations
    assert not any("usd_per_answer_p50" in c.cost for c in unpriced)
