"""What a sweep makes of bad ends: through the real program, ledger, search and record, with workers
that answer at once (`tests/sweeps/test_program.py`)."""

import json
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.trial import TrialState

from keepgain.core.record import RungReport
from keepgain.core.status import FailureCause, Stage, TrialStatus
from keepgain.sweeps.job import Job
from tests.sweeps.stand_in import answer
from tests.sweeps.test_program import STAGES, Sweep, comparable, edit, fail_search, world

__all__ = ["world"]

Spoil = Callable[[RungReport], RungReport]


def states(sweep: Sweep) -> Counter[TrialState]:
    return Counter(t.state for s in sweep.search.studies.values() for t in s.get_trials())


def spoiling(sweep: Sweep, spoil: Spoil) -> str:
    """The first search trial's last report is spoiled; its run key is the only one returned."""
    spoiled: list[str] = []

    def work(job: Job) -> RungReport:
        report = answer(job.request, sweep.folder)
        sweep.worker.worked[job.run_key, report.rung] += 1
        if job.purpose == "search" and report.final and spoiled in ([], [job.run_key]):
            spoiled[:] = [job.run_key]
            return spoil(report)
        return report

    sweep.worker.work = work  # type: ignore[method-assign]
    sweep.run()
    (key,) = spoiled
    return key


def without(name: str) -> Spoil:
    return lambda report: report.model_copy(
        update={"metrics": {k: v for k, v in report.metrics.items() if k != name}}
    )


def with_value(name: str, value: float) -> Spoil:
    return lambda report: report.model_copy(update={"metrics": {**report.metrics, name: value}})


SPOILED = {
    "one objective is missing": without("validation/gain"),
    "the other one is missing": without("validation/forgetting"),
    "one is NaN": with_value("validation/gain", math.nan),
    "one is infinite": with_value("validation/forgetting", math.inf),
}


@pytest.mark.fault("N2", "N3")
@pytest.mark.parametrize("how", SPOILED)
def test_a_report_without_all_its_scores_fails_one_trial_and_the_sweep_goes_on(
    how: str, world: Path, tmp_path: Path
) -> None:
    sweep = Sweep(world, tmp_path)
    key = spoiling(sweep, SPOILED[how])
    failed = sweep.state.runs[key]
    assert (failed.status, failed.cause) == (
        TrialStatus.FAILED,
        FailureCause.INCOMPLETE_SCORES,
    )
    assert "no finite score 'validation/" in str(failed.reason)
    assert sweep.stages == STAGES and sweep.program.aborted is None
    assert states(sweep) == {TrialState.COMPLETE: 5, TrialState.FAIL: 1}
    assert failed.asked.trial_id not in {r.asked.trial_id for r in sweep.by_stage(Stage.CONFIRM)}
    assert key in (tmp_path / "spool" / "driver.jsonl").read_text()
    ends = [e for e in lines(tmp_path) if e["event"] == "end" and e["run_key"] == key]
    assert [e["status"] for e in ends] == ["FAILED"]


def lines(folder: Path) -> list[dict[str, str]]:
    text = (folder / "spool" / "driver.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.fault("R3", "N1")
@pytest.mark.parametrize("cause", [FailureCause.OUT_OF_MEMORY, FailureCause.NAN])
def test_what_a_configuration_itself_does_is_not_tried_again(
    cause: FailureCause, world: Path, tmp_path: Path
) -> None:
    sweep = Sweep(world, tmp_path, fail=fail_search([None, cause])).run()
    (failed,) = [r for r in sweep.by_stage(Stage.SEARCH) if r.status is TrialStatus.FAILED]
    assert failed.cause is cause and sweep.worker.attempts[failed.run_key] == 1
    assert states(sweep) == {TrialState.COMPLETE: 5, TrialState.FAIL: 1}
    tags = [e["tags"] for e in lines(tmp_path) if e["event"] == "tags"]
    assert "FAIL" in {t.get("keepgain.optuna_state") for t in tags}  # type: ignore[attr-defined]
    assert failed.asked.trial_id not in {r.asked.trial_id for r in sweep.by_stage(Stage.CONFIRM)}
    again = Sweep(world, tmp_path).run()
    assert again.worker.worked == Counter(), "nor by the next driver"


@pytest.mark.fault("N6")
def test_one_trial_that_is_left_is_confirmed(world: Path, tmp_path: Path) -> None:
    spec = tmp_path / "world" / "sweep.yaml"
    spec.parent.mkdir()
    for path in world.parent.iterdir():
        (spec.parent / path.name).symlink_to(path)
    spec.unlink()
    spec.write_text(world.read_text())
    edit(spec, "generation_size: 2", "generation_size: 2, max_failure_rate: 1")
    nan = FailureCause.NAN
    causes = [None, nan, nan, nan, nan, nan]
    sweep = Sweep(spec, tmp_path / "sweep", fail=fail_search(causes)).run()
    assert sweep.stages == STAGES
    (left,) = [r for r in sweep.by_stage(Stage.SEARCH) if r.status is TrialStatus.COMPLETED]
    assert {r.asked.trial_id for r in sweep.by_stage(Stage.CONFIRM)} == {left.asked.trial_id}


@pytest.mark.fault("N10")
def test_the_same_sweep_twice_draws_and_decides_the_same(world: Path, tmp_path: Path) -> None:
    one, two = (Sweep(world, tmp_path / name).run() for name in ("one", "two"))
    assert comparable(one.evidence()) == comparable(two.evidence())
    assert one.reported == two.reported
