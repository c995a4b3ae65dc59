"""What the driver tells MLflow of runs, through the spool: names, settings, results, endings."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from keepgain.core.inside import inside
from keepgain.core.record import RungReport
from keepgain.core.status import Stage, TrialStatus
from keepgain.core.store.datasets import DatasetInfo
from keepgain.core.store.names import METRIC_COMPLETED, METRIC_FAILED, PARENT, TAG_NOTE
from keepgain.core.store.spool import Spool
from keepgain.sweeps.candidates import candidates_of, label_of
from keepgain.sweeps.evidence import flat_params
from keepgain.sweeps.job import Execution, Job
from keepgain.sweeps.search.ledger import Asked
from keepgain.sweeps.search.objectives import Objectives
from keepgain.sweeps.search.replay import RunState
from keepgain.sweeps.search.searchable import OF_SOURCE
from keepgain.sweeps.served import SCORES_OF, form_of, metrics_as_served
from keepgain.sweeps.stages.decide import Decided

_MLFLOW_STATUS = {
    TrialStatus.COMPLETED: "FINISHED",
    TrialStatus.PRUNED: "FINISHED",
    TrialStatus.FAILED: "FAILED",
    TrialStatus.INTERRUPTED: "KILLED",
}


DRIVER = "driver"
"""The driver's name in the spool."""
TAG_STATE = "keepgain.optuna_state"
TAG_MADE_FROM = "keepgain.made_from"
"""Run key of the training that a run is a point of; see `sweeps.candidates`."""
TAG_EXECUTION = "keepgain.execution."
"""With the rung's index, `test`, or the form served in: host, process and times of the worker, as
JSON."""


