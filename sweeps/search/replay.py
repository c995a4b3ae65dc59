"""What a ledger amounts to: the state of every run and of the sweep, rebuilt from events."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from keepgain.core.errors import UserError
from keepgain.core.record import LookRecord, RungReport
from keepgain.core.status import FailureCause, Stage, TrialStatus
from keepgain.sweeps.search.ledger import (
    Asked,
    Event,
    Finished,
    Look,
    Promoted,
    Retried,
    Reused,
    Rung,
    StageFinished,
    TestOpened,
)


@dataclass(frozen=True)
class RunState:
    """One run as the ledger knows it."""

    asked: Asked
    """The first event that asked for it."""
    reports: tuple[RungReport, ...] = ()
    """One a rung, ascending; of two for one rung the later one stands."""
    status: TrialStatus = TrialStatus.ASKED
    """ASKED before the first report, PAUSED after it, or how the run ended."""
    reason: str | None = None
    cause: FailureCause | None = None
    promoted: int = 0
    """Index of the rung that it may train to, where trials are stopped early."""
    reused_from: str | None = None

    @property
    def run_key(self) -> str:
        """Its name."""
        return self.asked.run_key

    @property
    def last_report(self) -> RungReport | None:
        """Of the highest rung reached; its checkpoint is where the run goes on."""
        return self.reports[-1] if self.reports else None

    def at_rung(self, rung: int) -> RungReport | None:
        """The report of a rung; None where it was not scored there."""
        return next((r for r in self.reports if r.rung == rung), None)

    @property
    def waits(self) -> bool:
        """It has reached the rung that it was promoted to, and has not ended."""
        last = self.last_report
        if last is None or last.final or self.status.is_final:
            return False
        return last.rung >= self.promoted


@dataclass(frozen=True)
class SweepState:
    """The sweep as the ledger knows it."""

    runs: dict[str, RunState] = field(default_factory=dict)
    """Run key → state, in the order in which the runs were first asked for."""
    stages: tuple[Stage, ...] = ()
    """Finished stages, in order."""
    notes: dict[Stage, str] = field(default_factory=dict)
    """Finished stage → what its end said; only those that said something."""
    openings: tuple[TestOpened, ...] = ()
    looks: tuple[LookRecord, ...] = ()
    """Of the adaptive confirmation, in order."""


def replay(events: Iterable[Event]) -> SweepState:
    """Rebuilds the state from the events.

    Raises:
        UserError: An event of a run that was never asked for.
    """
    runs: dict[str, RunState] = {}
    stages: list[Stage] = []
    notes: dict[Stage, str] = {}
    openings: list[TestOpened] = []
    looks: list[LookRecord] = []
    for event in events:
        apply(runs, event)
        if isinstance(event, StageFinished):
            stages.append(event.stage)
            notes |= {event.stage: event.note} if event.note else {}
        elif isinstance(event, TestOpened):
            openings.append(event)
        elif isinstance(event, Look):
            looks.append(event.record)
    return SweepState(runs, tuple(dict.fromkeys(stages)), notes, tuple(openings), tuple(looks))


def apply(runs: dict[str, RunState], event: Event) -> None:
    """Takes one event into the states of the runs, in place.

    Raises:
        UserError: An event of a run that was never asked for.
    """
    match event:
        case Asked():
            runs.setdefault(event.run_key, RunState(event))
        case Rung():
            run = _known(runs, event.report.run_key)
            runs[run.run_key] = _reported(run, event.report)
        case Promoted():
            run = _known(runs, event.run_key)
            runs[run.run_key] = replace(run, promoted=max(run.promoted, event.rung))
        case Finished():
            run = _known(runs, event.run_key)
            runs[run.run_key] = replace(
                run, status=event.status, reason=event.reason, cause=event.cause
            )
        case Retried():
            run = _known(runs, event.run_key)
            why = "to be tried again on request"
            runs[run.run_key] = replace(run, status=TrialStatus.INTERRUPTED, reason=why, cause=None)
        case Reused():
            run = replace(_known(runs, event.run_key), reused_from=event.sweep)
            for report in event.reports:
                run = _reported(run, report)
            # It has been where it went, whoever is promoted here.
            runs[run.run_key] = replace(run, promoted=event.reports[-1].rung)
        case _:
            pass


def _reported(run: RunState, report: RungReport) -> RunState:
    others = [r for r in run.reports if r.rung != report.rung]
    reports = tuple(sorted([*others, report], key=lambda r: r.rung))
    # A report after an interruption means that the run was continued.
    status = run.status if run.status.is_final else TrialStatus.PAUSED
    return replace(run, reports=reports, status=status)


def _known(runs: dict[str, RunState], key: str) -> RunState:
    if key not in runs:
        raise UserError(
            f"the ledger has results of run {key}, which it never asked for.",
            hint="Lines are missing; restore the ledger from a copy.",
        )
    return runs[key]
