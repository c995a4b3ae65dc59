"""What a simulated sweep has found, and when: hypervolume curves, costs to a level, picks."""

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

import numpy as np
from domain import Domain
from front import Point, hypervolume
from simulate import Outcome

LEVEL = 0.95
"""Of the table's hypervolume."""
MAX_FORGETTING = 0.2
"""Mean forgetting that the pick may have; declared before any arm was run."""
DRAWS = 2000
"""Of the bootstrap."""


@dataclass(frozen=True)
class Curve:
    """Hypervolume over a sweep, relative to that of the whole table; a step function."""

    tokens: tuple[int, ...]
    seconds: tuple[float, ...]
    """Virtual."""
    of_model: dict[str, tuple[float, ...]]
    """Base model → share of its table's hypervolume."""

    @property
    def average(self) -> list[float]:
        """Over the base models."""
        return [mean(values) for values in zip(*self.of_model.values(), strict=True)]

    def values(self, model: str | None) -> Sequence[float]:
        """Of a base model; None: the average."""
        return self.average if model is None else self.of_model[model]


def curve(domain: Domain, outcome: Outcome) -> Curve:
    """From the trials that reached their full budget, by the truth of their configurations."""
    whole = {m: hypervolume(_points(domain, domain.of_model(m))) for m in domain.models}
    found: dict[str, list[Point]] = {m: [] for m in domain.models}
    now = dict.fromkeys(domain.models, 0.0)
    series: dict[str, list[float]] = {m: [] for m in domain.models}
    for finish in outcome.finishes:
        model = domain.cells[finish.trial_id].model
        point = domain.truth.get(finish.trial_id)
        if point is not None:
            found[model].append(point)
            now[model] = hypervolume(found[model]) / whole[model]
        for m in domain.models:
            series[m].append(now[m])
    return Curve(
        tokens=tuple(f.tokens for f in outcome.finishes),
        seconds=tuple(f.ended for f in outcome.finishes),
        of_model={m: tuple(values) for m, values in series.items()},
    )


@dataclass(frozen=True)
class Compared:
    """All arms on one domain."""

    domain: Domain
    arms: dict[str, str]
    """Name → label; the first is the reference."""
    slots: tuple[int, ...]
    outcomes: dict[tuple[str, int, int], Outcome]
    """(arm, slots, benchmark seed) → what came out."""
    curves: dict[tuple[str, int, int], Curve]
    seeds: int
    """Benchmark seeds, from 0."""

    @property
    def reference(self) -> str:
        """Random search without stopping."""
        return next(iter(self.arms))

    def of(self, arm: str, slots: int) -> list[Curve]:
        """By seed."""
        return [self.curves[arm, slots, seed] for seed in range(self.seeds)]

    def costs(
        self, arm: str, slots: int, model: str | None = None, *, seconds: bool = False
    ) -> list[float]:
        """To the level, by seed."""
        return [cost_to(c, LEVEL, model, seconds=seconds) for c in self.of(arm, slots)]

    def estimate(
        self, arm: str, slots: int, model: str | None = None, *, seconds: bool = False
    ) -> "Estimate":
        """Cost to the level over that of the reference."""
        own = self.costs(arm, slots, model, seconds=seconds)
        return ratio(own, self.costs(self.reference, slots, model, seconds=seconds))


def cost_to(
    found: Curve, level: float = LEVEL, model: str | None = None, *, seconds: bool = False
) -> float:
    """Tokens (or virtual seconds) until the level is reached; infinity if it never is."""
    position = bisect.bisect_left(found.values(model), level)  # the curve never falls
    costs = found.seconds if seconds else found.tokens
    return float(costs[position]) if position < len(costs) else math.inf


def at(found: Curve, costs: Sequence[float], *, seconds: bool = False) -> list[float]:
    """Average hypervolume at given costs, ascending."""
    own = found.seconds if seconds else found.tokens
    values = [0.0, *found.average]
    return [values[bisect.bisect_right(own, cost)] for cost in costs]


