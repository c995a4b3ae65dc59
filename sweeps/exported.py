"""What is exported: which weights of which trial, and what is known of them."""

from dataclasses import dataclass
from typing import Any

from keepgain.core.record import RungReport
from keepgain.sweeps.iterate import Start
from keepgain.sweeps.refit import Refit
from keepgain.sweeps.search.replay import RunState


@dataclass(frozen=True)
class Exported:
    """The run whose weights are exported."""

    start: Start
    run: RunState
    test: RunState | None
    """The run's scoring on the test split."""
    merged: bool
    """An adapter, merged into its base."""
    refit: Refit | None = None
    """Weights of a training of their own."""

    @property
    def config(self) -> dict[str, Any]:
        """What the weights were trained by."""
        return self.run.asked.config if self.refit is None else self.refit.config.model_dump()

    @property
    def report(self) -> RungReport | None:
        """The last one of the training that made the weights."""
        return self.run.last_report if self.refit is None else self.refit.report

    @property
    def seed(self) -> int:
        """Of that training."""
        return self.run.asked.seed if self.refit is None else self.refit.seed

    def own_scores(self) -> dict[str, float]:
        """`SPLIT/SUITE` → score of these weights; a refit has none where it trained."""
        found = dict(self.report.metrics) if self.report else {}
        if self.refit is None and self.test is not None and self.test.last_report is not None:
            found |= self.test.last_report.metrics
        return found
