"""Guards: limits on a suite, a slice of it, or a class, that a decision may not cross.

A guard is named for what it watches: `SUITE`, `SUITE[field=value]`, or `recall[LABEL]`, which is
the mean score of the items whose answer is that label; a label with "=" stands in double quotes.
"""

import re
from dataclasses import dataclass
from typing import Self

from pydantic import model_validator

from keepgain.core.schema import StrictModel

ANSWER = "answer"
"""Slice by which items have their class, where a guard names one."""
RECALL = "recall"
_NAME = re.compile(r"([^\[\]]+)(?:\[(.+)\])?", re.DOTALL)
_OTHERS = ("precision", "f1", "specificity")


class Guard(StrictModel):
    """What has to hold of the raw mean score; several keys must all hold."""

    suite: str | None = None
    """Of `recall[LABEL]`, where several suites have labels; default: the one that measures gain."""
    max_increase: float | None = None
    """Of the tuned mean over the base's, in the suite's unit."""
    max_decrease: float | None = None
    """Of the tuned mean under the base's."""
    min: float | None = None
    """Of the tuned mean itself."""
    max: float | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.limits:
            raise ValueError("give at least one of `max_increase`, `max_decrease`, `min`, `max`")
        for name in ("max_increase", "max_decrease"):
            if (self.limits.get(name) or 0) < 0:
                raise ValueError(f"`{name}` must be at least 0")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("`min` is above `max`")
        return self

    @property
    def limits(self) -> dict[str, float]:
        """Key → its value, of those that are given."""
        names = ("max_increase", "max_decrease", "min", "max")
        return {n: v for n in names if (v := getattr(self, n)) is not None}


@dataclass(frozen=True)
class Watched:
    """What a guard's name says."""

    suite: str | None
    """None: of a class, whose suite stands in the guard or follows from the spec."""
    field: str | None = None
    """Of a slice; `ANSWER` for a class."""
    value: str | None = None

    @property
    def of_class(self) -> bool:
        """It is about the items with one answer."""
        return self.suite is None


def watched(name: str) -> Watched:
    """The parts of a guard's name.

    Raises:
        ValueError: It is none of the three forms.
    """
    found = _NAME.fullmatch(name)
    head, inner = (found[1], found[2]) if found else ("", None)
    if not head:
        raise ValueError(f"'{name}' is no SUITE, SUITE[field=value] or recall[LABEL]")
    if inner is None:
        return Watched(head)
    quoted = len(inner) > 2 and inner[0] == inner[-1] == '"'
    if head == RECALL and (quoted or "=" not in inner):
        return Watched(None, ANSWER, inner[1:-1] if quoted else inner)
    if head in _OTHERS and "=" not in inner:
        raise ValueError(
            f"'{name}': of a class only {RECALL}[LABEL] is known, since items are recorded with "
            "their score and their answer, not with what was predicted"
        )
    field, equals, value = inner.partition("=")
    if not (field and equals and value):
        raise ValueError(f"'{name}' is not {head}[field=value]")
    return Watched(head, field, value)


def suite_of(name: str, guard: Guard, gains: tuple[str, ...]) -> str | None:
    """The suite that a guard is about; None where it follows from nothing.

    Args:
        name: Of the guard.
        guard: Itself.
        gains: The suites that measure gain.
    """
    found = watched(name).suite
    if found is not None:
        return found
    return guard.suite or (gains[0] if len(gains) == 1 else None)
