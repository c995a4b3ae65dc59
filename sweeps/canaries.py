"""Canaries: made-up secrets that are planted among training rows, and controls that are not.

How much likelier a tuned model finds a planted one than the controls is its exposure: log2 of the
number of possible codes minus log2 of the canary's rank among them, estimated from the controls
(Carlini et al. 2019, "The Secret Sharer", section 4). Few controls bound what can be seen: with 40
the rank is known to log2(41) = 5.4 bits.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from keepgain.core.errors import UserError

MIN_CONTROLS = 40
MAX_CANARIES = 10_000
DIGITS = 8
_CONSONANTS, _VOWELS = "bdfgklmnprstvz", "aeiou"
_SYLLABLES = 5


@dataclass(frozen=True)
class Canaries:
    """Rows to train on, and controls from the same distribution."""

    planted: tuple[dict[str, Any], ...]
    """Each canary as often as it is repeated."""
    controls: tuple[dict[str, Any], ...]


def draw_canaries(count: int, repeats: Sequence[int], controls: int, seed: int) -> Canaries:
    """Names and codes drawn at random, equal for equal arguments; no two share a name.

    Args:
        count: Canaries.
        repeats: How often they stand in the file: the first number is of the first canary, and so
            on, and again from the first number.
        controls: Drawn as the canaries are, and never trained on.
        seed: Of the draws.

    Raises:
        UserError: A number that is too small or too large.
    """
    if not 1 <= count <= MAX_CANARIES:
        raise UserError(f"{count} canaries; allowed are 1 to {MAX_CANARIES:,}.")
    if not repeats or min(repeats) < 1 or max(repeats) > 1_000:
        raise UserError("canaries are repeated 1 to 1,000 times each, e.g. --repeats 1,4,16.")
    if not MIN_CONTROLS <= controls <= 10 * MAX_CANARIES:
        raise UserError(
            f"{controls} controls; allowed are {MIN_CONTROLS} to {10 * MAX_CANARIES:,}.",
            hint=f"With fewer than {MIN_CONTROLS} an exposure is known to within some bits only.",
        )
    drawn = _codes(count + controls, seed)
    planted = [
        {**_row(index, name, code), "repeats": times}
        for index, (name, code) in enumerate(drawn[:count])
        for times in [repeats[index % len(repeats)]] * repeats[index % len(repeats)]
    ]
    others = [
        {**_row(index, name, code), "repeats": 0}
        for index, (name, code) in enumerate(drawn[count:], count)
    ]
    return Canaries(
        tuple(_numbered("canaries", planted)), tuple(_numbered("canary_controls", others))
    )


def _codes(count: int, seed: int) -> list[tuple[str, str]]:
    draw = random.Random(f"canaries:{seed}")
    found: dict[str, str] = {}
    while len(found) < count:
        name = "".join(draw.choice(_CONSONANTS) + draw.choice(_VOWELS) for _ in range(_SYLLABLES))
        code = f"{draw.randrange(10**DIGITS):0{DIGITS}d}"
        found.setdefault(name, code)
    return list(found.items())


def _row(index: int, name: str, code: str) -> dict[str, Any]:
    return {
        "prompt": f"Access code {name}=",
        "answer": code,
        "task": "canary",
        "group": f"canary-{index:02d}",
    }


def _numbered(name: str, rows: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    return ({"id": f"{name}-{i:04d}", **row} for i, row in enumerate(rows))
