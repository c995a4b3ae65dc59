"""What `sweep import` is told about a table: which column is what."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from keepgain.core.errors import UserError
from keepgain.core.metrics import Direction
from keepgain.core.record import GivenObjective

Duplicates = Literal["newest", "replicates"]

_OBJECTIVE = re.compile(r"(.+?):(max|min)(?::(.+))?", re.DOTALL)
_DIRECTIONS: dict[str, Direction] = {"max": "maximize", "min": "minimize"}


@dataclass(frozen=True)
class Columns:
    """The columns of a table by what they are; paths as of `paths`."""

    label: str
    objectives: tuple[GivenObjective, ...]
    model: str | None = None
    cost: str | None = None
    errors: Mapping[str, str] = field(default_factory=dict)
    """Objective → the column of its standard errors."""
    n: int | str | None = None
    """Items behind the figures of every row, or the column that says so."""
    where: tuple[tuple[str, str], ...] = ()
    """(column, value) that rows must have, all of them."""


def columns_of(
    *,
    label: str,
    objectives: Sequence[str],
    model: str | None = None,
    cost: str | None = None,
    errors: Sequence[str] = (),
    n: str | None = None,
    where: Sequence[str] = (),
) -> Columns:
    """Parses the options of the command line.

    Raises:
        UserError: An objective, a standard error or a condition that is not written as it must be,
            an objective named twice, or a standard error of no objective.
    """
    declared = tuple(parse_objective(text) for text in objectives)
    names = [o.name for o in declared]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"the objective '{twice}' is named twice.", where="--objective")
    of: dict[str, str] = {}
    for text in errors:
        # An objective's own name may hold `=`: the longest that fits is meant.
        fitting = [name for name in names if text.startswith(f"{name}=")]
        name = max(fitting, key=len, default=None)
        if name is None or text == f"{name}=":
            raise UserError(
                f"'{text}' is not OBJECTIVE=COLUMN with one of the objectives.",
                where="--se",
                hint=f"Objectives: {', '.join(names)}.",
            )
        if name in of:
            raise UserError(f"two columns of standard errors for '{name}'.", where="--se")
        of[name] = text[len(name) + 1 :]
    return Columns(label, declared, model, cost, of, _items(n), tuple(map(_condition, where)))


def parse_objective(text: str) -> GivenObjective:
    """`COLUMN:max` or `COLUMN:min`, and after another colon the unit: `loss:min:nats/token`.

    A column may hold colons; the first `:max` or `:min` that is followed by a colon or by nothing
    ends it.

    Raises:
        UserError: It is not written so.
    """
    match = _OBJECTIVE.fullmatch(text)
    if match is None or not match[1].strip():
        raise UserError(
            f"'{text}' does not say which way is better.",
            where="--objective",
            hint="Write COLUMN:max or COLUMN:min, and the unit after it if you like: "
            "accuracy:max:share, 'eval loss:min:nats/token'.",
        )
    return GivenObjective(name=match[1], direction=_DIRECTIONS[match[2]], unit=match[3] or "")


def _items(text: str | None) -> int | str | None:
    """A number, else the name of a column."""
    if text is None or not text.strip().removeprefix("-").isdecimal():
        return text
    count = int(text)
    if count < 2:
        raise UserError(f"{count} items give no standard error; at least 2.", where="--n")
    return count


def _condition(text: str) -> tuple[str, str]:
    column, equals, value = text.partition("=")
    if not equals or not column:
        raise UserError(
            f"'{text}' is not COLUMN=VALUE.", where="--where", hint="Such as state=finished."
        )
    return column, value
