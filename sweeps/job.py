"""A job: one thing for a worker to do, and which run of the sweep it is for."""

from dataclasses import dataclass
from typing import Literal

from keepgain.core.status import Stage
from keepgain.core.work import ScoreRequest, TrainRequest

Purpose = Literal["base", "reference", "search", "confirm", "test"]


@dataclass(frozen=True)
class Job:
    """One Tune trial."""

    run_key: str
    purpose: Purpose
    label: str
    """For progress lines."""
    request: TrainRequest | ScoreRequest

    @property
    def stage(self) -> Stage:
        """Reference arms belong to the base stage."""
        return Stage.BASE if self.purpose == "reference" else Stage(self.purpose)
