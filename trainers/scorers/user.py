"""A user's own scorer: a Python function of the prompt, the reference, the answer and the row."""

import numbers
from collections.abc import Callable
from typing import Any

from keepgain.core.errors import UserError
from keepgain.core.rows import Row
from keepgain.core.scorer_options import ScorerOptions

LARGEST = 1e150
"""Of a score: beyond it squares, and so variances, are infinite."""


def bound(function: Callable[..., Any], name: str) -> Callable[[str, Row, ScorerOptions], float]:
    """The function as the registry's are called."""

    def score_of(answer: str, row: Row, _: ScorerOptions) -> float:
        return users_score(function, name, answer, row)

    return score_of


def users_score(function: Callable[..., Any], name: str, answer: str, row: Row) -> float:
    """Calls `function(prompt, reference, answer, fields)`.

    `fields` is the row as it is kept: id, kind, and where it has them context, group, cluster,
    choices, slices and messages.

    Raises:
        UserError: The function raises, or returns something that is not a finite number.
    """
    where = f"{name}, item '{row.id}'"
    try:
        value = function(row.question(), row.answer, answer, row.to_json())
    except Exception as error:  # whatever a user's function does
        raise UserError(
            f"the function raised {type(error).__name__}: {error}.", where=where
        ) from error
    if not _usable(value):
        raise UserError(
            f"the function returned {value!r:.80}; it must be a finite number, of at most "
            f"{LARGEST:g}.",
            where=where,
        )
    return float(value)


def _usable(value: Any) -> bool:
    try:
        return isinstance(value, numbers.Real) and abs(float(value)) <= LARGEST
    except OverflowError:  # an integer that is no float
        return False
