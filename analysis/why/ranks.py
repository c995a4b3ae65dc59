"""How stable is the ranking of the trials? Kendall's tau-b, and how many of the best stay the best.

* validation and test: confirmed trials, on both splits. Items differ, trainings do not.
* two seeds: trials with at least two, each pair of seeds; the mean.
* smallest and largest base model: trials with the same settings on both. Quasi-random and sampled
  trials have no such twins: it takes a list or a grid of settings, or an imported table.

tau is 1 for the same ranking and 0 for unrelated ones. Its 95 % interval is Fisher's z with the
variance .437 / (n - 4) (Fieller, Hartley & Pearson, Biometrika 44, 1957). Below `MIN_TRIALS`
trials: not assessed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import special

from keepgain.analysis import words
from keepgain.analysis.measures import Measures
from keepgain.analysis.table import Configuration
from keepgain.analysis.why.observations import Observation
from keepgain.core.config import Split
from keepgain.core.items import Floats

MIN_TRIALS = 6


@dataclass(frozen=True)
class Stability:
    """Of two rankings of the same trials by one objective."""

    between: str
    """`validation and test`, `two seeds`, or `SMALL and LARGE` base model."""
    model: str | None
    """None: two base models."""
    objective: str
    trials: int
    tau: float | None = None
    low: float | None = None
    high: float | None = None
    top: int = 0
    """k: a third of the trials."""
    overlap: float | None = None
    """Share of the best k by one ranking that are among the best k by the other; chance gives
    k / trials."""
    reason: str | None = None


def stabilities(
    found: Sequence[Observation], measures: Measures, models: Sequence[str]
) -> tuple[Stability, ...]:
    """All that can be asked of these trials.

    Args:
        models: Smallest first.
    """
    results = []
    for model in models:
        own = [o.who for o in found if o.who.model == model]
        for objective in ("gain", "forgetting") if own else ():
            both = [c for c in own if c.has("test")]
            pairs = _pairs(measures, both, objective, ("validation", "test"))
            results.append(_stability("validation and test", model, objective, [pairs]))
            seeds = _seeds(measures, [c for c in own if c.seeds("validation") > 1], objective)
            results.append(_stability("two seeds", model, objective, seeds))
    if len(models) > 1:
        small, large = models[0], models[-1]
        for objective in ("gain", "forgetting"):
            pairs = _twins(found, small, large, objective)
            results.append(_stability(f"{small} and {large}", None, objective, [pairs]))
    return tuple(r for r in results if r.trials or r.model is None)


def agreement(a: Floats, b: Floats, top: int) -> tuple[float | None, float]:
    """Kendall's tau-b of two rankings and the overlap of their best `top`; up is good.

    Args:
        a: Shape [n], as b.

    Returns:
        tau (None if either is constant), and a share; trials that tie at the edge of the best count
        by their position.
    """
    from scipy.stats import kendalltau

    tau = None if np.ptp(a) == 0 or np.ptp(b) == 0 else float(kendalltau(a, b).statistic)
    best = [set(np.argsort(-v, kind="stable")[:top].tolist()) for v in (a, b)]
    return tau, len(best[0] & best[1]) / top


def _stability(
    between: str, model: str | None, objective: str, pairs: Sequence[tuple[Floats, Floats]]
) -> Stability:
    n = max((len(a) for a, _ in pairs), default=0)
    start = Stability(between, model, objective, n)
    if n < MIN_TRIALS:
        why = "no trials with the same settings on both" if model is None and not n else None
        reason = why or f"{words.count(n, 'trial')}, {MIN_TRIALS} are needed"
        return Stability(**{**vars(start), "reason": reason})
    sign = 1.0 if objective == "gain" else -1.0
    top = max(1, n // 3)
    full = [(sign * a, sign * b) for a, b in pairs if len(a) == n]
    agreements = [agreement(a, b, top) for a, b in full]
    taus = [t for t, _ in agreements if t is not None]
    overlap = float(np.mean([o for _, o in agreements]))
    if not taus:
        return Stability(**{**vars(start), "reason": "all trials score the same"})
    tau = float(np.mean(taus))
    reach = float(special.ndtri(0.975)) * math.sqrt(0.437 / (n - 4))
    inner = min(max(tau, -0.999), 0.999)
    low, high = math.tanh(math.atanh(inner) - reach), math.tanh(math.atanh(inner) + reach)
    told = {"tau": tau, "low": min(low, tau), "high": max(high, tau), "top": top}
    return Stability(**{**vars(start), **told, "overlap": overlap})


def _pairs(
    measures: Measures, whom: Sequence[Configuration], objective: str, splits: tuple[Split, Split]
) -> tuple[Floats, Floats]:
    values = [tuple(measures.point(c, s, objective) for s in splits) for c in whom]
    known = [(a, b) for a, b in values if a is not None and b is not None]
    return np.array([a for a, _ in known]), np.array([b for _, b in known])


def _seeds(
    measures: Measures, whom: Sequence[Configuration], objective: str
) -> list[tuple[Floats, Floats]]:
    """One pair of rankings for each pair of seeds that all of these trials have."""
    per_seed = []
    for who in whom:
        blocks = measures.blocks(who, "validation", objective)
        if blocks is not None:
            per_seed.append(np.sum([b.means() for b in blocks], axis=0))
    fewest = min((len(v) for v in per_seed), default=0)
    table = np.array([v[:fewest] for v in per_seed])
    return [(table[:, a], table[:, b]) for a, b in combinations(range(fewest), 2)]


def _twins(
    found: Sequence[Observation], small: str, large: str, objective: str
) -> tuple[Floats, Floats]:
    values: dict[str, dict[str, float]] = {small: {}, large: {}}
    for o in found:
        if o.who.model in values and objective in o.values:
            key = repr(sorted((k, str(v)) for k, v in o.params.items()))
            values[o.who.model][key] = o.values[objective]
    shared = [k for k in values[small] if k in values[large]]
    a, b = (np.array([values[m][k] for k in shared]) for m in (small, large))
    return a, b
