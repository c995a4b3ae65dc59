"""The course of a sweep as a function of its ledger: which job next, and what a report means.

A continued sweep walks the same path (`stages.course`) and skips what the ledger has. Every event
is in the ledger before anything acts on it.
"""

import math
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from keepgain.core.record import RungReport
from keepgain.core.status import FailureCause, Stage, TrialStatus
from keepgain.core.work import ScoreRequest
from keepgain.sweeps.continuing import to_note, told_failed
from keepgain.sweeps.ending import Ending
from keepgain.sweeps.job import Execution, Job
from keepgain.sweeps.kept_files import checkpoint_base, drop_checkpoints
from keepgain.sweeps.limits import Meter, costs
from keepgain.sweeps.prepare import Prepared
from keepgain.sweeps.progress import Progress
from keepgain.sweeps.protocol import Verdict
from keepgain.sweeps.recorder import Recorder
from keepgain.sweeps.reins import Reins
from keepgain.sweeps.results import Results
from keepgain.sweeps.reuse import Finished as FinishedElsewhere
from keepgain.sweeps.reuse import take_over
from keepgain.sweeps.rung_scheduler import Move, RungScheduler, policy_of
from keepgain.sweeps.search.draws import Draw
from keepgain.sweeps.search.ledger import (
    Asked,
    DriverStarted,
    DriverStopped,
    Event,
    Finished,
    Ledger,
    Promoted,
    Reused,
    Rung,
)
from keepgain.sweeps.search.replay import RunState, apply, replay
from keepgain.sweeps.search.stratified import StratifiedSearch
from keepgain.sweeps.stages.base import base_jobs
from keepgain.sweeps.stages.course import Course
from keepgain.sweeps.stages.trials import draw_of, search_job
from keepgain.sweeps.steering import Inbox
from keepgain.sweeps.telling import Telling

ATTEMPTS = 2
"""From one rung to the next, of a run whose worker was lost; other failures are the configuration's
own and not repeated."""


