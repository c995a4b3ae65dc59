"""What a ledger amounts to: the state of every run and of the sweep, rebuilt from events."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from keepgain.core.errors import UserError
from keepgain.core.record import RungReport
from keepgain.core.status import FailureCause, Stage, TrialStatus
from keepgain.sweeps.search.ledger import (
    Asked,
    Event,
    Finished,
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
    reused_from: str | None = None

    @property
    def run_key(self) -> str:
        """Its name."""
        return self.asked.run_key

    @property
    def last_report(self) -> RungReport | None:
        """Of the highest rung reached; its checkpoint is where the run goes on."""
        return self.reports[-1] if self.reports else None


@dataclass(frozen=True)
class SweepState:
    """The sweep as the ledger knows it."""

    runs: dict[str, RunState] = field(default_factory=dict)
    """Run key → state, in the order in which the runs were first asked for."""
    stages: tuple[Stage, ...] = ()
    """Finished stages, in order."""
    openings: tuple[TestOpened, ...] = ()


def replay(events: Iterable[Event]) -> SweepState:
    """Rebuilds the state from the events.

    Raises:
        UserError: An event of a run that was never asked for.
    """
    runs: dict[str, RunState] = {}
    stages: list[Stage] = []
    openings: list[TestOpened] = []
    for event in events:
        apply(runs, event)
        if isinstance(event, StageFinished):
            stages.append(event.stage)
        elif isinstance(event, TestOpened):
            openings.append(event)
    return SweepState(runs, tuple(dict.fromkeys(stages)), tuple(openings))


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
        case Finished():
            run = _known(runs, event.run_key)
            runs[run.run_key] = replace(
                run, status=event.status, reason=event.reason, cause=event.cause
            )
        case Reused():
            run = _known(runs, event.run_key)
            runs[run.run_key] = replace(run, reused_from=event.sweep)
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
