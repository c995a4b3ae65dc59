"""The search within one base model: its Optuna study, its draws, and what is told of them."""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from keepgain.core.errors import UserError
from keepgain.core.identity import canonical_json, derive_seed
from keepgain.core.metrics import Direction
from keepgain.core.record import Origin
from keepgain.core.status import TrialStatus
from keepgain.sweeps.search.samplers import QuasiRandomPoints, SamplerName, make_sampler
from keepgain.sweeps.search.space import Space

QUASI_RANDOM_SHARE = 0.2
"""Least share of a base model's trials that are quasi-random, whatever the sampler: they cover the
space evenly."""
REPEATS_BEFORE_RANDOM = 10
"""Repeats in a row after which a sampler that goes in circles gives way to random draws."""
REPEATS_BEFORE_END = 100
"""Repeats in a row after which a base model counts as exhausted."""


@dataclass(frozen=True)
class Draw:
    """One configuration that was drawn for one base model."""

    model: str
    number: int
    """In the study of the base model, from 0, repeats included."""
    generation: int
    index: int
    """Within the generation of the base model, from 0, repeats included."""
    origin: Origin
    raw: dict[str, Any] = field(hash=False)
    """As suggested by Optuna."""
    params: dict[str, Any] = field(hash=False)
    """As `Space.resolve` made them."""
    repeats: int | None = None
    """Number of the earlier draw with equal `params`. Such a draw is neither to be run nor to be
    told: it takes the earlier one's result and no budget."""


@dataclass(frozen=True)
class Result:
    """What became of a draw."""

    status: TrialStatus
    """COMPLETED, PRUNED or FAILED."""
    values: tuple[float, ...] | None = None
    """One an objective, at the full budget; None where there is none."""
    constraints: Mapping[str, float] = field(default_factory=dict)
    """Feasible where <= 0."""
    truncated: bool = False
    """Measured before the full budget: never told as complete."""


@dataclass(frozen=True)
class Design:
    """How every base model is searched; two searches with equal designs draw alike."""

    space: Space
    objectives: dict[str, Direction]
    """Name → direction."""
    constraints: tuple[str, ...]
    models: tuple[str, ...]
    sampler: SamplerName
    seed: int
    trials_per_model: int
    """Different configurations."""
    generation_size: int
    """New draws of one base model in one generation."""

    @property
    def quasi_random(self) -> int:
        """How many draws of a base model are quasi-random, repeats apart."""
        share = math.ceil(QUASI_RANDOM_SHARE * self.trials_per_model)
        return min(self.trials_per_model, max(self.generation_size, share))

    def to_json(self) -> dict[str, Any]:
        """For the ledger and the study."""
        return {
            "space": self.space.identity,
            "objectives": self.objectives,
            "constraints": list(self.constraints),
            "models": list(self.models),
            "sampler": self.sampler,
            "seed": self.seed,
            "trials_per_model": self.trials_per_model,
            "generation_size": self.generation_size,
        }


def outcome(result: Result, objectives: Sequence[str], constraints: Sequence[str]) -> TrialState:
    """What Optuna is told of a result.

    COMPLETE: scored at the full budget, every value and constraint there and finite. PRUNED:
    stopped early, or measured before the full budget. FAIL: everything else.
    """
    if result.status is TrialStatus.PRUNED:
        return TrialState.PRUNED
    if result.status is not TrialStatus.COMPLETED:
        return TrialState.FAIL
    if result.truncated:
        return TrialState.PRUNED
    values = result.values or ()
    limits = [result.constraints.get(name, math.nan) for name in constraints]
    sound = len(values) == len(objectives) and all(map(math.isfinite, [*values, *limits]))
    return TrialState.COMPLETE if sound else TrialState.FAIL


