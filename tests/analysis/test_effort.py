"""Sizes that were searched unequally are flagged wherever they are compared."""

import json

from keepgain.analysis.analyze import analyze
from keepgain.analysis.contract import to_json
from keepgain.analysis.effort import Effort, efforts, unequal_effort
from keepgain.analysis.render import text
from keepgain.core.record import Evidence
from keepgain.core.status import Stage, TrialStatus
from tests.analysis.evidence import TOKENS, Trial, base, build


def evidence(small: int, big: int, broken: int = 0) -> Evidence:
    trials = [base("s"), base("m")]
    trials += [Trial(f"s{i}", "s", 0.7 + 0.01 * i, seeds=2 * (i == 0)) for i in range(small)]
    trials += [Trial(f"m{i}", "m", 0.7 + 0.01 * i, seeds=2 * (i == 0)) for i in range(big)]
    failed = TrialStatus.FAILED
    trials += [Trial(f"x{i}", "s", 0.7, seeds=0, status=failed) for i in range(broken)]
    return build(trials, n_items=100)


def test_equal_trials_are_not_flagged() -> None:
    analysis = analyze(evidence(3, 3))
    assert analysis.efforts == (Effort("s", 3, 3 * TOKENS), Effort("m", 3, 3 * TOKENS))
    assert analysis.unequal_effort is None
    assert "unequal" not in text(analysis)
    data = json.loads(to_json(analysis))
    assert [s["unequal_effort"] for s in data["sizes"]] == [False, False]


def test_unequal_trials_are_flagged_with_the_numbers() -> None:
    analysis = analyze(evidence(4, 2))
    numbers = "trials s 4 (4k tokens), m 2 (2k tokens)"
    said = " ".join(text(analysis).split())
    assert f"unequal effort: {numbers}" in said  # the table of sizes
    assert f"searched with unequal effort ({numbers})" in analysis.decision.reason
    data = json.loads(to_json(analysis))
    assert data["effort"][0] == {"model": "s", "trials": 4, "tokens": 4000}
    assert [s["unequal_effort"] for s in data["sizes"]] == [True, True]


def test_points_of_a_training_are_no_effort_of_their_own() -> None:
    sweep = evidence(2, 2).sweep
    runs = [r for r in sweep.runs if r.kind == "trial" and r.stage is Stage.SEARCH]
    point = {"run_key": "p-s0", "trial_id": "p", "made_from": runs[0].run_key}
    more = sweep.model_copy(update={"runs": (*sweep.runs, runs[0].model_copy(update=point))})
    assert efforts(more) == efforts(sweep)


def test_a_trial_that_ended_by_its_validation_loss_counts_the_budget_it_was_free_to_use() -> None:
    sweep = evidence(2, 2).sweep
    ended = {"tokens": TOKENS // 4, "budget": TOKENS, "stopped_early": TOKENS // 4}
    runs = tuple(
        r.model_copy(update=ended) if r.kind == "trial" and r.model == "m" else r
        for r in sweep.runs
    )
    found = efforts(sweep.model_copy(update={"runs": runs}))
    assert found == efforts(sweep)
    assert unequal_effort(found) is None


def test_confirmation_is_no_search_effort() -> None:
    found = evidence(2, 2).sweep
    assert [e.tokens for e in efforts(found)] == [2 * TOKENS, 2 * TOKENS]
    assert sum(r.stage is Stage.CONFIRM for r in found.runs) == 4


def test_trials_that_failed_count_by_their_tokens_alone() -> None:
    assert efforts(evidence(3, 3, broken=1).sweep)[0] == Effort("s", 3, 4 * TOKENS)


def test_trials_that_were_stopped_early_were_tried() -> None:
    """Who ran to the end is chance where trials are stopped at rungs: s has two of three, m one."""
    pruned = TrialStatus.PRUNED
    trials = [base("s"), base("m"), Trial("s0", "s", 0.7), Trial("s1", "s", 0.6, seeds=0)]
    trials += [Trial("s2", "s", 0.5, seeds=0, status=pruned), Trial("m0", "m", 0.7)]
    trials += [Trial(f"m{i}", "m", 0.5, seeds=0, status=pruned) for i in (1, 2)]
    analysis = analyze(build(trials, n_items=100))
    assert [(e.model, e.trials) for e in analysis.efforts] == [("s", 3), ("m", 3)]
    assert analysis.unequal_effort is None


def test_tokens_may_differ_more_where_trials_are_stopped_early() -> None:
    for tokens, equal in ((76, True), (74, False)):
        found = [Effort("s", 24, tokens), Effort("m", 24, 100)]
        assert unequal_effort(found) is not None
        assert (unequal_effort(found, stopped_early=True) is None) == equal


def test_tokens_may_differ_by_a_tenth_and_not_between_tokenizers() -> None:
    near, far = [Effort("s", 3, 91), Effort("m", 3, 100)], [Effort("s", 3, 89), Effort("m", 3, 100)]
    assert unequal_effort(near) is None
    assert unequal_effort(far) == "trials s 3 (89 tokens), m 3 (100 tokens)"
    assert unequal_effort(far, budget_unit="examples") is None
    assert unequal_effort([Effort("s", 3, 89)]) is None
