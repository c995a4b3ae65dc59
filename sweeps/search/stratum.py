"""The search within one base model: where its draws come from, repeats, and when they are told."""

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.storages import BaseStorage

from keepgain.core.identity import canonical_json, derive_seed
from keepgain.core.record import Origin
from keepgain.sweeps.search.design import Design
from keepgain.sweeps.search.draws import (
    Draw,
    Result,
    RungResult,
    is_sound,
    outcome,
)
from keepgain.sweeps.search.given import raw_of
from keepgain.sweeps.search.ledger import Learned
from keepgain.sweeps.search.points import QuasiRandomPoints, grid_points
from keepgain.sweeps.search.studies import Studies

__all__ = ["Design", "Draw", "Result", "RungResult", "Stratum", "outcome"]

REPEATS_BEFORE_HELP = 10
"""Repeats in a row after which a sampler that goes in circles gives way: to the points of the grid
that are left, or to random draws where the space is continuous."""
REPEATS_BEFORE_END = 100
"""Repeats in a row after which a base model counts as exhausted."""


class Stratum:
    """One base model. Draws are made one by one; results are kept until they are to be told.

    Args:
        model: Name of the base model.
        design: Of the search.
        storage: Where its studies are kept.
        prefix: The sweep's id.
    """

    def __init__(self, model: str, design: Design, storage: BaseStorage, prefix: str) -> None:
        self.model = model
        self.draws: list[Draw] = []
        self.wanted = 0
        """New draws still to be made in this generation, extra ones apart."""
        self._design = design
        self._studies = Studies(model, design, storage, prefix)
        self._quasi = QuasiRandomPoints(
            design.space, derive_seed(design.seed, model, "quasi_random")
        )
        self._size = design.space.grid_points()
        self._left: list[dict[str, Any]] | None = None
        """Points of the grid that were not drawn when last looked at, the next one last."""
        self._list = [raw_of(design.space, c) for c in reversed(design.configs)]
        self._spent = 0
        self._quasi_position = 0
        self._quasi_drawn = 0
        """New draws that were quasi-random."""
        self._repeats_in_a_row = 0
        self._first_by_params: dict[str, int] = {}
        self._in_generation = (0, 0)
        """The generation of the last draw, and how many draws it has."""
        self._results: dict[int, Result] = {}
        self._untold: dict[int, Draw] = {}

    @property
    def study(self) -> optuna.Study:
        """Results at the full budget, to read."""
        return self._studies.full

    @property
    def fitted_rung(self) -> int:
        """The rung whose results the sampler is fitted on now."""
        return self._studies.fitted_rung

    @property
    def open(self) -> list[Draw]:
        """Draws that wait for a result."""
        untold = self._untold.values()
        return [d for d in untold if d.repeats is None and d.number not in self._results]

    @property
    def has_untold(self) -> bool:
        """Whether draws are not yet told to Optuna."""
        return bool(self._untold)

    @property
    def progress(self) -> float:
        """Share of the budget that is drawn when half of the next draw is."""
        return (self._spent + 0.5) / self._design.trials[self.model]

    @property
    def has_budget(self) -> bool:
        """Whether new draws are left, of this generation or a later one."""
        return not self.exhausted and self._spent < self._design.trials[self.model]

    @property
    def exhausted(self) -> bool:
        """Whether there is, as far as one can see, no other configuration."""
        if self._design.sampler == "list":
            return not self._list
        drawn = len(self._first_by_params)
        return drawn == self._size or self._repeats_in_a_row >= REPEATS_BEFORE_END

    def plan(self, generation: int) -> None:
        """Begins a generation."""
        due = self._design.due(self.model, generation) - self._spent
        self.wanted = 0 if self.exhausted else max(0, due)

    def learn(self, known: Learned, raw: Mapping[str, Any]) -> bool:
        """Takes a finished trial of another sweep; False if something is missing in it."""
        names, limits = tuple(self._design.objectives), self._design.constraints
        if not is_sound(known.values, known.constraints, names, limits):
            return False
        self._studies.learn(known, raw)
        return True

    def draw(
        self,
        generation: int,
        *,
        extra: Mapping[str, Any] | None = None,
        recorded: Mapping[str, Any] | None = None,
    ) -> Draw:
        """Makes the next draw.

        Args:
            generation: The current one.
            extra: Raw values of a draw beyond the budget.
            recorded: Raw values of that draw from a ledger.
        """
        number = len(self.draws)
        current, index = self._in_generation
        index = index if current == generation else 0
        self._in_generation = (generation, index + 1)
        origin: Origin
        origin, point = ("list", dict(extra)) if extra is not None else self._next_point()
        help_needed = self._is_stuck and point is None
        raw, params = self._studies.ask(
            derive_seed(self._design.seed, self.model, generation, index),
            point if recorded is None else recorded,
            "random" if help_needed else None,
        )
        self._studies.describe(
            number, {"generation": generation, "index": index, "origin": origin, "params": params}
        )
        earlier = self._first_by_params.get(canonical_json(params))
        draw = Draw(self.model, number, generation, index, origin, raw, params, earlier)
        self._add(draw, is_extra=extra is not None)
        return draw

    def take(self, draw: Draw, result: Result) -> None:
        """Keeps a result until `tell_known`."""
        self._results[draw.number] = result

    def tell_known(self) -> None:
        """Tells, in the order of the draws, all that have a result now; repeats take theirs."""
        for draw in list(self._untold.values()):
            result = self._results.get(draw.number if draw.repeats is None else draw.repeats)
            if result is not None:
                self._studies.tell(draw.number, result)
                del self._untold[draw.number]

    def abandon(self, why: str) -> None:
        """Tells FAIL of every draw that waits for a result."""
        for number in self._untold:
            self._studies.abandon(number, why)
        self._untold = {}

    def _next_point(self) -> tuple[Origin, dict[str, Any] | None]:
        """Where the next draw comes from, and its raw values unless a sampler draws them."""
        if self._design.sampler == "list":
            return "list", self._list.pop()
        if self._is_stuck or (self._design.sampler == "grid" and not self._wants_quasi_random):
            return "sampler", self._next_of_grid()
        if self._wants_quasi_random:
            self._quasi_position += 1
            return "quasi_random", self._quasi[self._quasi_position - 1]
        return "sampler", None

    @property
    def _is_stuck(self) -> bool:
        return self._repeats_in_a_row >= REPEATS_BEFORE_HELP

    @property
    def _wants_quasi_random(self) -> bool:
        enough = self._quasi_drawn >= self._design.quasi_random(self.model)
        return self._design.sampler == "quasi_random" or not enough

    def _next_of_grid(self) -> dict[str, Any] | None:
        """The next point that was not drawn; None where none is left or the space is no grid."""
        if self._left is None:
            seed = derive_seed(self._design.seed, self.model, "grid")
            self._left = grid_points(self._design.space, seed)[::-1]
        while self._left:
            raw = self._left.pop()
            if canonical_json(self._design.space.resolve(raw)) not in self._first_by_params:
                return raw
        return None

    def _add(self, draw: Draw, *, is_extra: bool) -> None:
        self.draws.append(draw)
        self._untold[draw.number] = draw
        is_new = draw.repeats is None
        if is_new:
            self._first_by_params[canonical_json(draw.params)] = draw.number
        if not is_extra:
            self._repeats_in_a_row = 0 if is_new else self._repeats_in_a_row + 1
            self._spent += is_new
            self.wanted -= is_new
            self._quasi_drawn += is_new and draw.origin == "quasi_random"
        if self.exhausted:
            self.wanted = 0
