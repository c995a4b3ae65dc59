"""`question`, `reference_arms` and `prices` of `sweep.yaml`: what a sweep is to decide, what tuned
models are compared with, and what they cost."""

import math
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from keepgain.core.config import Count, NotNegative, Positive
from keepgain.core.guards import Guard, watched
from keepgain.core.metrics import COSTS, OBJECTIVES
from keepgain.core.record import Question
from keepgain.core.schema import StrictModel


class QuestionSpec(Question):
    """`core.record.Question`, checked."""

    delta: Annotated[float, Field(ge=0)] = 0.02
    max_forgetting: Annotated[float, Field(ge=0)] | None = None
    rescore_drop: NotNegative | None = None
    """Drop of the tuned score on newer items from which `sweep rescore` calls for a new sweep, in
    the suite's unit; default: `delta`. No part of the sweep's identity."""

    @field_validator("cost")
    @classmethod
    def _known_cost(cls, value: str) -> str:
        if value not in COSTS:
            raise ValueError(f"unknown cost; known: {', '.join(COSTS)}")
        return value

    @field_validator("guards")
    @classmethod
    def _named_guards(cls, value: dict[str, Guard]) -> dict[str, Guard]:
        for name in value:
            watched(name)
        return value

    @field_validator("reference_point", "weights", "max_cost")
    @classmethod
    def _known_names(cls, value: dict[str, float], info: ValidationInfo) -> dict[str, float]:
        known = COSTS if info.field_name == "max_cost" else (*OBJECTIVES, *COSTS)
        for name, number in value.items():
            if name not in known:
                raise ValueError(f"unknown name '{name}'; known: {', '.join(known)}")
            if not math.isfinite(number):
                raise ValueError(f"{name} must be a finite number")
            if info.field_name != "reference_point" and number < 0:
                raise ValueError(f"{name} must be at least 0")
            if info.field_name == "reference_point" and name in COSTS and number <= 0:
                raise ValueError(f"{name} must be above 0: a cost is measured by its logarithm")
        return value


class ReferenceArm(StrictModel):
    """What a team would do instead of fine-tuning; exactly one key."""

    system_prompt: str | None = None
    few_shot: Count | None = None
    """Number of worked examples, drawn from training rows of the task."""
    context: Literal[True] | None = None
    """Show the row's `context` field."""

    @model_validator(mode="after")
    def _one_kind(self) -> "ReferenceArm":
        if len(self.model_fields_set) != 1:
            raise ValueError("give exactly one of `system_prompt`, `few_shot`, `context`")
        return self


class PricesSpec(StrictModel):
    """What the user pays; never guessed."""

    gpu_hour_usd: Positive | None = None
