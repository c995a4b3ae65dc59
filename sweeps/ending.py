"""Why a search ends before all its draws are made: a limit of the spec, or fronts that stand still.

Both follow from the ledger (and, for hours, from its clock), so that a continued sweep sees the
same; a limit that was raised in the meantime no longer counts, until the search stage is finished.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from keepgain.core.status import Stage, TrialStatus
from keepgain.sweeps.job import Job
from keepgain.sweeps.limits import Meter, Reached, reached, reserved_tokens
from keepgain.sweeps.prepare import Prepared
from keepgain.sweeps.results import Results
from keepgain.sweeps.search.replay import RunState
from keepgain.sweeps.spec_search import LimitsSpec
from keepgain.sweeps.stalled import Scored, why_stalled


@dataclass
class Ending:
    """Looks whether the search must end; once due, it stays so."""

    prepared: Prepared
    results: Results
    runs: Mapping[str, RunState]
    meter: Meter

    reason: str | None = field(default=None, init=False)
    """Why nothing more is drawn; None: the search goes on."""
    holds: bool = field(default=False, init=False)
    """Nor does any trial that waits go on."""
    _judged: int = field(default=0, init=False)
    """Generations after which the fronts were looked at."""

    def look(self, generations: int, live: Collection[Job], now: float | None) -> None:
        """Looks again.

        Args:
            generations: Complete ones.
            live: Jobs that run.
            now: The ledger's clock.
        """
        limits = self.prepared.spec.limits
        if limits != LimitsSpec() and not self.holds:
            found = self._reached(limits, live, now)
            if found is not None:
                self.reason, self.holds = str(found), found.name != "trials"
        rule = self.prepared.spec.search.stalled
        if rule is not None and self.reason is None and generations > self._judged:
            self._judged = generations
            self.reason = why_stalled(
                rule,
                self._scored(),
                [m.ref.name for m in self.prepared.models],
                generations,
                self.prepared.spec.question.max_forgetting,
            )

    def why_over(self, note: str, now: float | None) -> str | None:
        """What to say of a search that a limit had ended and that a raised limit would let go on.

        Args:
            note: Of the finished search stage.
        """
        if not note.startswith("limits.") or self._reached(self.prepared.spec.limits, (), now):
            return None
        return (
            f"the search was ended by {note}; its finalists are being confirmed, so a higher limit "
            "does not open it again. Under another name the sweep searches on and reuses what is "
            "trained"
        )

    def _reached(
        self, limits: LimitsSpec, live: Collection[Job], now: float | None
    ) -> Reached | None:
        """One that holds everything goes before one that ends the drawing alone."""
        spent = self.meter.search(now)
        price = self.prepared.spec.prices.gpu_hour_usd
        others = limits.model_copy(update={"trials": None})
        stops = self.prepared.spec.search.stopping.enabled
        reserved = reserved_tokens(live, self.runs, to_the_end=not stops)
        return reached(others, spent, gpu_hour_usd=price, reserved=reserved) or reached(
            limits, spent, gpu_hour_usd=price
        )

    def _scored(self) -> list[Scored]:
        return [
            Scored(run.asked.model, run.asked.generation or 0, found.values)
            for run in self.runs.values()
            if run.asked.stage is Stage.SEARCH
            and run.status is TrialStatus.COMPLETED
            and (found := self.results.objectives(run)) is not None
        ]