@dataclass
class SweepProgram:
    """Implements `protocol.Program`. Called from the driver's main thread only."""

    prepared: Prepared
    folder: Path
    ledger: Ledger
    search: StratifiedSearch
    recorder: Recorder
    progress: Progress
    reusable: Mapping[str, FinishedElsewhere]
    on_test: Callable[[list[str]], None]
    """As `Course.on_test`."""
    on_stage: Callable[[Stage], object]
    """As `Course.on_stage`."""
    aborted: str | None = None
    """Why the sweep stopped before its end."""
    reused: int = 0
    inbox: Inbox | None = None
    """Where people's commands come in."""
    last: Literal[Stage.SEARCH, Stage.TEST] = Stage.TEST
    """As `Course.last`."""
    retry_failed: bool = False
    """A person asks for the failed runs of the open stages again."""

    _queue: deque[Job] = field(default_factory=deque)
    _live: dict[str, Job] = field(default_factory=dict)
    """Begun, and neither ended nor waiting at a rung."""
    _lost: dict[str, int] = field(default_factory=dict)
    """Run key → workers lost since its last rung."""
    _drawn: int = -1
    """All draws up to this generation were begun."""
    _unsettled: bool = True
    """Something happened since the rungs were looked at."""
    _resting: dict[str, Job] = field(default_factory=dict)
    """Jobs without early stopping that wait between two rungs while the sweep is paused."""
    _pruning: dict[str, str] = field(default_factory=dict)
    """Run key → why it ends at its next rung."""

    def __post_init__(self) -> None:
        events = self.ledger.events()
        state = replay(events)
        self.runs: dict[str, RunState] = state.runs
        self.meter = Meter.of(events)
        self._asked = {(e.model, e.number) for e in events if isinstance(e, Asked)}
        for event in to_note(events, self.runs, retry_failed=self.retry_failed):
            self._append(event)
        self._queue.extend(base_jobs(self.prepared, self.folder))
        self.progress.expect(Stage.BASE, len(self._queue))
        bases = {j.asked.model: j.run_key for j in self._queue if j.purpose == "base"}
        self.results = Results(self.prepared, self.runs, bases)
        amounts, search = self.prepared.rungs, self.prepared.spec.search
        self.rungs = RungScheduler(
            policy_of(search), self.results, self.runs, [a / amounts[-1] for a in amounts]
        )
        self.ending = Ending(self.prepared, self.results, self.runs, self.meter)
        self.reins = Reins(self)
        self.telling = Telling(self.search, self.recorder, self.results, self.runs)
        self.course = Course(
            self.prepared,
            self.folder,
            self.runs,
            self.results,
            self.progress,
            set(state.stages),
            append=self._append,
            on_test=self.on_test,
            on_stage=self.on_stage,
            looks=state.looks,
            last=self.last,
        )
        if not events:
            self.ledger.append(self.search.started())
        self.search.restore(self.ledger.events(), self.results.result)
        for run in self.runs.values():
            self.telling.record_known(run)
            if run.status is TrialStatus.PRUNED:
                drop_checkpoints(self.folder, checkpoint_base(self.prepared), run.run_key, None)
        for draw in self.search.open_draws():
            self._queue.append(self._dealt(draw))
        for asked in told_failed(self.ledger.events(), self.runs):
            self._queue.append(search_job(self.prepared, self.folder, draw_of(asked)))
        self.aborted = self.results.why_stop()
        if (note := state.notes.get(Stage.SEARCH)) is not None:
            self.course.note = note
            self.search.finish()  # its finalists are chosen: nothing more is drawn
            if (why := self.ending.why_over(note, self.ledger.now())) is not None:
                self.progress.say(why)

    # -- what the runner asks ------------------------------------------------------------------

    def next_job(self) -> Job | None:
        """The next job that needs a worker; None: wait, or nothing is left."""
        while not self.aborted and not self.reins.paused and (job := self._next()) is not None:
            if (ready := self._begin(job)) is not None:
                return ready
        return None

    def awake(self) -> tuple[str, ...]:
        """Run keys of paused jobs that shall go on, the most urgent first."""
        if self.aborted or self.reins.paused:
            return ()
        return (*self._resting, *(() if self.ending.holds else self.rungs.awake))

    def take_dropped(self) -> tuple[str, ...]:
        """Run keys of paused jobs that will not go on in this process; each is named once."""
        resting: tuple[str, ...] = ()
        if self.aborted:
            self.rungs.drop_all()
            resting = tuple(self._resting)
            self._resting.clear()
        return (*resting, *self.rungs.take_dropped())

    @property
    def finished(self) -> bool:
        """True when nothing runs and nothing will."""
        return not self._live and (self.aborted is not None or self.stage is Stage.DECIDED)

    @property
    def stage(self) -> Stage:
        """The one that runs now; DECIDED after the last."""
        return self.course.stage

    def on_started(self, job: Job) -> None:
        """A worker has the job now, for the first time or again after a pause."""
        rested = self._resting.pop(job.run_key, None) is not None
        if self.rungs.resume(job.run_key) is not None or rested:
            self._live[job.run_key] = job
        self.progress.started(job)
        self._look_for_end()

    def on_report(self, job: Job, report: RungReport, execution: Execution) -> Verdict:
        """A rung was reached; at the last one the run is complete."""
        if (lacking := _lacking(job, report)) is not None:
            self.on_failed(job, FailureCause.INCOMPLETE_SCORES, lacking)
            return Verdict.STOP
        self._append(Rung(report=report, seconds=execution.ended - execution.began))
        self._lost.pop(job.run_key, None)  # it gets on: nodes that come and go do not doom it
        self.recorder.reported(job.asked, report)
        self.recorder.executed(job.asked, report, execution)
        if isinstance(job.request, ScoreRequest) and job.request.config.replay:
            for warning in report.warnings:
                self.progress.say(f"warning: {job.asked.model}: {warning}")
        if report.final:
            self._end(job, TrialStatus.COMPLETED)
            return Verdict.STOP
        self._look_for_end()
        if (why := self._pruning.pop(job.run_key, None)) is not None:
            self.rungs.wait(self._live.pop(job.run_key))
            self._prune(job.run_key, why)
            self.rungs.take_dropped(only=job.run_key)
            return Verdict.STOP
        if not self.rungs.schedules(job):
            if not self.reins.paused and not self.aborted:
                return Verdict.CONTINUE
            self._resting[job.run_key] = self._live.pop(job.run_key)
            self.progress.paused(job)
            return Verdict.PAUSE
        self.rungs.wait(self._live.pop(job.run_key))
        self.progress.paused(job)
        self._settle_rungs()
        if self.rungs.take_dropped(only=job.run_key):
            return Verdict.STOP
        if self.rungs.eager and job.run_key in self.awake():
            self.on_started(job)
            return Verdict.CONTINUE
        return Verdict.PAUSE

    def on_failed(self, job: Job, cause: FailureCause, detail: str) -> None:
        """The trial ended badly: tried again if its worker was lost, else recorded as FAILED."""
        for jobs in (self._live, self._resting):
            jobs.pop(job.run_key, None)
        self.rungs.resume(job.run_key)
        if self.runs[job.run_key].status.is_final:
            return  # it was stopped while its trial still wrote what it needs to wait
        lost = self._lost.get(job.run_key, 0) + 1
        if cause is FailureCause.WORKER_LOST and lost < ATTEMPTS:
            self._lost[job.run_key] = lost
            self.progress.say(f"{job.label}: {detail}; trying once more")
            self._queue.appendleft(job)
            return
        self._end(job, TrialStatus.FAILED, cause=cause, reason=detail)

    def on_tick(self) -> None:
        """Keeps the display alive, and takes up what people command."""
        if self.inbox is not None:
            self.inbox.take_up(self.reins, self.ledger.events, self._append)
        self._look_for_end()
        self.progress.tick()

    def driver_started(self, event: DriverStarted) -> None:
        """A driver with workers goes on from here."""
        self._append(event)

    def driver_stopped(self) -> None:
        """It has left, in whatever way."""
        self._append(DriverStopped())
        self._count()

    def interrupt(self) -> int:
        """Marks what was running or waiting as INTERRUPTED, to be continued; returns how many."""
        self.rungs.drop_all()
        lost = [job for job in self._queue if job.run_key in self._lost]  # it was to be tried again
        jobs = [*self._live.values(), *self._resting.values(), *self.rungs.jobs, *lost]
        for job in jobs:
            self._append(Finished(run_key=job.run_key, status=TrialStatus.INTERRUPTED))
            self.recorder.ended(job.asked, TrialStatus.INTERRUPTED, "the sweep was interrupted")
            self.rungs.drop(job.run_key)
        self._live.clear()
        self._resting.clear()
        return len(jobs)

    # -- which job next ------------------------------------------------------------------------

    def _next(self) -> Job | None:
        self._look_for_end()
        while self._queue:
            job = self._queue.popleft()
            if not (self.ending.holds and job.purpose == "search"):
                return job
            self.rungs.sleep(job)  # a limit is reached: it is not begun any more
        self.course.begin_search()
        if self.stage is Stage.SEARCH:
            if self.ending.holds and not self._live:
                self._give_up_waiting()
                if self.aborted:
                    return None
            if self.rungs.eager and self.awake():
                return None  # who may go on goes before who begins
            if (draw := self.search.next()) is not None:
                return self._dealt(draw)
            if self._drawn < self.search.generation:
                self._drawn, self._unsettled = self.search.generation, True
            if self._settle_rungs():
                return self._next()  # the next generation, or runs that an earlier driver paused
        if not self._live and not self._resting and self._may_advance():
            self._queue.extend(self.course.advance())
            self.aborted = self.course.stuck
            over = self.aborted is not None or self.stage is Stage.DECIDED
            return None if over else self._next()  # a stage without jobs is over at once
        return None

    def _may_advance(self) -> bool:
        return self.stage in (Stage.CONFIRM, Stage.TEST) or (
            self.stage is Stage.SEARCH and self.search.done and not self.rungs.jobs
        )

    def _dealt(self, draw: Draw) -> Job:
        job = search_job(self.prepared, self.folder, draw)
        self.progress.expect(Stage.SEARCH, self.search.expected)
        if draw.repeats is None:
            self.telling.awaits(job.run_key, draw)
        return job

    # -- an early end --------------------------------------------------------------------------

    def _look_for_end(self) -> None:
        """Draws nothing more when a limit is reached or the fronts stand still."""
        if self.stage not in (Stage.BASE, Stage.SEARCH) or self.ending.holds:
            return
        known = self.ending.reason
        self.ending.look(self.search.generation, self._live.values(), self.ledger.now())
        if self.ending.reason != known:
            assert self.ending.reason is not None
            self.progress.say(f"the search ends: {self.ending.reason}")
            self.course.note = self.ending.reason
            self.search.finish()

    def _give_up_waiting(self) -> None:
        """Nothing that waits goes on, unless there would be nothing to confirm."""
        if not self.results.searched():
            self.aborted = (
                f"{self.ending.reason}, before any trial had its full budget; raise the limit and "
                "run again"
            )
            return
        self.rungs.ended, self._unsettled = self.ending.reason, True
        self._settle_rungs()

    def prune(self, run_key: str, reason: str) -> str | None:
        """Ends a search trial as PRUNED; says when. None: it is not open."""
        queued = next((j for j in self._queue if j.run_key == run_key), None)
        job = self._live.get(run_key) or queued
        if job is not None and job.purpose != "search":
            return None
        if run_key in self._live:
            self._pruning[run_key] = reason
            return "at its next rung"
        if queued is not None:
            self._queue.remove(queued)
            self.rungs.sleep(queued)
        if run_key in self._resting:
            self.rungs.wait(self._resting.pop(run_key))
        if run_key not in self.rungs:
            return None
        self._prune(run_key, reason)
        return "now"

    def _prune(self, run_key: str, reason: str) -> None:
        self._carry_out(Finished(run_key=run_key, status=TrialStatus.PRUNED, reason=reason))
        self._settle_rungs()

    def draws_added(self) -> None:
        """The generation that is open has more draws: it is not complete without them."""
        self._drawn = min(self._drawn, self.search.generation - 1)

    # -- one job -------------------------------------------------------------------------------

    def _begin(self, job: Job) -> Job | None:
        """The job as it must be carried out; None if it need not be, or not yet."""
        key = job.run_key
        known = self.runs.get(key)
        if known is None or self._is_new_draw(job):
            self._append(job.asked)
        if key in self._live or key in self.rungs:
            return None  # the same run under another number: it takes the result of the first
        if known is not None and known.status.is_final:
            self.progress.skipped(job, "done before")
            self.telling.ended(job)
            return None
        self.recorder.started(job)
        if (known is None or known.last_report is None) and self._reuse(job):
            return None
        if known is not None and known.waits and self.rungs.schedules(job):
            self.rungs.sleep(job)
            self._unsettled = True
            return None
        job = self._continued(job)
        self._live[key] = job
        return job

    def _is_new_draw(self, job: Job) -> bool:
        """A draw of the search that is another draw's run must stand in the ledger too, once."""
        return job.purpose == "search" and (job.asked.model, job.asked.number) not in self._asked

    def _continued(self, job: Job) -> Job:
        """The job, from the run's last checkpoint if it has one."""
        run = self.runs.get(job.run_key)
        if run is None or run.last_report is None or job.request.op != "train":
            return job
        return job.resumed(run.last_report)

    def _reuse(self, job: Job) -> bool:
        """Takes the run's results from another sweep, if one has all of them."""
        finished = self.reusable.get(job.run_key)
        if finished is None:
            return False
        sweep, shares = finished.folder.name, job.interpolate
        reports = finished.reports(shares)
        if reports is None:
            asked = ", ".join(f"{share:g}" for share in shares)
            why = f"{sweep} has not scored it at {asked}"
            self.progress.say(f"{job.label}: trained again, since {why}")
            return False
        take_over(finished, self.folder)
        self._append(Reused(run_key=job.run_key, sweep=sweep, reports=reports))
        self._append(Finished(run_key=job.run_key, status=TrialStatus.COMPLETED))
        self.reused += 1
        self.recorder.reused(job.asked, sweep)
        for report in reports:
            self.recorder.reported(job.asked, report)
        self.telling.ended(job)
        self.progress.skipped(job, f"reused from {sweep}")
        return True

    def _end(
        self,
        job: Job,
        status: TrialStatus,
        *,
        cause: FailureCause | None = None,
        reason: str | None = None,
    ) -> None:
        self._live.pop(job.run_key, None)
        self._append(Finished(run_key=job.run_key, status=status, cause=cause, reason=reason))
        failure = f"{cause}: {reason}" if status is TrialStatus.FAILED else None
        self.progress.ended(job, self.results.figures(self.runs[job.run_key]), failure)
        self.telling.ended(job)
        self._count()
        self.aborted = self.aborted or self.results.why_stop()
        self._settle_rungs()

    def _count(self) -> None:
        trials = (r for r in self.runs.values() if r.asked.kind == "trial")
        # What scores a trial again, on test items or in another form, is none itself.
        ended = [r.status for r in trials if r.asked.stage is not Stage.TEST]
        completed, failed = (ended.count(s) for s in (TrialStatus.COMPLETED, TrialStatus.FAILED))
        spent = costs(self.meter.total(), self.prepared.spec.prices.gpu_hour_usd)
        self.recorder.count(completed, failed, spent)

    # -- rungs ---------------------------------------------------------------------------------

    def _settle_rungs(self) -> bool:
        """Carries out what follows from the reports so far; False if nothing did."""
        moved = False
        held = self.ending.holds and self.rungs.ended is None
        while self._unsettled and not self.aborted and not held:
            self._unsettled = False
            moves = self.rungs.moves(self._drawn)
            for move in moves:
                moved = True
                self._carry_out(move)
            up = Counter(
                (self.runs[m.run_key].asked.model, m.rung) for m in moves if isinstance(m, Promoted)
            )
            for (model, rung), count in up.items():
                self.progress.promoted(model, rung, len(self.prepared.rungs), count)
        return moved

    def _carry_out(self, move: Move) -> None:
        self._append(move)
        if isinstance(move, Promoted):
            if (job := self.rungs.wake(move.run_key)) is not None:
                self._queue.append(job)
            return
        stopped = self.rungs.drop(move.run_key)
        assert stopped is not None, "only a run that waits is stopped"
        self._remove_checkpoints(move.run_key)
        self.progress.stopped(stopped, move.reason or "")
        self.telling.ended(stopped)

    def _remove_checkpoints(self, key: str) -> None:
        """Of a run that was stopped: it never goes on, and they are large."""
        last = self.runs[key].last_report
        base = checkpoint_base(self.prepared)
        drop_checkpoints(self.folder, base, key, last.checkpoint if last else None)

    def _append(self, event: Event) -> None:
        event = self.ledger.append(event)
        apply(self.runs, event)
        self.meter.add(event)
        if isinstance(event, Asked):
            self._asked.add((event.model, event.number))
            self.rungs.enter(event)
        self._unsettled = True


def _lacking(job: Job, report: RungReport) -> str | None:
    """What a report would have to say and does not: without it nothing can be compared."""
    every = [report.metrics, *(candidate.metrics for candidate in report.candidates)]
    for suite in job.request.config.suites:
        name = f"{suite.split}/{suite.name}"
        if not all(math.isfinite(metrics.get(name, math.nan)) for metrics in every):
            return f"the report has no finite score '{name}'"
    return None
