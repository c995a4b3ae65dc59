"""The course of a sweep: base → search → confirm → test, as a function of the ledger.

::

    base jobs ─► search draws ─► (all told) ─► finalists × seeds ─► (all ended) ─► test ─► decided

The base and the first generation run side by side; every other arrow waits. A continued sweep
walks the same path and skips what the ledger has.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from keepgain.core.record import RungReport
from keepgain.core.status import FailureCause, Stage, TrialStatus
from keepgain.sweeps.evidence import SCORES_OF
from keepgain.sweeps.job import Execution, Job
from keepgain.sweeps.prepare import Prepared
from keepgain.sweeps.progress import Progress
from keepgain.sweeps.recorder import Recorder
from keepgain.sweeps.results import Results
from keepgain.sweeps.reuse import Finished as FinishedElsewhere
from keepgain.sweeps.reuse import take_over
from keepgain.sweeps.search.ledger import (
    Asked,
    Event,
    Finished,
    Ledger,
    Reused,
    Rung,
    StageFinished,
)
from keepgain.sweeps.search.replay import RunState, apply, replay
from keepgain.sweeps.search.stratified import StratifiedSearch
from keepgain.sweeps.search.stratum import Draw, Result, outcome
from keepgain.sweeps.stages.base import base_jobs
from keepgain.sweeps.stages.confirm import finalists
from keepgain.sweeps.stages.test import test_jobs
from keepgain.sweeps.stages.trials import confirm_jobs, search_job

TRANSIENT = (FailureCause.WORKER_LOST, FailureCause.DISK_FULL)
"""The machine's failures, not the configuration's: the next driver tries such a run again."""
ATTEMPTS = 2
"""Of a run whose worker was lost; other failures are the configuration's own and not repeated."""


