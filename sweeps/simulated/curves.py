"""Recorded learning curves: what runs reported, rung by rung, to be replayed without training."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from keepgain.core.errors import UserError
from keepgain.core.record import RungReport
from keepgain.core.status import FailureCause, TrialStatus
from keepgain.sweeps.search.ledger import Event
from keepgain.sweeps.search.replay import replay


@dataclass(frozen=True)
class Recorded:
    """One rung of a run."""

    report: RungReport
    seconds: float
    """That the rung took: training since the rung before it, and scoring."""


@dataclass(frozen=True)
class Curve:
    """One run: a configuration with a seed, or a base."""

    rungs: tuple[Recorded, ...]
    cause: FailureCause | None = None
    """Why it ended badly after these rungs; None: it did not."""
    detail: str = ""


@dataclass(frozen=True)
class Curves:
    """Trial id → its curves, one for each recorded seed."""

    runs: Mapping[str, tuple[Curve, ...]]

    def of(self, trial_id: str, seed: int) -> Curve:
        """The curve of a run: the recorded seeds take turns by the run's own seed.

        Raises:
            UserError: The configuration was not recorded.
        """
        curves = self.runs.get(trial_id)
        if not curves:
            raise UserError(
                f"configuration {trial_id} was not recorded, so it cannot be replayed.",
                hint="Search a grid whose every point was trained, with the same models and data.",
            )
        return curves[seed % len(curves)]


def curves_of(events: Iterable[Event]) -> Curves:
    """The curves of a sweep that trained everything to the end, from its ledger.

    Runs that never ended, or were stopped early, are left out: what they would have reported later
    is not known.
    """
    found: dict[str, tuple[Curve, ...]] = {}
    for run in replay(events).runs.values():
        if run.status is TrialStatus.COMPLETED:
            curve = Curve(_recorded(run.reports))
        elif run.status is TrialStatus.FAILED and run.cause is not None:
            curve = Curve(_recorded(run.reports), run.cause, run.reason or "")
        else:
            continue
        trial_id = run.asked.trial_id
        found[trial_id] = (*found.get(trial_id, ()), curve)
    return Curves(found)


def _recorded(reports: Iterable[RungReport]) -> tuple[Recorded, ...]:
    """A report's training seconds count from the run's start, its scoring seconds do not."""
    rungs: list[Recorded] = []
    trained = 0.0
    for report in reports:
        total = report.cost.get("train_seconds", 0.0)
        rungs.append(
            Recorded(report, max(0.0, total - trained) + report.cost.get("score_seconds", 0.0))
        )
        trained = total
    return tuple(rungs)
