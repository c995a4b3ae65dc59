"""What a sweep's program and its runner say to each other.

The program decides (which job next, who goes on, what a result means); a runner carries out:
`tune_runner` on Ray, `simulated` by replaying recorded curves under a virtual clock.
"""

from enum import StrEnum
from typing import Protocol

from keepgain.core.record import RungReport
from keepgain.core.status import FailureCause
from keepgain.sweeps.job import Execution, Job


class Verdict(StrEnum):
    """What becomes of a trial that has reported a rung."""

    CONTINUE = "continue"
    """It goes on to its next rung at once."""
    PAUSE = "pause"
    """It gives its slot free and waits; its checkpoint is on disk."""
    STOP = "stop"
    """It has ended: at its full budget, or stopped early."""


class Program(Protocol):
    """What a runner asks, always from one thread.

    A free slot goes to a job that has not begun before it goes to a paused one (breadth first);
    among the paused ones the order of `awake` holds.
    """

    def next_job(self) -> Job | None:
        """The next job to begin; None: nothing to begin until something is reported."""
        ...

    def awake(self) -> tuple[str, ...]:
        """Run keys of paused jobs that shall go on, the most urgent first. Asking changes nothing;
        a job leaves the list when `on_started` is called for it."""
        ...

    def take_dropped(self) -> tuple[str, ...]:
        """Run keys of paused jobs that have ended while they waited; each is named once."""
        ...

    @property
    def finished(self) -> bool:
        """True when no job is left, paused or running, or the sweep must stop."""
        ...

    def on_started(self, job: Job) -> None:
        """A worker has the job: for the first time, or again after a pause."""
        ...

    def on_report(self, job: Job, report: RungReport, execution: Execution) -> Verdict:
        """The job has reached a rung; `execution` says where and when."""
        ...

    def on_failed(self, job: Job, cause: FailureCause, detail: str) -> None:
        """The job's trial has ended badly."""
        ...

    def on_tick(self) -> None:
        """Called some times a second: progress, heartbeat."""
        ...
