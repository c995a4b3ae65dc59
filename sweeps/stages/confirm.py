"""Confirm: who is trained again with fresh seeds, so that the winner's luck does not count.

Finalists are chosen on validation, within each base model, feasible ones first; one quasi-random
trial goes along as the comparison with plain random search.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from keepgain.core.identity import derive_seed
from keepgain.sweeps.search.ledger import Asked
from keepgain.sweeps.search.objectives import Limits, Objectives, excess


@dataclass(frozen=True)
class Searched:
    """A completed search trial, as the choice of finalists sees it."""

    asked: Asked
    found: Objectives
    made_from: str | None = None
    """Run key of the training that it is a point of; None: its own."""

    @property
    def training(self) -> str:
        """Run key of what was trained."""
        return self.made_from or self.asked.run_key

    @property
    def is_random(self) -> bool:
        """Drawn quasi-randomly, not by a sampler that had seen results."""
        return self.asked.origin == "quasi_random"


def finalists(
    searched: Sequence[Searched], models: Sequence[str], count: int, limits: Limits
) -> list[Asked]:
    """Trials to confirm, best first and in turn over the models.

    Every base model with a completed trial gets one finalist even if `count` is smaller, since
    sizes are compared on confirmed trials only. Order within a model: within all limits before
    beyond one, then by excess, then by gain, then less forgetting, then id. Of the points of one
    training (`sweeps.candidates`) the best one counts: the places are for different trainings.

    One random trial follows, if there is one: of the base models whose best random trial is no
    finalist, the one where it is behind the model's own best trial by least. Gains are never
    compared across base models: the largest is that of the weakest base.

    Args:
        models: All base models, in the spec's order.
        count: Finalists over all models.
    """
    order = {model: _ranked(searched, model, limits) for model in models}
    chosen: list[Asked] = []
    depth = 0
    while any(depth < len(ranked) for ranked in order.values()):
        for ranked in order.values():
            if depth < len(ranked) and (depth == 0 or len(chosen) < count):
                chosen.append(ranked[depth].asked)
        depth += 1
    return chosen + _random_rival(list(order.values()), chosen, limits)


def fresh_seeds(sweep_seed: int, trial_id: str, count: int) -> list[int]:
    """Seeds that no search trial used; the same for the same trial in any sweep of this seed."""
    return [derive_seed(sweep_seed, trial_id, "confirm", k) for k in range(count)]


def search_seed(sweep_seed: int, trial_id: str) -> int:
    """Seed of the one run of a search trial."""
    return derive_seed(sweep_seed, trial_id, "search")


def _random_rival(
    order: Sequence[list[Searched]], chosen: list[Asked], limits: Limits
) -> list[Asked]:
    """See `finalists`; at most one."""
    rivals: list[tuple[float, float, Asked]] = []
    for ranked in order:
        best = next((s for s in ranked if s.is_random), None)
        if best is not None and best.asked not in chosen:
            behind = ranked[0].found.gain - best.found.gain  # the base's score cancels out
            rivals.append((excess(best.found, limits), behind, best.asked))
    rivals.sort(key=lambda r: r[:2])  # stable: of equals the first in the spec
    return [asked for _, _, asked in rivals[:1]]


def _ranked(searched: Sequence[Searched], model: str, limits: Limits) -> list[Searched]:
    own = [s for s in searched if s.asked.model == model]
    best: dict[str, Searched] = {}
    for one in sorted(own, key=lambda s: _key(s, limits)):
        best.setdefault(one.training, one)
    return list(best.values())


def _key(one: Searched, limits: Limits) -> tuple[float, float, float, str]:
    forgetting = one.found.forgetting if one.found.forgetting is not None else 0.0
    return (excess(one.found, limits), -one.found.gain, forgetting, one.asked.trial_id)
