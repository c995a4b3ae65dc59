"""Which settings mattered: PED-ANOVA (Watanabe, Bansal & Hutter, IJCAI 2023, arXiv 2304.10255; its
form for settings that only some trials have, arXiv 2601.20800) as Optuna computes it.

It asks by how much the best quarter of the trials differs from all in one setting, for one
objective and one base model. It speaks of the region that was *drawn*, so the quasi-random trials
are used alone where they suffice: a sampler piles trials up where it expects good ones.

What noise gives is measured, not believed: a dummy is the same setting, with the figures shuffled
among the trials, which cannot matter. A setting is told from noise if it exceeds its dummy by a
larger factor than *any* setting exceeds its own in 95 % of the shuffles (max-T with every setting
on the scale of its dummy's mean: Westfall & Young 1993): the chance of any false claim for a base
model and objective is 5 %. Only which trials are the best enters, so one set of shuffles serves
both objectives. Intervals are percentiles over bootstrap draws of trials; there are few of either,
since an evaluation takes Optuna about 10 ms.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from keepgain.analysis.why.observations import Observation, Setting, settings
from keepgain.core.items import Floats
from keepgain.core.record import SpaceDimension

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

MIN_TOP = 5
"""Trials above the target quantile, as Optuna's documentation asks."""
TOP_SHARE = 0.25
"""The target quantile. Optuna's .1 finds less: of a setting with half of the variance, 50 trials
told nothing from noise in simulation, and 5 trials are a poor density."""
OBJECTIVES = {"gain": 1.0, "forgetting": -1.0}
DRAWS = 60
SHUFFLES = 99
SEED = 20230411
_COPIES = 6
"""Of each trial in the study: a bootstrap draw takes as many as it needs, so that one study serves
all draws (more than 6 are drawn of 1 trial in 12,000)."""


@dataclass(frozen=True)
class Share:
    """How much of what tells the best trials from all lies in one setting."""

    setting: str
    value: float
    """Of the sum over the settings of this base model and objective; 0 to 1."""
    low: float
    """95 %, as `high`."""
    high: float
    noise: float
    """What 95 % of the dummies stay below, all settings together; on the same scale, so it can
    exceed 1."""
    p: float
    """Share of shuffles in which some setting exceeds its dummy by as much."""

    @property
    def told(self) -> bool:
        """It is told from noise."""
        return self.p <= 0.05


@dataclass(frozen=True)
class Importance:
    """Of one base model and objective."""

    model: str
    objective: str
    trials: int
    which: str
    """`quasi_random`, or `all`."""
    top: int = 0
    """Trials that count as the best."""
    shares: tuple[Share, ...] = ()
    """The largest first; empty: not assessed."""
    reason: str | None = None
    """Why it was not assessed."""


def needed() -> int:
    """The least number of trials."""
    return math.ceil(MIN_TOP / TOP_SHARE)


def importances(
    found: Sequence[Observation],
    models: Sequence[str],
    space: Sequence[SpaceDimension] = (),
    *,
    objectives: Mapping[str, float] = OBJECTIVES,
    draws: int = DRAWS,
    shuffles: int = SHUFFLES,
) -> tuple[Importance, ...]:
    """For every base model with trials.

    Args:
        objectives: Name in `Observation.values` → 1 if up is good, else -1.
    """
    results = []
    studies: dict[tuple[str, ...], _Studied] = {}
    for model in models:
        own = [o for o in found if o.who.model == model]
        for objective, direction in objectives.items() if own else ():
            scored = [o for o in own if objective in o.values]
            random = [o for o in scored if o.origin == "quasi_random"]
            used, which = (random, "quasi_random") if len(random) >= needed() else (scored, "all")
            varied = settings(used, space)
            values = np.array([o.values[objective] for o in used])
            reason = _refused(used, varied, values)
            if reason is not None:
                results.append(Importance(model, objective, len(used), which, reason=reason))
                continue
            trials = tuple(o.who.trial_id for o in used)
            if trials not in studies:
                studies[trials] = _Studied(used, varied, shuffles)
            shares = studies[trials].shares(-direction * values, draws)
            top = math.ceil(TOP_SHARE * len(used))
            results.append(Importance(model, objective, len(used), which, top, shares))
    return tuple(results)


