"""Base: every base model and its reference arms, scored once on validation.

All gains and all forgetting are differences to these scores, item by item. Where a model starts
from an earlier sweep, they are those of the original base, and the start is scored beside it.
"""

from pathlib import Path

from keepgain.core.config import ScoreConfig, run_key
from keepgain.core.status import Stage
from keepgain.core.work import ScoreRequest
from keepgain.sweeps.arms import PREVIOUS_ROUND
from keepgain.sweeps.job import Job
from keepgain.sweeps.prepare import ArmSpec, Prepared
from keepgain.sweeps.search.ledger import Asked


def base_jobs(prepared: Prepared, folder: Path) -> list[Job]:
    """The bases first, then the previous rounds and the reference arms of each base model."""
    models = [m.ref.name for m in prepared.models]
    bases = [_job(prepared, folder, model, None) for model in models]
    previous = [
        _job(prepared, folder, m.ref.name, PREVIOUS_ROUND) for m in prepared.models if m.reference
    ]
    arms = [_job(prepared, folder, model, arm) for arm in prepared.arms for model in models]
    return bases + previous + arms


def _job(prepared: Prepared, folder: Path, model: str, arm: ArmSpec | None) -> Job:
    config = prepared.base_config(model, arm)
    key = run_key(config.trial_id, 0)
    return Job(
        purpose="reference" if arm else "base",
        label=f"{model} {arm.label if arm else 'base'}",
        asked=asked_to_score(config, key, Stage.BASE, model),
        request=ScoreRequest(config=config, report_as=key, sweep_folder=str(folder)),
    )


def asked_to_score(
    config: ScoreConfig, key: str, stage: Stage, model: str, params: dict[str, str] | None = None
) -> Asked:
    """The ledger's event for a job without training."""
    kind = "trial" if config.trained_by else "base" if config.arm == "base" else "reference"
    return Asked(
        run_key=key,
        trial_id=config.trial_id,
        seed=0,
        stage=stage,
        kind=kind,
        arm=None if config.trained_by else config.arm,
        model=model,
        params=params or {},
        config=config.model_dump(mode="json"),
    )
