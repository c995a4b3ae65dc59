"""What the runs of a sweep amount to so far: objectives, what Optuna is told, reasons to stop."""

from collections.abc import Mapping
from dataclasses import dataclass

from keepgain.core.status import Stage, TrialStatus
from keepgain.sweeps.evidence import SCORES_OF
from keepgain.sweeps.prepare import Prepared
from keepgain.sweeps.search.objectives import Objectives, constraints, objectives
from keepgain.sweeps.search.replay import RunState
from keepgain.sweeps.search.stratum import Result
from keepgain.sweeps.stages.confirm import Searched

MIN_FINISHED_FOR_RATE = 4
"""A failure rate is judged from this many finished trials on."""


@dataclass(frozen=True)
class Results:
    """Reads the runs; changes nothing."""

    prepared: Prepared
    runs: Mapping[str, RunState]
    bases: Mapping[str, str]
    """Base model → run key of its score."""

    def objectives(self, run: RunState) -> Objectives | None:
        """Of a run on validation; None while it or its base has no scores."""
        base = self.runs.get(self.bases[run.asked.model])
        if base is None or base.last_report is None or run.last_report is None:
            return None
        suites = self.prepared.score_suites("validation")
        return objectives(run.last_report.metrics, base.last_report.metrics, suites)

    def result(self, run: RunState) -> Result | None:
        """What Optuna is told of an ended run; None while its base has no scores."""
        if run.status is not TrialStatus.COMPLETED:
            return Result(run.status)
        found = self.objectives(run)
        if found is None:
            return None
        limit = self.prepared.spec.question.max_forgetting
        return Result(run.status, found.values, constraints(found, limit))

    def searched(self) -> list[Searched]:
        """Completed search trials, as the choice of finalists sees them."""
        return [
            Searched(run.asked, found)
            for run in self.runs.values()
            if run.asked.stage is Stage.SEARCH
            and run.status is TrialStatus.COMPLETED
            and (found := self.objectives(run)) is not None
        ]

    def figures(self, run: RunState) -> dict[str, float]:
        """A few figures for a progress line: gain and forgetting of a trial, scores of others."""
        if run.last_report is None:
            return {}
        trained = run.asked.stage in (Stage.SEARCH, Stage.CONFIRM)
        found = self.objectives(run) if trained else None
        if found is None:
            names = {s.name for s in self.prepared.score_suites("validation")}
            scores = {k.partition("/")[2]: v for k, v in run.last_report.metrics.items()}
            return {name: v for name, v in scores.items() if name in names}
        figures = {"gain": found.gain}
        return figures if found.forgetting is None else figures | {"forgetting": found.forgetting}

    def untested(self) -> list[RunState]:
        """Test runs that failed."""
        return [
            r
            for r in self.runs.values()
            if r.asked.stage is Stage.TEST and r.status is TrialStatus.FAILED
        ]

    def why_undecided(self) -> str | None:
        """Why the test scores allow no decision; None if they do.

        Every base is needed, and a test score of every confirmed configuration (of any seed).
        """
        lost: dict[str, RunState] = {}
        scored: set[str] = set()
        for test in self.runs.values():
            of = self.runs.get(str(test.asked.params.get(SCORES_OF)))
            if test.asked.stage is not Stage.TEST or of is None or of.asked.kind == "reference":
                continue
            if test.status is TrialStatus.COMPLETED:
                scored.add(of.asked.trial_id)
            else:
                lost[of.asked.trial_id] = test
        missing = [
            f"{'base ' if test.asked.kind == 'base' else ''}{test.asked.model} "
            f"{'' if test.asked.kind == 'base' else trial_id[:6] + ' '}"
            f"({test.cause}: {test.reason})"
            for trial_id, test in lost.items()
            if trial_id not in scored
        ]
        if not missing:
            return None
        return (
            f"without test scores of {', '.join(missing)} nothing can be decided; the same command "
            "tries them again"
        )

    def why_stop(self) -> str | None:
        """Why the sweep must stop: a base cannot be scored, or too many trials fail.

        It follows from the ledger, so that a stopped sweep stays stopped when it is run again.
        """
        for key in self.bases.values():
            base = self.runs.get(key)
            if base is not None and base.status is TrialStatus.FAILED:
                return (
                    f"the base {base.asked.model} could not be scored, and every gain is measured "
                    f"against it ({base.cause}: {base.reason})"
                )
        trials = [
            r
            for r in self.runs.values()
            if r.asked.stage in (Stage.SEARCH, Stage.CONFIRM) and r.status.is_final
        ]
        failed = [r for r in trials if r.status is TrialStatus.FAILED]
        limit = self.prepared.spec.search.max_failure_rate
        if len(trials) < MIN_FINISHED_FOR_RATE or len(failed) / len(trials) <= limit:
            return None
        return (
            f"{len(failed)} of {len(trials)} trials failed, more than search.max_failure_rate "
            f"{limit:g}; one of them: {failed[-1].cause}: {failed[-1].reason}"
        )
