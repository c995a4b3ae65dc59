"""Points between a trained model and its base as runs of their own.

A worker scores them with the model that it has in memory (`training.interpolate`), and the report
of the last rung brings their scores: the ledger has a trial with all of them or none. They follow
from the trial's run, are derived where they are wanted (record, choice of finalists), and are no
runs of the ledger: they are not drawn, not told to the sampler, no trial counts them, and what was
trained for them is counted once.
"""

from keepgain.core.config import TrialConfig, run_key
from keepgain.core.record import Candidate, RungReport
from keepgain.core.status import TrialStatus
from keepgain.sweeps.search.ledger import Asked
from keepgain.sweeps.search.replay import RunState

INTERPOLATION = "interpolation"
"""Name of the setting; see `core.config.TrialConfig`."""


def candidates_of(run: RunState) -> list[RunState]:
    """The points that a completed run was scored at beside its own weights, in their order.

    Each has the run's seed and training and the id of its own configuration, so that it is what
    training that configuration with this seed would give.
    """
    last = run.last_report
    if last is None or run.status is not TrialStatus.COMPLETED:
        return []
    return [_candidate(run, last, c) for c in last.candidates]


def _candidate(run: RunState, last: RungReport, candidate: Candidate) -> RunState:
    alpha = {INTERPOLATION: candidate.interpolation}
    config = TrialConfig.model_validate(run.asked.config | alpha)
    key = run_key(config.trial_id, run.asked.seed)
    asked = run.asked.model_copy(
        update={
            "run_key": key,
            "trial_id": config.trial_id,
            "number": None,
            "generation": None,
            "index": None,
            "raw": {},
            "params": run.asked.params | alpha,
            "config": run.asked.config | alpha,
        }
    )
    report = last.model_copy(
        update={
            "run_key": key,
            "metrics": candidate.metrics,
            "items_path": candidate.items_path,
            "losses_path": None,
            "cost": candidate.cost,
            "model_folder": None,
            "drawn": {},
            "candidates": (),
            "warnings": (),
        }
    )
    return RunState(asked, (report,), run.status, reused_from=run.reused_from)


def label_of(candidate: Asked) -> str:
    """For the table of runs in MLflow."""
    return f"{candidate.model} interpolation {candidate.params[INTERPOLATION]:g}"
