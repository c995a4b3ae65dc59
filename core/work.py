"""Requests to a training worker and its replies: one JSON object a line, both ways.

A worker is a process of its own. It may hold the model of the run that it served last; a request
for the next rung of the same run then goes on from memory, and must give the same figures as one
that starts from the checkpoint.
"""

from typing import Literal

from keepgain.core.config import ScoreConfig, TrialConfig, run_key
from keepgain.core.record import RungReport
from keepgain.core.schema import StrictModel
from keepgain.core.status import FailureCause


class TrainRequest(StrictModel):
    """Train `config` with `seed` to the end of rung `rung`, score its suites, report."""

    op: Literal["train"] = "train"
    config: TrialConfig
    seed: int
    rung: int
    """Index in `config.rungs` to train to."""
    resume_from: str | None = None
    """Checkpoint of an earlier rung, as reports name it (`core.publish.located`)."""
    sweep_folder: str
    """Absolute; outputs go to `runs/<run key>/` below it, the spool is `spool/` below it."""
    keep_checkpoint: bool = True
    """Write a checkpoint from which the run can continue (not needed after the last rung)."""
    checkpoints: str | None = None
    """Folder or URL that has the checkpoints of this sweep's runs; None: the runs' own folders."""
    keep_model: bool = False
    """At the last rung, write the tuned weights as an ordinary folder for later scoring."""
    interpolate: tuple[float, ...] = ()
    """At the last rung, score the model at these shares of the way from its base too."""
    out_of_memory: str | None = None
    """What one attempt with larger micro-batches said, which ran out of memory."""

    @property
    def run_key(self) -> str:
        """See `core.config.run_key`."""
        return run_key(self.config.trial_id, self.seed)

    @property
    def checkpoint_base(self) -> str:
        """What has the run's checkpoints, as `core.publish.located` reads it."""
        return f"{self.checkpoints or 'runs'}/{self.run_key}"


class ScoreRequest(StrictModel):
    """Score a model on suites without training it."""

    op: Literal["score"] = "score"
    config: ScoreConfig
    report_as: str
    """Run key that the scores belong to: a base or reference arm's own, or the run tested."""
    sweep_folder: str

    @property
    def run_key(self) -> str:
        """The run that the scores belong to."""
        return self.report_as


class WorkReply(StrictModel):
    """Exactly one of `report` and `cause` is set."""

    report: RungReport | None = None
    cause: FailureCause | None = None
    detail: str | None = None
    smaller_micro_batch: int | None = None
    """Rows of a micro-batch that may fit, where memory ran out in a training step."""
