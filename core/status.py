"""The states of a trial, defined once for the runner, the record and the report.

::

    ASKED ──► RUNNING ──► COMPLETED     scored at its full budget
                 │  ▲
                 │  └──── PAUSED        waits at a rung for a slot
                 ├──────► PRUNED        stopped early by the scheduler: truncated, never ranked
                 ├──────► FAILED        NaN, out of memory, exception: retried only on request
                 └──────► INTERRUPTED   Ctrl-C, a kill, a lost node: continued by the next run

Only COMPLETED trials are ranked and may be recommended. PRUNED and FAILED ones are listed with
their reason. INTERRUPTED is not a verdict on the configuration.
"""

from enum import StrEnum


class TrialStatus(StrEnum):
    """See the diagram above."""

    ASKED = "asked"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    PRUNED = "pruned"
    FAILED = "failed"
    INTERRUPTED = "interrupted"

    @property
    def is_final(self) -> bool:
        """True if a continued sweep leaves the trial as it is."""
        return self in (TrialStatus.COMPLETED, TrialStatus.PRUNED, TrialStatus.FAILED)


class FailureCause(StrEnum):
    """Why a trial FAILED; counted apart, because they are mended apart."""

    NAN = "nan"
    OUT_OF_MEMORY = "out_of_memory"
    EXCEPTION = "exception"
    WORKER_LOST = "worker_lost"
    DISK_FULL = "disk_full"
    INCOMPLETE_SCORES = "incomplete_scores"


class Stage(StrEnum):
    """The stage of a sweep that a run belongs to, in order."""

    BASE = "base"
    SEARCH = "search"
    CONFIRM = "confirm"
    TEST = "test"
    DECIDED = "decided"
