"""Early stopping: training ends when the validation loss has not fallen for so many tokens.

The loss is measured before the first step and then whenever training passes a multiple of
`check_every_tokens`, so a resumed run measures where an uninterrupted one does; what it has to
improve on is kept in the run's progress.

The run's model is the one at which it stops, not the best one before (patience is how far the two
may lie apart): a rung only observes a run, and weights of an earlier step would be a second copy of
the model in every checkpoint. Under `wsd` and the other schedules a run that stops has not had the
decay at the end of its budget.
"""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

from keepgain.core.config import EarlyStopping
from keepgain.core.errors import TrialFailure
from keepgain.trainers.progress import Progress

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Watch:
    """Measures and decides; all it remembers is in the progress."""

    asked: EarlyStopping
    loss: Callable[[], float]
    """The validation loss now, in nats per token; collective."""

    def begin(self, progress: Progress) -> None:
        """Measures the untrained model, unless the run has begun already."""
        if progress.best_loss is None:
            progress.best_loss, progress.best_tokens = self._measure(progress), progress.tokens

    def look(self, progress: Progress, before: int, *, last: bool = False) -> float | None:
        """After a step: measures if it is due, and marks the run as stopped if it is over.

        Args:
            before: Tokens before the step.
            last: The budget ends with this step, so that there is nothing to stop.

        Returns:
            The loss, if it was measured.

        Raises:
            TrialFailure: `nan`, if it is not finite.
        """
        every = self.asked.check_every_tokens
        if before // every == progress.tokens // every:
            return None
        found = self._measure(progress)
        assert progress.best_loss is not None, "`begin` comes first"
        if found < progress.best_loss - self.asked.min_improvement:
            progress.best_loss, progress.best_tokens = found, progress.tokens
        elif progress.tokens - progress.best_tokens >= self.asked.patience_tokens and not last:
            progress.stopped_at = progress.tokens
            log.info("%s", said(progress))
        return found

    def _measure(self, progress: Progress) -> float:
        found = self.loss()
        if not math.isfinite(found):
            raise TrialFailure("nan", f"the validation loss is {found} at step {progress.step}")
        return found


def said(progress: Progress) -> str:
    """For the log and the report of a run that was stopped."""
    return (
        f"stopped early at {progress.stopped_at:,} tokens: the validation loss was lowest "
        f"({progress.best_loss:.4f} nats per token) at {progress.best_tokens:,}"
    )
