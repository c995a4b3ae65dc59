"""Key `judge` of a suite: a model behind an endpoint scores the answers, once they are there."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from keepgain.core.config import Share
from keepgain.core.schema import StrictModel

MIN_LABELS = 30
"""Fewer say next to nothing of agreement."""
MOST_STEPS = 100


class JudgeSpec(StrictModel):
    """Read by `sweep judge`; no part of the sweep's identity, and asked for by no training."""

    endpoint: str
    """Name of one of `endpoints`."""
    rubric: Annotated[str, Field(min_length=1, max_length=20_000)]
    """What makes an answer good, as you would tell it to a person."""
    scale: tuple[int, int] = (1, 5)
    """Lowest and highest score; whole numbers between them may be given."""
    pairs: Literal["base", "none"] = "none"
    """base: each answer is also compared with the base's, in both orders."""
    reference: bool = True
    """Show the judge the item's reference answer."""
    labels: str | None = None
    """JSON Lines of judgements by people: see docs/behaviour/judge.md."""
    min_agreement: Share = 0.6
    """Agreement with people that the low end of its interval must reach: Krippendorff's alpha of
    the scores, share of the same preference of pairs."""
    min_labels: Annotated[int, Field(ge=MIN_LABELS)] = MIN_LABELS
    """Labelled answers, or pairs, that are needed."""

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        low, high = self.scale
        if not 0 < high - low <= MOST_STEPS:
            raise ValueError(f"`scale` must ascend, by {MOST_STEPS} at most, e.g. [1, 5]")
        if not self.rubric.strip():
            raise ValueError("`rubric` is empty")
        return self