@dataclass(frozen=True)
class Estimate:
    """A median with its interval; infinity: not reached."""

    value: float
    low: float
    high: float
    reached: int
    """Sweeps that reached the level."""
    of: int


def ratio(costs: Sequence[float], reference: Sequence[float], seed: int = 0) -> Estimate:
    """Median cost over median cost of the reference, with a 95 % bootstrap interval over the
    benchmark seeds, which are drawn together for both.

    A sweep that never reached the level counts as infinitely costly: a median or an end of the
    interval that falls on such sweeps is infinite ("not reached"), never left out.
    """
    assert len(costs) == len(reference), "the seeds pair"
    own, other = np.array(costs), np.array(reference)
    draws = np.random.default_rng(seed).integers(len(own), size=(DRAWS, len(own)))
    ratios = np.sort(_divided(_medians(own[draws]), _medians(other[draws])))
    low, high = (float(ratios[int(q * (DRAWS - 1))]) for q in (0.025, 0.975))
    value = float(_divided(_medians(own[None]), _medians(other[None]))[0])
    return Estimate(value, low, high, int(np.isfinite(own).sum()), len(own))


def _medians(values: np.ndarray) -> np.ndarray:
    """Along the last axis; of an even number the upper middle one, so that infinity stays so."""
    ordered = np.sort(values, axis=-1)
    found: np.ndarray = ordered[..., values.shape[-1] // 2]
    return found


def _divided(costs: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """A reference that was not reached gives 0: the cost is an unknown, smaller part of it."""
    with np.errstate(invalid="ignore"):
        found: np.ndarray = np.where(np.isinf(costs), np.inf, costs / reference)
    return found


# -- the first comparison --------------------------------------------------------------------------


def settled_at(domain: Domain, outcome: Outcome, model: str | None = None) -> float:
    """Tokens after which the pick of the base model (None: of all) stays within one standard error
    of the best; infinity if it never does.

    The pick is what the search would take by its own view: the largest seen gain among its full
    trials with at most `MAX_FORGETTING` seen forgetting. It is within if its true gain is less than
    one standard error below that of the truly best feasible configuration, and its true forgetting
    less than one standard error above the limit.
    """
    models = domain.models if model is None else (model,)
    good = {m: _good_picks(domain, m) for m in models}
    best: dict[str, tuple[float, str]] = {}
    settled = math.inf
    for finish in outcome.finishes:
        own = domain.cells[finish.trial_id].model
        seen = domain.seen(finish.trial_id, finish.seed)
        if own in good and seen is not None and seen.forgetting <= MAX_FORGETTING:
            best[own] = max(best.get(own, (-math.inf, "")), (seen.gain, finish.trial_id))
        within = all(m in best and best[m][1] in good[m] for m in models)
        settled = min(settled, finish.tokens) if within else math.inf
    return settled


def _good_picks(domain: Domain, model: str) -> set[str]:
    ids = [i for i in domain.of_model(model) if i in domain.truth]
    feasible = [i for i in ids if domain.truth[i].forgetting <= MAX_FORGETTING]
    assert feasible, f"no configuration of {model} forgets at most {MAX_FORGETTING:g}"
    best = max(feasible, key=lambda i: domain.truth[i].gain)
    error = domain.standard_error(best)
    return {
        i
        for i in ids
        if domain.truth[i].gain >= domain.truth[best].gain - error.gain
        and domain.truth[i].forgetting <= MAX_FORGETTING + error.forgetting
    }


def quantile(costs: Sequence[float], share: float) -> float:
    """The cost within which this share of the sweeps are done; infinity counts."""
    ordered = sorted(costs)
    return ordered[math.ceil(share * len(ordered)) - 1]


def _points(domain: Domain, trial_ids: Sequence[str]) -> list[Point]:
    return [domain.truth[i] for i in trial_ids if i in domain.truth]
