"""What makes an item a canary or a control, and how many controls a rank among them needs."""

from collections.abc import Sequence

from keepgain.core.rows import Row
from keepgain.core.scorer_options import ScorerOptions

REPEATS = "repeats"
"""Key of an item: how often the canary stands among the training rows; 0 of a control."""
MIN_CONTROLS = 40
"""With 40 a rank is known to log2(41) = 5.4 bits; with 10 a mean exposure is known to 0.9 bits."""


def canary_fault(row: Row, _: ScorerOptions | None) -> str | None:
    """An item must say how often it was planted, and have a code."""
    repeats = row.fact(REPEATS)
    if not isinstance(repeats, int) or isinstance(repeats, bool) or repeats < 0:
        given = "nothing" if repeats is None else repr(repeats)
        return f"`{REPEATS}` is {given:.40}; allowed is how often it is planted, 0 of a control."
    return None if row.answer else "the answer is empty; a canary's code stands there."


def controls_fault(rows: Sequence[Row]) -> str | None:
    """Of one split: too few controls, or nothing planted."""
    controls = sum(row.fact(REPEATS) == 0 for row in rows)
    if controls < MIN_CONTROLS:
        return (
            f"{controls} of its {len(rows)} items are controls (`{REPEATS}: 0`), and at least "
            f"{MIN_CONTROLS} are needed in each of validation and test"
        )
    return None if controls < len(rows) else "all of its items are controls: nothing is planted"
