"""How a search is made: everything that its draws follow from, apart from results."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from keepgain.core.errors import UserError
from keepgain.core.metrics import Direction
from keepgain.sweeps.search.space import Space
from keepgain.sweeps.spec_search import SamplerName

Mode = Literal["generations", "async"]

QUASI_RANDOM_SHARE = 0.2
"""Least share of a base model's trials that are quasi-random, whatever the sampler: they cover the
space evenly. A list of configurations has none."""


@dataclass(frozen=True)
class Design:
    """How every base model is searched; two searches with equal designs draw alike."""

    space: Space
    objectives: dict[str, Direction]
    """Name → direction."""
    constraints: tuple[str, ...]
    trials: dict[str, int]
    """Base model → different configurations."""
    sampler: SamplerName
    seed: int
    mode: Mode
    generation_size: int
    """New draws of one generation for the base model with most trials; others get in proportion."""
    rungs: int
    """At which results are told, the full budget included."""
    quasi_random_at_least: int
    """More quasi-random draws than `QUASI_RANDOM_SHARE` asks for, e.g. for the audit of the rungs;
    never more than half of the trials."""
    configs: tuple[dict[str, Any], ...]
    """Of `sampler: list`, as `given.raw_of` takes them."""

    @property
    def models(self) -> tuple[str, ...]:
        """Base models, in the order in which ties between them are broken."""
        return tuple(self.trials)

    def due(self, model: str, generation: int) -> int:
        """How many new draws of a base model there are up to the end of a generation."""
        each, most = self.trials[model], max(self.trials.values())
        if self.mode == "async":
            return each
        drawn = min(most, (generation + 1) * self.generation_size)
        return math.ceil(drawn * each / most)

    def quasi_random(self, model: str) -> int:
        """How many draws of a base model are quasi-random, repeats apart."""
        if self.sampler == "list":
            return 0
        each, most = self.trials[model], max(self.trials.values())
        share = math.ceil(QUASI_RANDOM_SHARE * each)
        first = math.ceil(self.generation_size * each / most)
        return min(each, max(first, share, min(self.quasi_random_at_least, each // 2)))

    def to_json(self) -> dict[str, Any]:
        """For the ledger and the study."""
        return {
            "space": self.space.identity,
            "objectives": self.objectives,
            "constraints": list(self.constraints),
            "models": list(self.models),
            "trials": self.trials,
            "sampler": self.sampler,
            "seed": self.seed,
            "mode": self.mode,
            "generation_size": self.generation_size,
            "rungs": self.rungs,
            "quasi_random_at_least": self.quasi_random_at_least,
            "configs": list(self.configs),
        }


def make_design(
    space: Space,
    *,
    models: Sequence[str],
    trials: int | Mapping[str, int],
    objectives: Mapping[str, Direction],
    constraints: Sequence[str],
    sampler: SamplerName,
    seed: int,
    mode: Mode,
    generation_size: int | None,
    rungs: int,
    quasi_random_at_least: int,
    configs: Sequence[Mapping[str, Any]],
) -> Design:
    """Fills in and checks a design.

    Raises:
        UserError: No model, one given twice, no objective, or a count below 1.
    """
    if not models or len(set(models)) != len(models):
        raise UserError(f"base models must be given, each once (given: {', '.join(models)}).")
    if not objectives:
        raise UserError("a search needs at least one objective.")
    by_model = {m: trials if isinstance(trials, int) else trials[m] for m in models}
    counts = {f"trials of {m}": n for m, n in by_model.items()}
    for name, value in {**counts, "generation_size": generation_size, "rungs": rungs}.items():
        if value is not None and value < 1:
            raise UserError(f"{name} must be at least 1 (given: {value}).")
    most = max(by_model.values())
    return Design(
        space=space,
        objectives=dict(objectives),
        constraints=tuple(constraints),
        trials=by_model,
        sampler=sampler,
        seed=seed,
        mode=mode,
        generation_size=min(generation_size or default_generation_size(most), most),
        rungs=rungs,
        quasi_random_at_least=quasi_random_at_least,
        configs=tuple(map(dict, configs)),
    )


def default_generation_size(trials: int) -> int:
    """A fifth of the trials, from 9 to 27; half of them where that is less than 9."""
    fifth = math.ceil(QUASI_RANDOM_SHARE * trials)
    return max(min(fifth, 27), min(9, math.ceil(trials / 2)))
