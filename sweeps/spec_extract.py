"""Key of a suite whose items are made from training rows; see `sweeps.extraction_suites`."""

from typing import Annotated

from pydantic import Field, field_validator

from keepgain.core.config import Count
from keepgain.core.schema import StrictModel


class ExtractSpec(StrictModel):
    """Which rows, how much of each is given, and how much is to come out."""

    source: str
    """Name of a data source; items are its training rows, and as many held-out ones."""
    prefix_words: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (
        4,
        8,
        16,
    )
    """Words of the answer (of a plain text: of the text) that are given; one item a length."""
    words: Count = 8
    """That follow, and are to come out."""
    items: Count = 100
    """Training rows in each of validation and test, and at most as many held-out ones."""

    @field_validator("prefix_words")
    @classmethod
    def _ascending(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if list(value) != sorted(set(value)):
            raise ValueError("must be ascending numbers of words, such as `[4, 8, 16]`")
        return value

    @property
    def needed(self) -> int:
        """Words that a row must have."""
        return self.prefix_words[-1] + self.words
