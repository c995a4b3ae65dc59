"""A job: one thing for a worker to do, and which run of the sweep it is for."""

from dataclasses import dataclass, replace
from typing import Literal

from keepgain.core.record import RungReport
from keepgain.core.status import Stage
from keepgain.core.work import ScoreRequest, TrainRequest
from keepgain.sweeps.search.ledger import Asked

Purpose = Literal["base", "reference", "search", "confirm", "test"]


@dataclass(frozen=True)
class Execution:
    """Where and when a rung was carried out: what shows that trials ran side by side."""

    host: str
    pid: int
    """Of the training worker's process."""
    began: float
    """Seconds since 1970, of the host's clock; as `ended`."""
    ended: float


@dataclass(frozen=True)
class Job:
    """One Tune trial."""

    purpose: Purpose
    label: str
    """For progress lines."""
    asked: Asked
    """How the ledger records it."""
    request: TrainRequest | ScoreRequest

    @property
    def run_key(self) -> str:
        """Name of the run in the ledger."""
        return self.asked.run_key

    @property
    def stage(self) -> Stage:
        """Reference arms belong to the base stage."""
        return self.asked.stage

    @property
    def interpolate(self) -> tuple[float, ...]:
        """As of `TrainRequest`."""
        return self.request.interpolate if isinstance(self.request, TrainRequest) else ()

    def resumed(self, last: RungReport) -> "Job":
        """The job that goes on after rung `last`, or starts anew if that left no checkpoint."""
        assert isinstance(self.request, TrainRequest)
        if last.checkpoint is None:
            return self
        update = {"rung": last.rung + 1, "resume_from": last.checkpoint}
        return replace(self, request=self.request.model_copy(update=update))
