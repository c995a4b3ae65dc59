"""The files that raters send back: read, checked whole, and un-blinded."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from keepgain.core.errors import UserError
from keepgain.core.jsonl import read_records
from keepgain.core.review_record import Prefers
from keepgain.core.schema import StrictModel, parse
from keepgain.sweeps.review.bundle import Key

LOW, HIGH = 1, 5
"""Scores of the rubric."""


class Line(StrictModel):
    """One line of a rater's file."""

    export: str
    rater: str
    item: str
    """Id on the page."""
    preference: Literal["left", "tie", "right"]
    scores: dict[Literal["left", "right"], dict[str, int]] = {}
    partial: bool = False
    """The rater was not done."""


@dataclass(frozen=True)
class Rated:
    """What one rater said of one item, un-blinded."""

    rater: str
    item: str
    """Id on the page."""
    prefers: Prefers
    a: dict[str, int]
    """Rubric of a's answer."""
    b: dict[str, int]

    @property
    def value(self) -> float:
        """For a: a win 1, a tie 1/2."""
        return {"a": 1.0, "tie": 0.5, "b": 0.0}[self.prefers]


def read_ratings(paths: Sequence[Path], key: Key) -> tuple[Rated, ...]:
    """Reads the files of all raters: by rater as they come, then in the page's order.

    Raises:
        UserError: The first line that is no rating of this page, is the second one of an item by
            the same person, or lacks a score, as `file:line`; or a rater who has not rated every
            item.
    """
    found: dict[str, dict[str, tuple[Line, str]]] = {}
    for where, line in _lines(paths, key):
        mine = found.setdefault(line.rater, {})
        if line.item in mine:
            raise UserError(
                f"{line.rater} has rated item {line.item} at {mine[line.item][1]} already.",
                where=where,
                hint="Keep one of the two. Two people need two names.",
            )
        mine[line.item] = (line, where)
    if not found:
        raise UserError("no ratings.", where=", ".join(map(str, paths)))
    for rater, mine in found.items():
        if lacking := [i for i in key.items if i not in mine]:
            where = next(iter(mine.values()))[1].rpartition(":")[0]
            raise UserError(
                f"{rater} has not rated {len(lacking)} of {len(key.items)} items ({lacking[0]}"
                f"{', ...' if len(lacking) > 1 else ''}).",
                where=where,
                hint="The page goes on where they left it: ask for the whole file.",
            )
    return tuple(_unblinded(found[r][i][0], key) for r in found for i in key.items)


def _lines(paths: Sequence[Path], key: Key) -> Iterator[tuple[str, Line]]:
    for path in paths:
        for number, record in read_records(path):
            where = f"{path}:{number}"
            line = parse(Line, record, source=where)
            line = line.model_copy(update={"rater": " ".join(line.rater.split())})
            _check(line, key, where)
            yield where, line


def _check(line: Line, key: Key, where: str) -> None:
    if line.export != key.export:
        raise UserError(
            f"a rating of page {line.export[:40]}, and the key is that of page {key.export}.",
            where=where,
            hint="Give the files of one page, and its own key by --key.",
        )
    if not line.rater:
        raise UserError("the rater has no name.", where=where)
    if line.partial:
        raise UserError(
            f"{line.rater} was not done when this file was written.",
            where=where,
            hint="The page goes on where they left it: ask for the whole file.",
        )
    if line.item not in key.items:
        raise UserError(f"the page has no item '{line.item[:40]}'.", where=where)
    wanted = set(key.rubric)
    for side in ("left", "right"):
        given = line.scores.get(side, {})
        if set(given) != wanted:
            odd = ", ".join(sorted(set(given) ^ wanted))
            raise UserError(
                f"the rubric of the {side} answer does not fit ({odd[:80]}).",
                where=where,
                hint=f"It asks for: {', '.join(key.rubric) or 'nothing'}.",
            )
        for name, score in given.items():
            if not LOW <= score <= HIGH:
                raise UserError(
                    f"{name} of the {side} answer is {score}; allowed: {LOW} to {HIGH}.",
                    where=where,
                )


def _unblinded(line: Line, key: Key) -> Rated:
    left = key.items[line.item].left
    sides = {"left": left, "right": "b" if left == "a" else "a"}
    scores = {arm: line.scores.get(side, {}) for side, arm in sides.items()}  # type: ignore[call-overload]
    prefers: Prefers = "tie"
    if line.preference != "tie":
        prefers = "a" if sides[line.preference] == "a" else "b"
    return Rated(line.rater, line.item, prefers, scores["a"], scores["b"])