def _refused(used: Sequence[Observation], varied: Sequence[Setting], values: Floats) -> str | None:
    if len(used) < needed():
        return f"{len(used)} trials with scores, {needed()} are needed"
    if not varied:
        return "no setting differs between its trials"
    return None if np.ptp(values) > 0 else "all trials score the same"


class _Studied:
    """The settings of some trials as a study; figures come and go."""

    def __init__(
        self, used: Sequence[Observation], varied: Sequence[Setting], shuffles: int
    ) -> None:
        from optuna.importance import PedAnovaImportanceEvaluator

        self._n = len(used)
        self._names = [s.name for s in varied]
        self._evaluator = PedAnovaImportanceEvaluator(target_quantile=TOP_SHARE)
        self._study = _study([t for t in _trials(used, varied) for _ in range(_COPIES)])
        rng = np.random.default_rng(SEED)
        once = np.ones(self._n, dtype=np.int64)
        ranks = np.arange(self._n, dtype=np.float64)
        self._dummies = np.array(
            [self._evaluate(rng.permutation(ranks), once) for _ in range(shuffles)]
        )

    def shares(self, costs: Floats, draws: int) -> tuple[Share, ...]:
        """The largest first.

        Args:
            costs: Shape [n]; less is better. Ties are broken by a draw.
        """
        rng = np.random.default_rng(SEED + 1)
        n = self._n
        ranks = np.empty(n)
        ranks[np.lexsort((rng.random(n), costs))] = np.arange(n)
        point = self._evaluate(ranks, np.ones(n, dtype=np.int64))
        total = float(point.sum()) or 1.0
        drawn = []
        for _ in range(draws):
            counts = np.bincount(rng.integers(0, n, n), minlength=n)
            again = self._evaluate(ranks, counts)
            drawn.append(again / (float(again.sum()) or 1.0))
        low, high = np.percentile(drawn, (2.5, 97.5), axis=0)
        everything = np.vstack([self._dummies, point])
        usual = np.maximum(everything.mean(axis=0), 1e-300)
        largest = (everything / usual).max(axis=1)
        limit = float(np.percentile(largest[:-1], 95))
        found = [
            Share(
                name,
                value=float(point[j]) / total,
                low=float(low[j]),
                high=float(high[j]),
                noise=limit * float(usual[j]) / total,
                p=float(np.mean(largest >= point[j] / usual[j])),
            )
            for j, name in enumerate(self._names)
        ]
        return tuple(sorted(found, key=lambda s: -s.value))

    def _evaluate(self, costs: Floats, counts: npt.NDArray[np.int64]) -> Floats:
        """Importances in the order of the settings, of trials that count `counts` times.

        Trials without a finite figure are left out by Optuna.
        """

        def target(trial: "FrozenTrial") -> float:
            of, copy = divmod(trial.number, _COPIES)
            return float(costs[of]) if copy < counts[of] else math.nan

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it says at every call that less is better
            found = self._evaluator.evaluate(self._study, self._names, target=target)
        return np.array([found[name] for name in self._names])


def _trials(used: Sequence[Observation], varied: Sequence[Setting]) -> list["FrozenTrial"]:
    from optuna.trial import create_trial

    forms = {s.name: _distribution(s, used) for s in varied}
    trials = []
    for o in used:
        params = {s.name: v for s in varied if (v := _raw(s, o)) is not None}
        trials.append(
            create_trial(params=params, distributions={n: forms[n] for n in params}, value=0.0)
        )
    return trials


def _raw(setting: Setting, o: Observation) -> object:
    """As it was drawn; Optuna takes the logarithm itself."""
    return o.params.get(setting.name) if setting.kind != "category" else setting.of(o.params)


def _distribution(setting: Setting, used: Sequence[Observation]) -> "BaseDistribution":
    """What was drawn from, by the values that were."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if setting.kind == "category":
        return CategoricalDistribution(setting.levels)
    values = [float(v) for o in used if isinstance(v := _raw(setting, o), int | float)]
    return FloatDistribution(min(values), max(values), log=setting.kind == "log")


def _study(trials: Sequence["FrozenTrial"]) -> "Study":
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        study = optuna.create_study()
    finally:
        optuna.logging.set_verbosity(before)
    study.add_trials(trials)
    return study
