"""Several sweeps read as one: what merges, what is said, and what is refused."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from keepgain.analysis.analyze import analyze
from keepgain.analysis.together import read_as_one
from keepgain.core.errors import UserError
from keepgain.core.items import ItemScores
from keepgain.core.later import LaterEvidence
from keepgain.core.record import Evidence, Question
from tests.analysis.evidence import Trial, base, build

BASES = (base("s"), base("m"))
QUESTION = Question(delta=0.08, max_forgetting=0.15)


def sweep(name: str, *trials: Trial, n_items: int = 500) -> Evidence:
    """A sweep over both bases, whose scores are the same in all of them (one seed, bases first)."""
    evidence = build([*BASES, *trials], n_items=n_items, question=QUESTION)
    return replace(evidence, sweep=evidence.sweep.model_copy(update={"id": name}))


A = sweep("first-aaaaaa", Trial("big", "m", 0.85), Trial("old", "s", 0.6))
B = sweep("second-bbbbbb", Trial("small", "s", 0.84))


def changed(evidence: Evidence, **updates: object) -> Evidence:
    return replace(evidence, sweep=evidence.sweep.model_copy(update=updates))


def rescored(evidence: Evidence, change: Callable[[str, ItemScores], ItemScores]) -> Evidence:
    return replace(evidence, items=tuple((k, change(k, s)) for k, s in evidence.items))


def test_trials_of_both_are_compared_and_keep_their_sweep() -> None:
    merged = read_as_one([A, B]).evidence
    assert merged.sweep.id == "first-aaaaaa + second-bbbbbb"
    analysis = analyze(merged)
    labels = {r.who.label for r in analysis.rows if r.who.kind == "trial"}
    assert labels == {"m big@aaaaaa", "s old@aaaaaa", "s small@bbbbbb"}
    # Alone, the first sweep must take the large model; together, the second one's small one does.
    assert analyze(A).decision.model == "m" and analysis.decision.trial == "small@bbbbbb"


def test_figures_are_those_of_each_sweep_alone() -> None:
    together = {r.who.trial_id: r for r in analyze(read_as_one([A, B]).evidence).rows}
    for part, tag in ((A, "aaaaaa"), (B, "bbbbbb")):
        for row in analyze(part).rows:
            if row.who.kind == "trial":
                same = together[f"{row.who.trial_id}@{tag}"].estimates["gain"]
                assert same.value == row.estimates["gain"].value


def test_a_base_of_both_counts_once_and_unequal_effort_is_said() -> None:
    merged = read_as_one([A, B])
    bases = [r for r in merged.evidence.sweep.runs if r.kind == "base"]
    assert sorted(r.model for r in bases) == ["m", "s"]
    assert {merged.came_from[r.run_key] for r in bases} == {0}
    assert analyze(merged.evidence).unequal_effort is not None


def test_a_run_taken_over_from_the_other_sweep_counts_once() -> None:
    again = changed(A, id="again-cccccc")
    merged = read_as_one([A, again]).evidence
    assert len(merged.sweep.runs) == len(A.sweep.runs)
    assert len(merged.items) == len(A.items)

    def shifted(key: str, scores: ItemScores) -> ItemScores:
        return replace(scores, values=1 - scores.values) if key.startswith("big") else scores

    other = read_as_one([A, rescored(again, shifted)]).evidence
    assert {r.trial_id for r in other.sweep.runs if r.kind == "trial" and r.model == "m"} == {
        "big@aaaaaa",
        "big@cccccc",
    }


def test_models_are_known_by_their_digests() -> None:
    renamed = B.sweep.models[0].model_copy(update={"name": "small-one"})
    runs = tuple(
        r.model_copy(update={"model": "small-one"}) if r.model == "s" else r for r in B.sweep.runs
    )
    other = changed(B, models=(renamed, *B.sweep.models[1:]), runs=runs)
    assert {m.name for m in read_as_one([A, other]).evidence.sweep.models} == {"s", "m"}
    swapped = tuple(m.model_copy(update={"digest": f"x{m.digest}"}) for m in B.sweep.models)
    names = {m.name for m in read_as_one([A, changed(B, models=swapped)]).evidence.sweep.models}
    assert names == {"s", "m", "s@bbbbbb", "m@bbbbbb"}


def test_openings_are_those_of_the_ledgers() -> None:
    more = changed(B, test_opened=3)
    assert read_as_one([A, more]).evidence.sweep.test_opened == 3  # one store, one ledger
    elsewhere = changed(more, store="/other")
    assert read_as_one([A, elsewhere]).evidence.sweep.test_opened == 4


def _suite(**updates: object) -> Evidence:
    first, *rest = B.sweep.suites
    return changed(B, suites=(first.model_copy(update=updates), *rest))


def _question(**updates: object) -> Evidence:
    return changed(B, question=B.sweep.question.model_copy(update=updates))


def _other_ids(key: str, scores: ItemScores) -> ItemScores:
    if (scores.suite, scores.split) != ("facts", "validation"):
        return scores
    ids = scores.item_ids.copy()
    ids[:7] = [f"new-{i}" for i in range(7)]
    return replace(scores, item_ids=ids)


def _other_content(key: str, scores: ItemScores) -> ItemScores:
    if key != "base-s-s0" or scores.suite != "facts":
        return scores
    values = scores.values.copy()
    values[:100] = 1 - values[:100]
    return replace(scores, values=values)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (_suite(metric_version=2), "metric version of suite 'tickets' is 1 in first-aaaaaa and 2"),
        (_suite(scorer="contains"), "scorer of suite 'tickets' is exact_match in .* and contains"),
        (_suite(name="mails"), "suite 'tickets' is only in first-aaaaaa"),
        (rescored(B, _other_ids), "14 validation items of suite 'facts' are only in one of them"),
        (rescored(B, _other_content), "base s scores differently on 20 % of the .* items of facts"),
        (_question(delta=0.1), "delta is 0.08 in first-aaaaaa and 0.1 in .*--delta"),
        (_question(cost="train_seconds"), "cost is parameters in .* and train_seconds"),
        (changed(B, budget_unit="examples"), "budgets are in tokens in .* and in examples"),
        (replace(B, items=()), "second-bbbbbb has no item scores"),
    ],
)
def test_a_difference_is_refused_by_its_name(other: Evidence, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_as_one([A, other])


def test_a_question_that_is_overridden_may_differ() -> None:
    merged = read_as_one([A, _question(delta=0.1)], given={"delta"}).evidence
    assert merged.sweep.question == QUESTION


def test_a_base_that_differs_on_few_items_is_said() -> None:
    def noisy(key: str, scores: ItemScores) -> ItemScores:
        if key != "base-m-s0" or (scores.suite, scores.split) != ("facts", "test"):
            return scores
        return replace(scores, values=np.r_[1 - scores.values[:5], scores.values[5:]])

    warnings = read_as_one([A, rescored(B, noisy)]).evidence.sweep.warnings
    assert any("base m" in w and "1.0 % of the test items of facts" in w for w in warnings)


def test_different_prices_leave_money_out() -> None:
    merged = read_as_one([changed(A, prices={"gpu_hour_usd": 2.0}), B]).evidence.sweep
    assert merged.prices == {} and any("prices" in w for w in merged.warnings)


def test_items_of_the_same_names_with_other_contents_are_refused() -> None:
    def kept(part: Evidence, digest: str) -> Evidence:
        first, *rest = part.sweep.suites
        digests = {"validation": "same", "test": digest}
        return changed(part, suites=(first.model_copy(update={"digests": digests}), *rest))

    with pytest.raises(UserError, match="the test items of suite 'tickets' have other contents"):
        read_as_one([kept(A, "one"), kept(B, "two")])
    assert read_as_one([kept(A, "one"), kept(B, "one")]).evidence.sweep.runs


def test_what_came_after_a_sweep_comes_along_with_the_ids_of_here() -> None:
    run = next(r for r in B.sweep.runs if r.kind == "trial")
    review = {"a": run.trial_id, "b": "other", "a_run": run.run_key}
    outcome = {"metric": "r", "arms": [{"arm": "new", "trial": run.trial_id, "n": 4}]}
    later = (
        LaterEvidence(kind="outcomes", time="2026-01-02T00:00:00", data=outcome),
        LaterEvidence(kind="review", time="2026-01-01T00:00:00", data=review),
    )
    read = read_as_one([A, replace(B, later=later)]).evidence
    assert [e.kind for e in read.later] == ["review", "outcomes"], "by their time"
    ours = {"a": "small@bbbbbb", "b": "other", "a_run": "small-s0@bbbbbb"}
    assert read.later[0].data == ours
    assert read.later[1].data["arms"] == [{"arm": "new", "trial": "small@bbbbbb", "n": 4}]
