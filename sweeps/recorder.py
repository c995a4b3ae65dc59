"""What the driver tells MLflow of runs, through the spool: names, settings, results, endings."""

from collections.abc import Mapping
from pathlib import Path

from keepgain.core.record import RungReport
from keepgain.core.status import Stage, TrialStatus
from keepgain.core.store.names import METRIC_COMPLETED, METRIC_FAILED, PARENT
from keepgain.core.store.spool import Spool
from keepgain.sweeps.evidence import SCORES_OF, flat_params
from keepgain.sweeps.job import Job
from keepgain.sweeps.search.ledger import Asked
from keepgain.sweeps.search.objectives import Objectives

_MLFLOW_STATUS = {
    TrialStatus.COMPLETED: "FINISHED",
    TrialStatus.PRUNED: "FINISHED",
    TrialStatus.FAILED: "FAILED",
    TrialStatus.INTERRUPTED: "KILLED",
}


class Recorder:
    """Writes the driver's part of the record; the workers write the curves."""

    def __init__(self, spool: Spool, folder: Path) -> None:
        self._spool = spool
        self._folder = folder

    def started(self, job: Job) -> None:
        """The run exists from now on; test scores belong to the run that they score."""
        if job.purpose == "test":
            return
        asked = job.asked
        tags = {
            "keepgain.stage": str(asked.stage),
            "keepgain.kind": asked.kind,
            "keepgain.trial_id": asked.trial_id,
            "keepgain.model": asked.model,
        }
        if asked.arm is not None:
            tags["keepgain.arm"] = asked.arm
        if asked.origin is not None:
            tags["keepgain.origin"] = asked.origin
        params = {"model": asked.model, "seed": asked.seed, **flat_params(asked.config)}
        if asked.arm is not None:
            params["arm"] = asked.arm
        self._spool.start(asked.run_key, job.label, params, tags)

    def reported(self, job: Job, report: RungReport) -> None:
        """Scores at a rung, the costs, and the item scores as an artifact."""
        key = _mlflow_run(job)
        costs = {f"cost/{k}": v for k, v in report.cost.items()}
        self._spool.metrics(key, report.tokens, {**report.metrics, **costs})
        if report.final:
            finals = {f"final/{k}": v for k, v in report.metrics.items()}
            self._spool.metrics(key, report.tokens, finals)
        self._spool.artifact(key, self._folder / report.items_path, "items")
        if report.drawn:
            drawn = {
                f"drawn.{s}.{k}": str(v) for s, c in report.drawn.items() for k, v in c.items()
            }
            self._spool.tags(key, drawn)

    def told(
        self,
        asked: Asked,
        report: RungReport | None,
        found: Objectives | None,
        constraints: Mapping[str, float],
        optuna_state: str,
    ) -> None:
        """What Optuna was told, so that its journal and this record can be held side by side."""
        tags = {"keepgain.optuna_state": optuna_state, "keepgain.optuna_number": str(asked.number)}
        self._spool.tags(asked.run_key, tags)
        if report is not None and found is not None:
            names = ("final/gain", "final/forgetting")
            figures = dict(zip(names, found.values, strict=False))
            figures |= {f"constraint/{k}": v for k, v in constraints.items()}
            self._spool.metrics(asked.run_key, report.tokens, figures)

    def ended(self, asked: Asked, status: TrialStatus, reason: str | None) -> None:
        """The run is over, for now at least; safe to repeat."""
        if asked.stage is Stage.TEST:
            return
        tags = {"keepgain.status": str(status)}
        if reason:
            tags["keepgain.reason"] = reason
        log = self._folder / "runs" / asked.run_key / "worker.log"
        if log.exists():
            self._spool.artifact(asked.run_key, log, "logs")
        self._spool.tags(asked.run_key, tags)
        self._spool.end(asked.run_key, _MLFLOW_STATUS[status])

    def count(self, completed: int, failed: int) -> None:
        """Trials so far, on the sweep's own run: what `sweep list` shows of a server's sweeps."""
        figures = {METRIC_COMPLETED: float(completed), METRIC_FAILED: float(failed)}
        self._spool.metrics(PARENT, completed + failed, figures)

    def parent_tags(self, tags: Mapping[str, str]) -> None:
        """Of the sweep's own run."""
        self._spool.tags(PARENT, tags)

    def parent_file(self, path: Path, folder: str = "") -> None:
        """Attaches a file to the sweep's own run."""
        self._spool.artifact(PARENT, path, folder)

    def parent_ended(self, status: str) -> None:
        """`FINISHED`, `FAILED` or `KILLED`."""
        self._spool.end(PARENT, status)

    def flush(self) -> None:
        """Everything written so far is on disk."""
        self._spool.flush()


def _mlflow_run(job: Job) -> str:
    if job.asked.stage is Stage.TEST:
        return str(job.asked.params[SCORES_OF])
    return job.run_key
