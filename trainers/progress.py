"""How far a run is, in numbers that a checkpoint keeps as JSON."""

from dataclasses import asdict, dataclass, field
from typing import Any

from keepgain.core.config import TrialConfig


@dataclass
class Progress:
    """Counters from the start of the run, over all its rungs and processes."""

    step: int = 0
    tokens: int = 0
    """Unpadded tokens of all rows, prompts and replay included."""
    loss_tokens: int = 0
    examples: int = 0
    truncated: int = 0
    """Rows drawn that were cut to `max_length`."""
    train_seconds: float = 0.0
    last_loss: float = 0.0
    """Mean answer loss in nats per token at the last point of the curve."""
    group_weights: dict[str, float] = field(default_factory=dict)
    """Of group DRO: group -> weight, summing to 1."""

    best_loss: float | None = None
    """Validation loss that the next one has to improve on, in nats per token; early stopping."""
    best_tokens: int = 0
    """Tokens at which it was measured."""
    stopped_at: int | None = None
    """Tokens at which early stopping ended the training."""

    def spent(self, config: TrialConfig) -> int:
        """What counts against the budget, in its unit."""
        return self.tokens if config.budget_unit == "tokens" else self.examples

    def to_json(self) -> dict[str, Any]:
        """All fields."""
        return asdict(self)