class Stratum:
    """One base model's study. Draws are made one by one and told a generation at a time.

    Args:
        model: Name of the base model.
        design: Of the search.
        storage: Where the study is kept.
        study_name: `<sweep id>/<model>`.
    """

    def __init__(self, model: str, design: Design, storage: BaseStorage, study_name: str) -> None:
        self.model = model
        self.draws: list[Draw] = []
        self.wanted = 0
        """New draws still to be made in this generation."""
        self._design = design
        self._grid = design.space.grid_points()
        self._points = QuasiRandomPoints(
            design.space, derive_seed(design.seed, model, "quasi_random")
        )
        self._trials: list[optuna.Trial] = []
        self._results: dict[int, Result] = {}
        self._told = 0
        self._first_by_params: dict[str, int] = {}
        self._repeats_in_a_row = 0
        directions = list(design.objectives.values())
        self.study = optuna.create_study(
            storage=storage, study_name=study_name, directions=directions
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            self.study.set_metric_names(list(design.objectives))
        self.study.set_user_attr("search", design.to_json())

    @property
    def open(self) -> list[Draw]:
        """Draws that wait for a result."""
        untold = self.draws[self._told :]
        return [d for d in untold if d.repeats is None and d.number not in self._results]

    @property
    def has_untold(self) -> bool:
        """Whether draws are not yet told to Optuna."""
        return self._told < len(self.draws)

    @property
    def exhausted(self) -> bool:
        """Whether the space has, as far as one can see, no other configuration."""
        drawn = len(self._first_by_params)
        return drawn == self._grid or self._repeats_in_a_row >= REPEATS_BEFORE_END

    def plan(self) -> None:
        """Begins a generation."""
        left = self._design.trials_per_model - len(self._first_by_params)
        self.wanted = 0 if self.exhausted else min(self._design.generation_size, left)

    def draw(self, generation: int, recorded: Mapping[str, Any] | None = None) -> Draw:
        """Makes the next draw.

        Args:
            generation: The current one.
            recorded: Raw values of that draw from a ledger; None: draw it.
        """
        number = len(self.draws)
        index = sum(d.generation == generation for d in self.draws)
        origin: Origin = "sampler"
        if self._design.sampler == "quasi_random":
            origin = "quasi_random"
        elif len(self._first_by_params) < self._design.quasi_random:
            origin = "quasi_random"
        raw = recorded
        if raw is None and origin == "quasi_random":
            raw = self._points[number]
        trial = self._ask(derive_seed(self._design.seed, self.model, generation, index), raw)
        params = self._design.space(trial)
        trial.set_user_attr(
            "draw", {"generation": generation, "index": index, "origin": origin, "params": params}
        )
        earlier = self._first_by_params.get(canonical_json(params))
        raw = dict(trial.params)
        draw = Draw(self.model, number, generation, index, origin, raw, params, earlier)
        self._add(draw, trial)
        return draw

    def take(self, draw: Draw, result: Result) -> None:
        """Keeps a result until the generation is told."""
        self._results[draw.number] = result

    def tell_all(self, without_result: str | None = None) -> None:
        """Tells every untold draw, in order.

        Args:
            without_result: Why draws may lack a result: they are told FAIL and marked so.
        """
        for draw in self.draws[self._told :]:
            result = self._results.get(draw.number if draw.repeats is None else draw.repeats)
            if result is not None:
                self._tell(draw, result)
                continue
            assert without_result, "a generation is told when its results are there"
            self._trials[draw.number].set_user_attr("unfinished", without_result)
            self.study.tell(draw.number, state=TrialState.FAIL)
        self._told = len(self.draws)

    def _ask(self, seed: int, raw: Mapping[str, Any] | None) -> optuna.Trial:
        circles = self._repeats_in_a_row >= REPEATS_BEFORE_RANDOM
        name: SamplerName = "random" if circles else self._design.sampler
        self.study.sampler = make_sampler(
            name,
            seed=seed,
            objectives=len(self._design.objectives),
            parents=max(2, self._design.quasi_random // 2),
        )
        if raw is not None:
            self.study.enqueue_trial(dict(raw))
        trial = self.study.ask()
        if name == "nsga2":
            _ = trial.relative_params  # NSGA-II notes its generation here, for given values too
        return trial

    def _add(self, draw: Draw, trial: optuna.Trial) -> None:
        self.draws.append(draw)
        self._trials.append(trial)
        if draw.repeats is None:
            self._first_by_params[canonical_json(draw.params)] = draw.number
            self._repeats_in_a_row = 0
            self.wanted -= 1
        else:
            self._repeats_in_a_row += 1
        if self.exhausted:
            self.wanted = 0

    def _tell(self, draw: Draw, result: Result) -> None:
        state = outcome(result, tuple(self._design.objectives), self._design.constraints)
        if state is not TrialState.COMPLETE:
            self.study.tell(draw.number, state=state)
            return
        for name in self._design.constraints:
            self._trials[draw.number].set_constraint(name, result.constraints[name])
        self.study.tell(draw.number, result.values)


def check_record(asked_params: Mapping[str, Any], draw: Draw, raw: Mapping[str, Any]) -> None:
    """Refuses a recorded draw that this search would not have turned into the recorded settings.

    Raises:
        UserError: Settings or raw values differ.
    """
    if draw.params != dict(asked_params) or draw.raw != dict(raw):
        raise foreign_draw(draw.model, draw.number)


def foreign_draw(model: str, number: int | None) -> UserError:
    """For a record that does not fit the search."""
    return UserError(
        f"draw {number} of {model} in the ledger does not follow from this search.",
        hint="The ledger was changed, or lines are missing; restore it from a copy.",
    )
