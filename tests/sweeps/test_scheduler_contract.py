"""What early stopping promises in every mode and at any number of slots, one class for all."""

import shutil
from collections import Counter
from pathlib import Path

import pytest
from optuna.trial import TrialState

from keepgain.core.status import FailureCause, Stage, TrialStatus
from keepgain.sweeps.job import Job
from keepgain.sweeps.search.ledger import Finished, Promoted
from keepgain.sweeps.search.replay import RunState, replay
from tests.sweeps.test_program import Sweep
from tests.sweeps.test_rung_scheduler import AUDITS, SHARES, TRIALS, write

MODELS = ("m0", "m1")


def searched(sweep: Sweep, model: str | None = None) -> list[RunState]:
    runs = sweep.by_stage(Stage.SEARCH)
    return [r for r in runs if model in (None, r.asked.model)]


@pytest.fixture(scope="class")
def spec(tmp_path_factory: pytest.TempPathFactory, mode: str, slots: int) -> Path:
    return write(tmp_path_factory.mktemp("world"), mode=mode)


@pytest.fixture(scope="class")
def sweep(spec: Path, tmp_path_factory: pytest.TempPathFactory, slots: int) -> Sweep:
    return Sweep(spec, tmp_path_factory.mktemp("whole")).run(slots=slots)


@pytest.mark.parametrize("mode", ["generations", "async"], scope="class")
@pytest.mark.parametrize("slots", [1, 4], scope="class")
class TestSchedulerContract:
    """The tests share a sweep that ran through."""

    def test_every_base_model_gets_the_trials_asked_for_and_none_twice(self, sweep: Sweep) -> None:
        for model in MODELS:
            configs = [r.asked.trial_id for r in searched(sweep, model)]
            assert len(configs) == len(set(configs)) == TRIALS
        assert set(sweep.worker.worked.values()) == {1}, "no rung is trained twice"

    def test_all_have_ended_and_some_were_stopped_at_each_rung(self, sweep: Sweep) -> None:
        for model in MODELS:
            last = Counter(len(r.reports) - 1 for r in searched(sweep, model))
            assert set(last) == set(range(len(SHARES)))
            for run in searched(sweep, model):
                whole = len(run.reports) == len(SHARES)
                assert run.status is (TrialStatus.COMPLETED if whole else TrialStatus.PRUNED)

    def test_no_rung_is_left_out(self, sweep: Sweep) -> None:
        for run in searched(sweep):
            assert [r.rung for r in run.reports] == list(range(len(run.reports)))

    def test_audits_run_to_the_end(self, sweep: Sweep) -> None:
        for model in MODELS:
            quasi = [r for r in searched(sweep, model) if r.asked.origin == "quasi_random"]
            first = sorted(quasi, key=lambda r: r.asked.number or 0)[:AUDITS]
            assert {r.status for r in first} == {TrialStatus.COMPLETED}

    def test_stopped_trials_are_told_pruned_and_are_never_confirmed(self, sweep: Sweep) -> None:
        for model, study in sweep.search.studies.items():
            told = Counter(t.state for t in study.get_trials())
            statuses = Counter(r.status for r in searched(sweep, model))
            assert told[TrialState.PRUNED] == statuses[TrialStatus.PRUNED] > 0
            assert told[TrialState.COMPLETE] == statuses[TrialStatus.COMPLETED]
        stopped = {r.asked.trial_id for r in searched(sweep) if r.status is TrialStatus.PRUNED}
        assert not stopped & {r.asked.trial_id for r in sweep.by_stage(Stage.CONFIRM)}

    def test_nobody_is_promoted_before_the_rung_below_is_reported_or_after_its_end(
        self, sweep: Sweep
    ) -> None:
        events = sweep.ledger.events()
        for count, event in enumerate(events):
            if isinstance(event, Promoted):
                run = replay(events[:count]).runs[event.run_key]
                assert run.at_rung(event.rung - 1) is not None and not run.status.is_final

    def test_killed_after_any_line_it_ends_with_the_counts_asked_for(
        self, spec: Path, sweep: Sweep, tmp_path: Path, slots: int
    ) -> None:
        lines = (sweep.folder / "ledger.jsonl").read_text().splitlines(keepends=True)
        events = sweep.ledger.events()
        for count in range(2, len(lines), 29):
            folder = tmp_path / str(count)
            known = replay(events[:count]).runs
            for key, run in known.items():
                if run.reports:
                    shutil.copytree(sweep.folder / "runs" / key, folder / "runs" / key)
                    for report in run.reports:
                        if report.checkpoint is not None:
                            (folder / report.checkpoint).mkdir(exist_ok=True)
            folder.mkdir(exist_ok=True)
            (folder / "ledger.jsonl").write_text("".join(lines[:count]))
            again = Sweep(spec, folder).run(slots=slots)
            assert again.program.aborted is None and again.program.finished
            for model in MODELS:
                assert len({r.asked.trial_id for r in searched(again, model)}) == TRIALS
            trained = {(k, report.rung) for k, r in known.items() for report in r.reports}
            assert not trained & set(again.worker.worked), f"trained again after line {count}"

    def test_a_failed_trial_is_no_stopped_one_and_its_place_is_not_lost(
        self, spec: Path, sweep: Sweep, tmp_path: Path, slots: int
    ) -> None:
        audit = next(r.run_key for r in searched(sweep, "m0") if r.asked.number == 0)

        def fail(job: Job, attempt: int) -> FailureCause | None:
            at = (job.run_key, getattr(job.request, "rung", None))
            return FailureCause.NAN if at == (audit, 1) else None

        again = Sweep(spec, tmp_path, fail=fail).run(slots=slots)
        ends = [
            e.status
            for e in again.ledger.events()
            if isinstance(e, Finished) and e.run_key == audit
        ]
        assert ends == [TrialStatus.FAILED]
        assert again.program.aborted is None
        assert len(searched(again, "m0")) == TRIALS
