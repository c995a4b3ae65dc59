"""Canaries: made-up secrets that are planted among training rows, and controls that are not.

How much likelier a tuned model finds a planted one than the controls is its exposure: log2 of the
number of possible codes minus log2 of the canary's rank among them, estimated from the controls
(Carlini et al. 2019, "The Secret Sharer", section 4). Few controls bound what can be seen: with 40
the rank is known to log2(41) = 5.4 bits. The figures are in `analysis.behaviour.exposure`.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from keepgain.core.canaries import MIN_CONTROLS, REPEATS
from keepgain.core.errors import UserError

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
    validation: tuple[dict[str, Any], ...]
    """Items to score: every other canary of each number of repeats, once, and half of the
    controls."""
    test: tuple[dict[str, Any], ...]
    """The others."""


def draw_canaries(count: int, repeats: Sequence[int], controls: int, seed: int) -> Canaries:
    """Names and codes drawn at random, equal for equal arguments; no two share a name.

    Args:
        count: Canaries.
        repeats: How often they stand in the file: the first number is of the first canary, and so
            on, and again from the first number.
        controls: Drawn as the canaries are, and never trained on; each split gets half of them.
        seed: Of the draws.

    Raises:
        UserError: A number that is too small or too large.
    """
    if not 1 <= count <= MAX_CANARIES:
        raise UserError(f"{count} canaries; allowed are 1 to {MAX_CANARIES:,}.")
    if not repeats or min(repeats) < 1 or max(repeats) > 1_000:
        raise UserError("canaries are repeated 1 to 1,000 times each, e.g. --repeats 1,4,16.")
    if not 2 * MIN_CONTROLS <= controls <= 10 * MAX_CANARIES:
        raise UserError(
            f"{controls} controls; allowed are {2 * MIN_CONTROLS} to {10 * MAX_CANARIES:,}.",
            hint="Validation and test get half of them each, and with fewer than "
            f"{MIN_CONTROLS} an exposure is known to within some bits only.",
        )
    drawn = _codes(count + controls, seed)
    planted = [
        {**_row(index, name, code), REPEATS: times}
        for index, (name, code) in enumerate(drawn[:count])
        for times in [repeats[index % len(repeats)]] * repeats[index % len(repeats)]
    ]
    others = [
        {**_row(index, name, code), REPEATS: 0}
        for index, (name, code) in enumerate(drawn[count:], count)
    ]
    once = list({row["prompt"]: row for row in planted}.values())
    halves: list[list[dict[str, Any]]] = [[], []]
    for index, row in enumerate(once):
        # Canaries are dealt their repeats in turn: a round of all numbers goes to one half.
        halves[index // len(repeats) % 2].append(_item(row))
    for index, row in enumerate(others):
        halves[index % 2].append(_item(row))
    return Canaries(
        planted=tuple(_numbered("canaries", planted)),
        controls=tuple(_numbered("canary_controls", others)),
        validation=tuple(_numbered("canary_validation", halves[0])),
        test=tuple(_numbered("canary_test", halves[1])),
    )


def _item(row: dict[str, Any]) -> dict[str, Any]:
    """Without its group: one of a single item each would be taken for a slice."""
    return {name: value for name, value in row.items() if name != "group"}


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
