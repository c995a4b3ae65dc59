"""How many trials of the search reach each rung: at least, as expected, and at most.

It follows from `search/rungs.py` without any result. At a rung the trials of a generation are
ranked with all trials of their base model that reached it so far; floor(keep × all of them) places
are good enough, and at least one trial of a generation goes on. Audit trials go on whatever their
rank, and hold the place that they rank at.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

MINIMUM = 1
"""Trials of a generation that go on at least: `RungPolicy.minimum`."""

_GoingOn = Callable[[int, int, int], int]
"""(trials that reached the rung, audits, all that reached it so far) → how many go on."""


@dataclass(frozen=True)
class Generation:
    """New trials of one base model in one generation."""

    trials: int
    audits: int


@dataclass(frozen=True)
class Reach:
    """Trials of one base model at each rung: [generation][rung]."""

    counts: tuple[tuple[int, ...], ...]

    @property
    def totals(self) -> tuple[int, ...]:
        """Over the generations."""
        return tuple(sum(column) for column in zip(*self.counts, strict=True))

    def amount(self, rungs: Sequence[int]) -> int:
        """What they train in all, in the unit of `rungs` (the amounts at which trials are scored):
        each step from one rung to the next is trained by those that reach its end."""
        steps = [b - a for a, b in zip((0, *rungs), rungs, strict=False)]
        return sum(n * step for n, step in zip(self.totals, steps, strict=True))


def ceiling(made: Sequence[Generation], rungs: int) -> Reach:
    """Every trial is trained to the end."""
    return Reach(tuple((g.trials,) * rungs for g in made))


def at_least(made: Sequence[Generation], rungs: int, keep: float) -> Reach:
    """Earlier generations hold as many places as they can, and the audits rank well."""

    def going_on(reached: int, audits: int, pool: int) -> int:
        places = math.floor(keep * pool + 1e-9) - (pool - reached)
        return min(reached, max(places, audits, MINIMUM))

    return _reach(made, rungs, going_on)


def at_most(made: Sequence[Generation], rungs: int, keep: float) -> Reach:
    """Every generation takes all places of all generations so far, and its audits rank badly."""

    def going_on(reached: int, audits: int, pool: int) -> int:
        return min(reached, max(math.floor(keep * pool + 1e-9), MINIMUM) + audits)

    return _reach(made, rungs, going_on)


def expected(made: Sequence[Generation], rungs: int, keep: float) -> Reach:
    """As many as if each generation were like those before it, and audits like other trials."""

    def going_on(reached: int, audits: int, pool: int) -> int:
        places = max(keep * reached, MINIMUM)
        return min(reached, round(places + audits * (1 - min(1.0, places / reached))))

    return _reach(made, rungs, going_on)


def _reach(made: Sequence[Generation], rungs: int, going_on: _GoingOn) -> Reach:
    pools = [0] * rungs
    counts = []
    for generation in made:
        row = [generation.trials]
        for rung in range(rungs - 1):
            pools[rung] += row[-1]
            row.append(going_on(row[-1], generation.audits, pools[rung]))
        counts.append(tuple(row))
    return Reach(tuple(counts))