class Recorder:
    """Writes the driver's part of the record; the workers write the curves.

    A continued sweep may say everything again, since a killed driver may have stopped between
    the ledger and the spool: what the spool has already is not repeated.
    """

    def __init__(self, spool: Spool, folder: Path) -> None:
        self._spool = spool
        self._folder = folder
        self._begun: set[str] = set()
        self._reported: set[tuple[str, str]] = set()
        self._told: set[str] = set()
        self._ended: dict[str, str] = {}
        self._said: dict[str, dict[str, float]] = {}
        """Run key → its figures when the sweep was last decided."""
        self._read_spool(folder / "spool" / f"{DRIVER}.jsonl")

    def started(self, job: Job) -> None:
        """The run exists from now on; test scores belong to the run that they score."""
        if job.purpose != "test":
            self._start(job.asked, job.label, {})

    def candidates(self, run: RunState) -> None:
        """The points of a completed run, each a run of its own, at once from its start to its end;
        nothing for those that were said before."""
        for point in candidates_of(run):
            if point.run_key in self._ended:
                continue
            self._start(point.asked, label_of(point.asked), {TAG_MADE_FROM: run.run_key})
            self.reported(point.asked, point.reports[-1])
            self.ended(point.asked, point.status, None)

    def known(self, run: RunState, label: str) -> None:
        """Says what the spool lacks of a run of the ledger, for a spool that was damaged or lost.

        Not what follows from other runs: what Optuna was told, the figures of the decision.

        Args:
            label: Of a run that the spool has nothing of.
        """
        if run.asked.stage is not Stage.TEST and run.run_key not in self._begun:
            self._start(run.asked, label, {})
            if run.reused_from is not None:
                self.reused(run.asked, run.reused_from)
        for report in run.reports:
            self.reported(run.asked, report)
        # Nobody works on it, or this would not be asked for.
        self.ended(run.asked, ended_as(run), run.reason if run.status.is_final else None)
        self.candidates(run)

    def ending_of(self, run_key: str) -> str | None:
        """How a run has ended as far as was said, in MLflow's words; None: it has not."""
        return self._ended.get(run_key)

    def has_decision(self) -> bool:
        """Whether the figures of a decision were said."""
        return PARENT in self._said

    def _start(self, asked: Asked, label: str, more: Mapping[str, str]) -> None:
        tags = {
            "keepgain.stage": str(asked.stage),
            "keepgain.kind": asked.kind,
            "keepgain.trial_id": asked.trial_id,
            "keepgain.model": asked.model,
            **more,
        }
        if asked.arm is not None:
            tags["keepgain.arm"] = asked.arm
        if asked.origin is not None:
            tags["keepgain.origin"] = asked.origin
        params = {"model": asked.model, "seed": asked.seed, **flat_params(asked.config)}
        params |= {k: v for k, v in asked.params.items() if k.partition(".")[0] in OF_SOURCE}
        if asked.arm is not None:
            params["arm"] = asked.arm
        self._spool.start(asked.run_key, label, params, tags)
        self._begun.add(asked.run_key)
        self._ended.pop(asked.run_key, None)
        self._told.discard(asked.run_key)  # it had failed and is tried again

    def reported(self, asked: Asked, report: RungReport) -> None:
        """Scores at a rung, the costs, and the item scores as an artifact."""
        key = mlflow_run(asked)
        items = inside(self._folder, report.items_path)
        if (key, report.items_path) in self._reported:
            return
        form = form_of(asked)
        costs = {f"cost/{k}": v for k, v in report.cost.items()}
        figures = metrics_as_served(report, form) if form else {**report.metrics, **costs}
        self._spool.metrics(key, report.tokens, figures)
        if report.final and form is None:
            finals = {f"final/{k}": v for k, v in report.metrics.items()}
            self._spool.metrics(key, report.tokens, finals)
        if report.drawn:
            drawn = {
                f"drawn.{s}.{k}": str(v) for s, c in report.drawn.items() for k, v in c.items()
            }
            self._spool.tags(key, drawn)
        self._spool.artifact(key, items, "items")  # the last one: it stands for all of them
        self._reported.add((key, report.items_path))

    def executed(self, asked: Asked, report: RungReport, execution: Execution) -> None:
        """Where and when a rung was carried out."""
        tested = form_of(asked) or "test"
        rung = tested if asked.stage is Stage.TEST else str(report.rung)
        tags = {f"{TAG_EXECUTION}{rung}": json.dumps(asdict(execution))}
        self._spool.tags(mlflow_run(asked), tags)

    def reused(self, asked: Asked, sweep: str) -> None:
        """The results come from an earlier sweep."""
        self._spool.tags(mlflow_run(asked), {"keepgain.reused_from": sweep})

    def told(
        self,
        asked: Asked,
        report: RungReport | None,
        found: Objectives | None,
        constraints: Mapping[str, float],
        optuna_state: str,
    ) -> None:
        """What Optuna was told, so that its journal and this record can be held side by side."""
        if asked.run_key in self._told:
            return
        if report is not None and found is not None:
            names = ("final/gain", "final/forgetting")
            figures = dict(zip(names, found.values, strict=False))
            figures |= {f"constraint/{k}": v for k, v in constraints.items()}
            self._spool.metrics(asked.run_key, report.tokens, figures)
        tags = {TAG_STATE: optuna_state, "keepgain.optuna_number": str(asked.number)}
        self._spool.tags(asked.run_key, tags)
        self._told.add(asked.run_key)

    def ended(self, asked: Asked, status: TrialStatus, reason: str | None) -> None:
        """The run is over, for now at least."""
        if asked.stage is Stage.TEST or self._ended.get(asked.run_key) == _MLFLOW_STATUS[status]:
            return
        tags = {"keepgain.status": str(status)}
        if reason:
            tags["keepgain.reason"] = reason
        log = self._folder / "runs" / asked.run_key / "worker.log"
        if log.exists():
            self._spool.artifact(asked.run_key, log, "logs")
        self._spool.tags(asked.run_key, tags)
        self._spool.end(asked.run_key, _MLFLOW_STATUS[status])
        self._ended[asked.run_key] = _MLFLOW_STATUS[status]

    def count(self, completed: int, failed: int, costs: Mapping[str, float] | None = None) -> None:
        """Trials and costs so far, on the sweep's own run: what `sweep list` shows."""
        figures = {METRIC_COMPLETED: float(completed), METRIC_FAILED: float(failed)}
        self._spool.metrics(PARENT, completed + failed, {**figures, **(costs or {})})

    def parent_started(self, sweep_id: str) -> None:
        """The sweep runs, again if it had ended."""
        self._spool.start(PARENT, sweep_id, {}, {})
        self._begun.add(PARENT)
        self._ended.pop(PARENT, None)

    def parent_tags(self, tags: Mapping[str, str]) -> None:
        """Of the sweep's own run."""
        self._spool.tags(PARENT, tags)

    def parent_file(self, path: Path, folder: str = "") -> None:
        """Attaches a file to the sweep's own run."""
        self._spool.artifact(PARENT, path, folder)

    def parent_inputs(self, datasets: Sequence[DatasetInfo]) -> None:
        """What the sweep trains and scores on; on its own run alone, since every search of runs
        would carry those of each child."""
        self._spool.inputs(PARENT, datasets)

    def decided(self, decided: Decided) -> None:
        """The decision on the sweep's own run, and the figures of every run on that one."""
        for key, figures in decided.runs.items():
            self._figures(key, figures)
        self._figures(PARENT, decided.metrics)
        self._spool.tags(PARENT, {**decided.tags, TAG_NOTE: decided.note})
        for path, folder in decided.files.items():
            self.parent_file(path, folder)

    def _figures(self, key: str, figures: Mapping[str, float]) -> None:
        """Figures of a whole run, at step 0: MLflow draws them as bars, not as curves."""
        if figures and self._said.get(key) != figures:
            self._spool.metrics(key, 0, figures)
            self._said[key] = dict(figures)

    def parent_ended(self, status: str) -> None:
        """`FINISHED`, `FAILED` or `KILLED`."""
        self._spool.end(PARENT, status)
        self._ended[PARENT] = status

    def flush(self) -> None:
        """Everything written so far is on disk."""
        self._spool.flush()

    def _read_spool(self, path: Path) -> None:
        """What was said before this process."""
        text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
        for line in text.splitlines():
            try:
                event = json.loads(line)
                key, kind = event["run_key"], event["event"]
            except (ValueError, KeyError, TypeError):
                continue  # torn by the end of its writer: it was not said
            match kind:
                case "start":
                    self._begun.add(key)
                    self._ended.pop(key, None)
                    self._told.discard(key)
                case "end":
                    self._ended[key] = event["status"]
                case "artifact" if event["folder"] == "items":
                    # The folder may have been moved since, not renamed.
                    inside = event["path"].rpartition(f"/{self._folder.name}/")[2]
                    self._reported.add((key, inside))
                case "tags" if TAG_STATE in event["tags"]:
                    self._told.add(key)
                case "metrics" if _of_decision(event["values"]):
                    self._said[key] = event["values"]


def _of_decision(values: Mapping[str, float]) -> bool:
    """True for what `Recorder.decided` writes."""
    return "task_score" in values or any(name.startswith("decision/") for name in values)


def ended_as(run: RunState) -> TrialStatus:
    """How a run ended, of a sweep that nobody works on: what had not ended was interrupted."""
    return run.status if run.status.is_final else TrialStatus.INTERRUPTED


def mlflow_status(run: RunState) -> str:
    """The same in MLflow's words."""
    return _MLFLOW_STATUS[ended_as(run)]


def mlflow_run(asked: Asked) -> str:
    """Run key of the MLflow run that has the scores: test scores are the scored run's."""
    if asked.stage is Stage.TEST:
        return str(asked.params[SCORES_OF])
    return asked.run_key
