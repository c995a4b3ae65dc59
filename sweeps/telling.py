"""Who is told of the ends of runs: the search, which waits for them, and the record."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from keepgain.core.status import Stage, TrialStatus
from keepgain.sweeps.job import Job
from keepgain.sweeps.recorder import Recorder
from keepgain.sweeps.results import Results
from keepgain.sweeps.search.draws import Draw, Result, outcome
from keepgain.sweeps.search.replay import RunState
from keepgain.sweeps.search.stratified import StratifiedSearch


@dataclass
class Telling:
    """Tells each end once, and those of the search only when their base has scores."""

    search: StratifiedSearch
    recorder: Recorder
    results: Results
    runs: Mapping[str, RunState]

    _draws: dict[str, list[Draw]] = field(default_factory=dict)
    """Run key → draws that wait for its result."""
    _untold: list[str] = field(default_factory=list)
    """Ended search runs whose base has no scores yet."""

    def awaits(self, key: str, draw: Draw) -> None:
        """The draw takes the result of this run."""
        self._draws.setdefault(key, []).append(draw)

    def ended(self, job: Job) -> None:
        """The job's run has ended."""
        run = self.runs[job.run_key]
        self.recorder.ended(job.asked, run.status, run.reason)
        self.recorder.candidates(run)
        if job.purpose == "base":
            waiting, self._untold = self._untold, []
            for key in waiting:
                self._tell(key)
        elif job.purpose == "search":
            self._tell(job.run_key)

    def record_known(self, run: RunState) -> None:
        """Says of a run what a driver killed between the ledger and the spool has not said."""
        if run.reused_from is not None:
            self.recorder.reused(run.asked, run.reused_from)
        for report in run.reports:
            self.recorder.reported(run.asked, report)
        if not run.status.is_final:
            return
        if run.asked.stage is Stage.SEARCH and (result := self.results.result(run)) is not None:
            self._record(run, result)
        self.recorder.ended(run.asked, run.status, run.reason)
        self.recorder.candidates(run)

    def _tell(self, key: str) -> None:
        run = self.runs[key]
        result = self.results.result(run)
        if result is None:
            self._untold.append(key)
            return
        self._record(run, result)
        for draw in self._draws.pop(key, []):
            self.search.tell(draw, result)

    def _record(self, run: RunState, result: Result) -> None:
        design = self.search.design
        state = outcome(result, tuple(design.objectives), design.constraints)
        # A truncated trial has no final figures.
        found = self.results.objectives(run) if run.status is TrialStatus.COMPLETED else None
        self.recorder.told(run.asked, run.last_report, found, result.constraints, state.name)
