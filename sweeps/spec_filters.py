"""`data.SOURCE.filters`: which training rows of a source a trial may do without."""

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator, model_validator

from keepgain.core.config import Count
from keepgain.core.errors import UserError
from keepgain.core.schema import StrictModel
from keepgain.sweeps.search.searchable import FILTER, NO_FILTER

if TYPE_CHECKING:
    from keepgain.sweeps.search.space import Space
    from keepgain.sweeps.spec_sweep import SweepSpec

Fault = Literal[
    "duplicates",
    "near_duplicates",
    "label_conflicts",
    "label_errors",
    "personal_data",
    "broken",
]
"""What gates find of single rows: see `sweeps.filters`."""


class FilterSpec(StrictModel):
    """A named filter; a list stands for its `drop`."""

    drop: tuple[Fault, ...] = ()
    """Rows with one of these faults are left out."""
    min_words: Count | None = None
    max_words: Count | None = None
    """Of question and answer together."""

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, value: Any) -> Any:
        return {"drop": value} if isinstance(value, list | tuple) else value

    @model_validator(mode="after")
    def _something(self) -> "FilterSpec":
        if not self.drop and self.min_words is None and self.max_words is None:
            raise ValueError("a filter needs `drop`, `min_words` or `max_words`")
        if len(set(self.drop)) < len(self.drop):
            raise ValueError("must be different faults")
        if self.min_words and self.max_words and self.min_words > self.max_words:
            raise ValueError(f"min_words {self.min_words} is above max_words {self.max_words}")
        return self


class FilterKeys(StrictModel):
    """What `data.NAME` says of its filters."""

    filters: dict[str, FilterSpec] = Field(default_factory=dict)
    """Name → rows left out; `filter.SOURCE` in the space chooses one, or `none`."""

    @field_validator("filters")
    @classmethod
    def _names(cls, value: dict[str, FilterSpec]) -> dict[str, FilterSpec]:
        for name in value:
            if name == NO_FILTER:
                raise ValueError(f"'{NO_FILTER}' stands for all rows")
            if not name.replace("_", "").replace("-", "").isalnum() or not name.isascii():
                raise ValueError(f"the name '{name}' may have letters, digits, `_` and `-`")
        return value


def used_filters(space: "Space") -> list[tuple[str, str]]:
    """(source, filter) of all that trials may choose, `none` apart."""
    from keepgain.sweeps.search.dimensions import ends

    return [
        (p.name.removeprefix(f"{FILTER}."), name)
        for p in space.parameters
        if p.name.startswith(f"{FILTER}.")
        for name in ends(p.dimension)
        if name != NO_FILTER
    ]


def refuse_wrong_filters(spec: "SweepSpec", space: "Space") -> None:
    """Refuses filters that a source does not have, and filters of answers yet to be written.

    Raises:
        UserError: With the key as its place.
    """
    for name, source in spec.data.items():
        if source.filters and source.answers == "base":
            raise UserError(
                "filters look at the rows, and each base model is yet to answer these.",
                where=f"data.{name}.filters",
                hint="Leave them out.",
            )
    for name, chosen in used_filters(space):
        known = (NO_FILTER, *spec.data[name].filters)
        if chosen not in known:
            raise UserError(
                f"the source '{name}' has no filter '{chosen}'.",
                where=f"space.{FILTER}.{name}",
                hint=f"Known: {', '.join(known)}; others are defined under data.{name}.filters.",
            )
