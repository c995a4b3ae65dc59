"""`review` of a sweep: what people are asked of two answers. It is no part of any identity."""

import re
from typing import Annotated

from pydantic import Field, field_validator

from keepgain.core.schema import StrictModel

MAX_RUBRIC = 9
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")


class ReviewSpec(StrictModel):
    """The page that people fill in, beside the one question which answer is better."""

    rubric: Annotated[dict[str, str], Field(max_length=MAX_RUBRIC)] = Field(default_factory=dict)
    """Name → question that is answered of each of the two answers, from 1 (worst) to 5."""
    instructions: str = ""
    """Shown above every item: what makes an answer better."""
    show_reference: bool = False
    """The item's reference answer is shown below the question."""

    @field_validator("rubric")
    @classmethod
    def _asks(cls, value: dict[str, str]) -> dict[str, str]:
        for name, question in value.items():
            if not _NAME.fullmatch(name):
                raise ValueError(
                    f"the name '{name}' must begin with a letter and have at most 40 of A-Z a-z "
                    "0-9 _ -"
                )
            if not question.strip():
                raise ValueError(f"'{name}' needs a question")
        return value