@dataclass
class SweepProgram:
    """See the module's picture. Called from the driver's main thread only."""

    prepared: Prepared
    folder: Path
    ledger: Ledger
    search: StratifiedSearch
    recorder: Recorder
    progress: Progress
    reusable: Mapping[str, FinishedElsewhere]
    on_test: Callable[[list[str]], None]
    """Called once, before the test items are opened, with the candidates' run keys."""
    on_stage: Callable[[Stage], object]
    """Called when a stage has finished."""
    aborted: str | None = None
    """Why the sweep stopped before its end."""
    reused: int = 0

    _queue: deque[Job] = field(default_factory=deque)
    _live: dict[str, Job] = field(default_factory=dict)
    _draws: dict[str, list[Draw]] = field(default_factory=dict)
    """Run key → draws that wait for its result."""
    _untold: list[str] = field(default_factory=list)
    """Ended search runs whose base has no scores yet."""
    _lost: dict[str, int] = field(default_factory=dict)
    """Run key → workers lost so far."""

    def __post_init__(self) -> None:
        events = self.ledger.events()
        state = replay(events)
        self.runs: dict[str, RunState] = state.runs
        self._finished_stages = set(state.stages)
        self._reopen(events)
        self._complete_reported()
        self._stage = Stage.BASE
        self._queue.extend(base_jobs(self.prepared, self.folder))
        bases = {j.asked.model: j.run_key for j in self._queue if j.purpose == "base"}
        self.results = Results(self.prepared, self.runs, bases)
        self.progress.expect(Stage.BASE, len(self._queue))
        if not events:
            self.ledger.append(self.search.started())
        self.search.restore(self.ledger.events(), self.results.result)
        for run in self.runs.values():
            self._record_known(run)
        for draw in self.search.open_draws():
            self._queue.append(self._dealt(draw))
        self.aborted = self.results.why_stop()

    # -- what the runner asks ------------------------------------------------------------------

    def next_job(self) -> Job | None:
        """The next job that needs a worker; None: wait, or nothing is left."""
        while not self.aborted and (job := self._next()) is not None:
            if (ready := self._begin(job)) is not None:
                return ready
        return None

    @property
    def finished(self) -> bool:
        """True when nothing runs and nothing will."""
        return not self._live and (self.aborted is not None or self._stage is Stage.DECIDED)

    @property
    def stage(self) -> Stage:
        """The one that runs now; DECIDED after the last."""
        return self._stage

    def on_started(self, job: Job) -> None:
        """A worker has the job now."""
        self.progress.started(job)

    def on_report(self, job: Job, report: RungReport, execution: Execution) -> None:
        """A rung was reached; at the last one the run is complete."""
        self._append(Rung(report=report))
        self.recorder.reported(job.asked, report)
        self.recorder.executed(job.asked, report, execution)
        if report.final:
            self._end(job, TrialStatus.COMPLETED)

    def on_failed(self, job: Job, cause: FailureCause, detail: str) -> None:
        """The trial ended badly: tried again if its worker was lost, else recorded as FAILED."""
        lost = self._lost.get(job.run_key, 0) + 1
        if cause is FailureCause.WORKER_LOST and lost < ATTEMPTS:
            self._lost[job.run_key] = lost
            self._live.pop(job.run_key)
            self.progress.say(f"{job.label}: {detail}; trying once more")
            self._queue.appendleft(self._continued(job))
            return
        self._end(job, TrialStatus.FAILED, cause=cause, reason=detail)

    def on_tick(self) -> None:
        """Keeps the display alive."""
        self.progress.tick()

    def interrupt(self) -> int:
        """Marks what was running as INTERRUPTED, to be continued; returns how many."""
        jobs = list(self._live.values())
        for job in jobs:
            self._append(Finished(run_key=job.run_key, status=TrialStatus.INTERRUPTED))
            self.recorder.ended(job.asked, TrialStatus.INTERRUPTED, "the sweep was interrupted")
        self._live.clear()
        return len(jobs)

    # -- where an earlier driver stopped -------------------------------------------------------

    def _reopen(self, events: list[Event]) -> None:
        """Asks again for failed runs whose failure may have passed, as long as nothing was decided
        on them: their stage is open, and the search has drawn no later generation."""
        drawn = [e.generation for e in events if isinstance(e, Asked) and e.generation is not None]
        newest = max(drawn, default=0)
        for run in list(self.runs.values()):
            asked, is_test = run.asked, run.asked.stage is Stage.TEST
            if run.status is not TrialStatus.FAILED or asked.stage in self._finished_stages:
                continue
            if asked.stage is Stage.SEARCH and asked.generation != newest:
                continue
            if is_test or run.cause in TRANSIENT:
                why = f"to be tried again after {run.cause}: {run.reason}"
                status = TrialStatus.INTERRUPTED
                self._append(Finished(run_key=run.run_key, status=status, reason=why))

    def _complete_reported(self) -> None:
        """A driver killed between the last report of a run and its end has not noted the end."""
        for run in list(self.runs.values()):
            last = run.last_report
            if last is not None and last.final and not run.status.is_final:
                self._append(Finished(run_key=run.run_key, status=TrialStatus.COMPLETED))

    def _record_known(self, run: RunState) -> None:
        """A driver killed between the ledger and the spool has not said this."""
        if run.reused_from is not None:
            self.recorder.reused(run.asked, run.reused_from)
        for report in run.reports:
            self.recorder.reported(run.asked, report)
        if not run.status.is_final:
            return
        if run.asked.stage is Stage.SEARCH and (result := self.results.result(run)) is not None:
            self._record_told(run, result)
        self.recorder.ended(run.asked, run.status, run.reason)

    # -- the course ----------------------------------------------------------------------------

    def _next(self) -> Job | None:
        if self._queue:
            return self._queue.popleft()
        if self._stage is Stage.BASE:
            self._stage = Stage.SEARCH  # side by side with the base jobs that still run
        if self._stage is Stage.SEARCH and (draw := self.search.next()) is not None:
            return self._dealt(draw)
        if not self._live and self._may_advance():
            self._advance()
            return self._queue.popleft() if self._queue else self._next_if_empty()
        return None

    def _may_advance(self) -> bool:
        return self._stage in (Stage.CONFIRM, Stage.TEST) or (
            self._stage is Stage.SEARCH and self.search.done
        )

    def _next_if_empty(self) -> Job | None:
        """A stage without jobs is over at once."""
        return None if self._stage is Stage.DECIDED or self.aborted else self._next()

    def _advance(self) -> None:
        if self._stage is Stage.SEARCH:
            self._finish_stage(Stage.BASE)
            self._finish_stage(Stage.SEARCH)
            self._stage = Stage.CONFIRM
            self._queue.extend(self._confirmation())
            self.progress.expect(Stage.CONFIRM, len(self._queue))
        elif self._stage is Stage.CONFIRM:
            self._finish_stage(Stage.CONFIRM)
            self._stage = Stage.TEST
            self._queue.extend(test_jobs(self.prepared, self.folder, self.runs.values()))
            self.progress.expect(Stage.TEST, len(self._queue))
            self.on_test([str(j.asked.params[SCORES_OF]) for j in self._queue])
        else:
            self.aborted = self.results.why_undecided()
            if self.aborted is None:
                for run in self.results.untested():
                    of = run.asked.arm or self.runs[str(run.asked.params[SCORES_OF])].run_key
                    self.progress.say(
                        f"warning: {run.asked.model} {of} has no test scores "
                        f"({run.cause}: {run.reason})"
                    )
                self._finish_stage(Stage.TEST)
                self._stage = Stage.DECIDED

    def _finish_stage(self, stage: Stage) -> None:
        if stage in self._finished_stages:
            return  # of an earlier driver; its record is there
        self._finished_stages.add(stage)
        self._append(StageFinished(stage=stage))
        self.on_stage(stage)

    def _confirmation(self) -> list[Job]:
        searched = self.results.searched()
        if not searched:
            self.aborted = "no search trial was completed, so there is nothing to confirm"
            return []
        spec = self.prepared.spec
        chosen = finalists(
            searched,
            [m.ref.name for m in self.prepared.models],
            spec.confirm.finalists,
            spec.question.max_forgetting,
        )
        return confirm_jobs(self.prepared, self.folder, chosen)

    # -- one job -------------------------------------------------------------------------------

    def _dealt(self, draw: Draw) -> Job:
        job = search_job(self.prepared, self.folder, draw)
        self.progress.expect(Stage.SEARCH, self._expected_search())
        if draw.repeats is None:
            self._draws.setdefault(job.run_key, []).append(draw)
        return job

    def _expected_search(self) -> int:
        return len(self.prepared.models) * self.search.design.trials_per_model

    def _begin(self, job: Job) -> Job | None:
        """The job as it must be carried out; None if it need not be."""
        key = job.run_key
        known = self.runs.get(key)
        if known is None or self._is_repeat(job, known):
            self._append(job.asked)
        if key in self._live:
            return None  # the same run under another number: it takes the result of the first
        if known is not None and known.status.is_final:
            self._skip(job, "done before")
            return None
        self.recorder.started(job)
        if (known is None or known.last_report is None) and key in self.reusable:
            self._reuse(job, self.reusable[key])
            return None
        job = self._continued(job)
        self._live[key] = job
        return job

    def _is_repeat(self, job: Job, known: RunState) -> bool:
        """A draw of the search that is another draw's run must stand in the ledger too."""
        return job.purpose == "search" and (
            (known.asked.model, known.asked.number) != (job.asked.model, job.asked.number)
        )

    def _continued(self, job: Job) -> Job:
        """The job, from the run's last checkpoint if it has one."""
        run = self.runs.get(job.run_key)
        if run is None or run.last_report is None or job.request.op != "train":
            return job
        return job.resumed(run.last_report)

    def _reuse(self, job: Job, finished: FinishedElsewhere) -> None:
        take_over(finished, self.folder)
        report = finished.run.last_report
        assert report is not None, "only completed runs are reusable"
        self._append(Reused(run_key=job.run_key, sweep=finished.folder.name))
        self.recorder.reused(job.asked, finished.folder.name)
        self._append(Rung(report=report))
        self._append(Finished(run_key=job.run_key, status=TrialStatus.COMPLETED))
        self.reused += 1
        self.recorder.reported(job.asked, report)
        self._settle(job)
        self.progress.skipped(job, f"reused from {finished.folder.name}")

    def _skip(self, job: Job, why: str) -> None:
        self.progress.skipped(job, why)
        self._settle(job)

    def _end(
        self,
        job: Job,
        status: TrialStatus,
        *,
        cause: FailureCause | None = None,
        reason: str | None = None,
    ) -> None:
        self._live.pop(job.run_key)
        self._append(Finished(run_key=job.run_key, status=status, cause=cause, reason=reason))
        failure = f"{cause}: {reason}" if status is TrialStatus.FAILED else None
        self.progress.ended(job, self.results.figures(self.runs[job.run_key]), failure)
        self._settle(job)
        ended = [r.status for r in self.runs.values() if r.asked.kind == "trial"]
        self.recorder.count(ended.count(TrialStatus.COMPLETED), ended.count(TrialStatus.FAILED))
        self.aborted = self.aborted or self.results.why_stop()

    def _settle(self, job: Job) -> None:
        """What follows from the end of a run: it is recorded, and the search is told."""
        if job.purpose == "base":
            waiting, self._untold = self._untold, []
            self._close_record(job)
            for key in waiting:
                self._tell(key)
            return
        self._close_record(job)
        if job.purpose == "search":
            self._tell(job.run_key)

    def _close_record(self, job: Job) -> None:
        run = self.runs[job.run_key]
        self.recorder.ended(job.asked, run.status, run.reason)

    def _tell(self, key: str) -> None:
        run = self.runs[key]
        result = self.results.result(run)
        if result is None:
            self._untold.append(key)
            return
        self._record_told(run, result)
        for draw in self._draws.pop(key, []):
            self.search.tell(draw, result)

    def _record_told(self, run: RunState, result: Result) -> None:
        design = self.search.design
        state = outcome(result, tuple(design.objectives), design.constraints)
        found = self.results.objectives(run)
        self.recorder.told(run.asked, run.last_report, found, result.constraints, state.name)

    def _append(self, event: Event) -> None:
        self.ledger.append(event)
        apply(self.runs, event)
