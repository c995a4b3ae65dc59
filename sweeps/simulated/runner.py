"""Runs a program's jobs by replaying recorded curves under a virtual clock; nothing is trained.

It asks and tells a program what `tune_runner` does, in the same order of slots: a job that has not
begun comes before a paused one. So a search, its rungs and its ledger can be tried on thousands of
trials in seconds.
"""

import heapq
from dataclasses import dataclass

from keepgain.core.record import RungReport
from keepgain.core.work import TrainRequest
from keepgain.sweeps.job import Execution, Job
from keepgain.sweeps.protocol import Program, Verdict
from keepgain.sweeps.simulated.curves import Curve, Curves


@dataclass(frozen=True)
class Step:
    """A rung that was carried out."""

    job: Job
    report: RungReport
    began: float
    """Virtual seconds since the start, as `ended`."""
    ended: float
    tokens: int
    """Trained in this rung alone."""


@dataclass(frozen=True)
class _Running:
    job: Job
    curve: Curve
    rung: int
    began: float


def run_program(program: Program, curves: Curves, *, slots: int) -> list[Step]:
    """Runs jobs until the program has finished.

    Args:
        program: As the Ray runner takes it.
        curves: What the jobs report.
        slots: Jobs at a time.

    Returns:
        The rungs in the order in which they ended; of those that ended together, in the order in
        which they began.

    Raises:
        UserError: A job asks for a configuration that was not recorded.
    """
    return _Simulation(program, curves, slots).run()


class _Simulation:
    """The state of `run_program`."""

    def __init__(self, program: Program, curves: Curves, slots: int) -> None:
        assert slots > 0, "at least one job at a time"
        self._program = program
        self._curves = curves
        self._slots = slots
        self._now = 0.0
        self._begun = 0
        self._running: list[tuple[float, int, _Running]] = []
        """A heap by end, then by beginning."""
        self._paused: dict[str, tuple[Job, int]] = {}
        """Run key → job and the rung that it goes on to."""
        self._steps: list[Step] = []

    def run(self) -> list[Step]:
        while True:
            self._fill_slots()
            if not self._running:
                assert self._program.finished, "the program has nothing to do"
                return self._steps
            self._now, _, one = heapq.heappop(self._running)
            self._end(one)
            self._program.on_tick()

    def _fill_slots(self) -> None:
        self._forget_dropped()
        while len(self._running) < self._slots:
            job = self._program.next_job()
            if job is not None:
                rung = job.request.rung if isinstance(job.request, TrainRequest) else 0
                self._begin(job, rung)
            elif (
                key := next((k for k in self._program.awake() if k in self._paused), None)
            ) is None:
                return
            else:
                self._begin(*self._paused.pop(key))
            self._forget_dropped()

    def _forget_dropped(self) -> None:
        for key in self._program.take_dropped():
            self._paused.pop(key, None)

    def _begin(self, job: Job, rung: int) -> None:
        self._program.on_started(job)
        self._train(job, self._curves.of(job.asked.trial_id, job.asked.seed), rung)

    def _train(self, job: Job, curve: Curve, rung: int) -> None:
        """A curve that ends before this rung fails there at once: how long it took is not kept."""
        seconds = curve.rungs[rung].seconds if rung < len(curve.rungs) else 0.0
        self._begun += 1
        one = _Running(job, curve, rung, self._now)
        heapq.heappush(self._running, (self._now + seconds, self._begun, one))

    def _end(self, one: _Running) -> None:
        if one.rung >= len(one.curve.rungs):
            assert one.curve.cause is not None, "a curve without failure has all its rungs"
            self._program.on_failed(one.job, one.curve.cause, one.curve.detail)
            return
        report = one.curve.rungs[one.rung].report.model_copy(update={"run_key": one.job.run_key})
        before = one.curve.rungs[one.rung - 1].report.tokens if one.rung else 0
        self._steps.append(Step(one.job, report, one.began, self._now, report.tokens - before))
        execution = Execution(host="simulated", pid=0, began=one.began, ended=self._now)
        match self._program.on_report(one.job, report, execution):
            case Verdict.CONTINUE:
                self._train(one.job, one.curve, one.rung + 1)
            case Verdict.PAUSE:
                self._paused[one.job.run_key] = (one.job, one.rung + 1)
            case Verdict.STOP:
                pass
