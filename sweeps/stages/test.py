"""Test: the test split, opened once, for the confirmed runs, the bases and the reference arms; and
for finalists and bases as served."""

from collections.abc import Iterable
from pathlib import Path

from keepgain.core.config import Arm, ScoreConfig, ServeForm, run_key
from keepgain.core.status import Stage, TrialStatus
from keepgain.core.work import ScoreRequest
from keepgain.sweeps.job import Job
from keepgain.sweeps.prepare import ArmSpec, Prepared
from keepgain.sweeps.search.replay import RunState
from keepgain.sweeps.served import SCORES_OF, SERVED, to_serve
from keepgain.sweeps.stages.base import asked_to_score


def test_jobs(prepared: Prepared, folder: Path, runs: Iterable[RunState]) -> list[Job]:
    """One job a run that is to be scored on the test split.

    Args:
        runs: All runs of the sweep; completed bases, reference arms and confirmed trials count.
    """
    return [
        _job(prepared, folder, run)
        for run in runs
        if run.status is TrialStatus.COMPLETED and run.asked.stage in (Stage.BASE, Stage.CONFIRM)
    ]


def served_jobs(prepared: Prepared, folder: Path, runs: Iterable[RunState]) -> list[Job]:
    """One more job for each form that the spec serves in, of what `sweeps.served` says."""
    return [_job(prepared, folder, run, form) for run, form in to_serve(runs, prepared.spec.serve)]


def _job(prepared: Prepared, folder: Path, run: RunState, form: ServeForm | None = None) -> Job:
    config = _config(prepared, folder, run).model_copy(update={"served": form})
    key = run_key(config.trial_id, 0)
    what = run.asked.arm or f"{run.asked.trial_id[:6]} (seed {run.asked.seed})"
    params = {SCORES_OF: run.run_key} | ({SERVED: form} if form else {})
    return Job(
        purpose="test",
        label=f"{run.asked.model} {what}" + (f" as {form}" if form else ""),
        asked=asked_to_score(config, key, Stage.TEST, run.asked.model, params=params),
        request=ScoreRequest(config=config, report_as=key, sweep_folder=str(folder)),
    )


def _config(prepared: Prepared, folder: Path, run: RunState) -> ScoreConfig:
    model = run.asked.model
    if run.asked.kind == "trial":
        report = run.last_report
        assert report is not None and report.model_folder is not None, "confirmed runs keep it"
        return prepared.tuned_config(model, "test").model_copy(
            update={"checkpoint": str(folder / report.model_folder), "trained_by": run.run_key}
        )
    return prepared.base_config(model, _arm(prepared, run), "test")


def _arm(prepared: Prepared, run: RunState) -> ArmSpec | None:
    """The reference arm of a scored run, found by what its configuration says."""
    arm: Arm | None = run.asked.arm
    if arm in (None, "base"):
        return None
    prompt = run.asked.config.get("system_prompt")
    shots = len(run.asked.config.get("few_shot") or ())
    return next(
        a
        for a in prepared.arms_of(run.asked.model)
        if a.arm == arm and a.system_prompt == prompt and len(a.few_shot) == shots
    )
