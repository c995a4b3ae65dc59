"""What the record says of a sweep beyond its runs: audits, their rungs, space, stopping."""

import pytest

from keepgain.core.record import Evidence, Stopping
from keepgain.core.status import Stage, TrialStatus
from tests.sweeps.test_program import Sweep, edit
from tests.sweeps.tiny_models import make_world

SETTINGS = """\
search:
  trials_per_model: 6
  generation_size: 6
  sampler: quasi_random
  stopping: {keep: 0.34, grace: 0.1, audit_trials: 2}
"""


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """Two base models of six quasi-random trials, two of them audits; three rungs."""
    path = make_world(tmp_path_factory.mktemp("world"))
    edit(path, "search: {trials_per_model: 12}\n", SETTINGS)
    edit(path, "confirm: {finalists: 4, seeds: 3}", "confirm: {finalists: 1, seeds: 2}")
    edit(path, "prices:", "training: {budget_tokens: 1000, rungs: [0.1, 0.4, 1]}\nprices:")
    edit(path, "max_forgetting: 0.03", "max_forgetting: 0.5")
    return Sweep(path, tmp_path_factory.mktemp("sweep")).run().evidence()


def test_the_first_quasi_random_draws_are_the_audits(evidence: Evidence) -> None:
    for model in (m.name for m in evidence.sweep.models):
        searched = [r for r in evidence.sweep.runs if r.model == model and r.stage is Stage.SEARCH]
        audits = [r for r in searched if r.audit]
        assert [r.number for r in audits] == [0, 1]
        assert {r.status for r in audits} == {TrialStatus.COMPLETED}
        assert any(r.status is TrialStatus.PRUNED for r in searched)
    assert not any(r.audit for r in evidence.sweep.runs if r.stage is not Stage.SEARCH)


def test_audits_and_confirmed_trials_have_the_scores_of_every_rung_others_of_the_last(
    evidence: Evidence,
) -> None:
    tokens: dict[str, set[int]] = {}
    for key, scores in evidence.items:
        if scores.split == "validation":
            tokens.setdefault(key, set()).add(scores.tokens)
    for run in evidence.sweep.runs:
        if run.kind == "trial":
            done = run.status is TrialStatus.COMPLETED
            every = run.audit or run.stage is Stage.CONFIRM
            expected = {100, 400, 1000} if every else {1000} if done else set()
            assert tokens.get(run.run_key, set()) == expected


def test_losses_are_kept_of_those_runs_alone(evidence: Evidence) -> None:
    runs = {r.run_key: r for r in evidence.sweep.runs}
    lossy = {(key, s.tokens) for key, s in evidence.items if s.metric == "answer_loss"}
    wanted = [k for k, r in runs.items() if r.audit or r.stage is Stage.CONFIRM]
    assert lossy == {(key, tokens) for key in wanted for tokens in (100, 400, 1000)}


def test_the_record_says_how_trials_were_stopped_and_what_was_searched(evidence: Evidence) -> None:
    assert evidence.sweep.stopping == Stopping(keep=0.34, grace=0.1)
    drawn = next(r for r in evidence.sweep.runs if r.stage is Stage.SEARCH)
    assert evidence.sweep.roles == {"tickets": "task", "general": "replay"}
    names = {d.name for d in evidence.sweep.space}
    assert "learning_rate" in names and names <= set(drawn.params) | {"lora.rank"}
    assert evidence.sweep.planned_looks == () and evidence.sweep.looks == ()
