"""Simulated sweeps whose truth is known, as the tables that the real analysis computes from.

A score is ``truth + seed[s] + item[i] + e[i, s]``: items are shared by all runs, seeds and e are
not. Scores are normal, not 0 or 1, so that every variance is exactly what was asked for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from keepgain.analysis.measures import Measures
from keepgain.analysis.table import Configuration, SuiteItems, Table
from keepgain.core.config import Arm, Split
from keepgain.core.items import Floats
from keepgain.core.record import ModelInfo, Question, RunRecord, SuiteInfo, SweepRecord
from keepgain.core.status import Stage, TrialStatus

TASK = "task"
BOTH: tuple[Split, ...] = ("validation", "test")


@dataclass(frozen=True)
class Noise:
    """Standard deviations."""

    seed: float = 0.02
    item: float = 0.4
    """Of one score around its run's mean, shared part and residual together."""
    shared: float = 0.5
    """Share of the item variance that all runs have in common."""


@dataclass(frozen=True)
class Known:
    """A configuration and its true scores."""

    name: str
    model: str
    task: float
    general: Sequence[float] = (0.8,)
    """On each general suite."""
    seeds: int = 3
    confirmed: bool = True
    arm: Arm | None = None
    params: Mapping[str, object] = field(default_factory=dict)
    cost: Mapping[str, float] = field(default_factory=dict)


def world(
    rng: np.random.Generator,
    given: Sequence[Known],
    *,
    n_items: int = 2000,
    noise: Noise | None = None,
    parameters: Mapping[str, int] | None = None,
    splits: Sequence[Split] = BOTH,
    question: Question | None = None,
) -> Measures:
    """Draws item scores for configurations with these truths, as a sweep's measures."""
    noise = noise or Noise()
    generals = [f"general{k}" for k in range(len(given[0].general))]
    infos = {
        name: SuiteInfo(
            name=name, measures="gain" if name == TASK else "forgetting", scorer="exact_match"
        )
        for name in (TASK, *generals)
    }
    ids = np.array([f"i{i:05d}" for i in range(n_items)])
    suites = {
        split: {
            name: SuiteItems(i, split, ids, np.ones(n_items), None) for name, i in infos.items()
        }
        for split in splits
    }
    items = {(s, n): rng.standard_normal(n_items) for s in splits for n in infos}
    configurations = tuple(_configuration(rng, t, infos, items, noise) for t in given)
    sizes = parameters or {t.model: 1 for t in given}
    sweep = SweepRecord(
        id="world-1",
        name="world",
        stage=Stage.DECIDED,
        question=question or Question(),
        suites=tuple(infos.values()),
        models=tuple(ModelInfo(name=n, digest=n, parameters=p) for n, p in sizes.items()),
        runs=(),
    )
    return Measures(Table(sweep, suites, configurations, ()))


def _configuration(
    rng: np.random.Generator,
    given: Known,
    infos: Mapping[str, SuiteInfo],
    items: Mapping[tuple[Split, str], Floats],
    noise: Noise,
) -> Configuration:
    seeds = 1 if given.arm else given.seeds
    truths = dict(zip(infos, (given.task, *given.general), strict=True))
    scores: dict[Split, dict[str, Floats]] = {}
    # The effect of a seed is the same on both splits: it is the model that is better.
    effects = {n: np.zeros(1) if given.arm else rng.normal(0, noise.seed, seeds) for n in infos}
    for (split, name), shared in items.items():
        own = rng.standard_normal((len(shared), seeds))
        mixed = np.sqrt(noise.shared) * shared[:, None] + np.sqrt(1 - noise.shared) * own
        values = truths[name] + effects[name] + noise.item * mixed
        scores.setdefault(split, {})[name] = values
    kind = "base" if given.arm == "base" else "reference" if given.arm else "trial"
    return Configuration(
        trial_id=given.name,
        label=given.name,
        model=given.model,
        kind=kind,  # type: ignore[arg-type]
        arm=given.arm,
        params=given.params,
        stage=Stage.BASE if given.arm else Stage.CONFIRM if given.confirmed else Stage.SEARCH,
        status=TrialStatus.COMPLETED,
        confirmed=given.confirmed and not given.arm,
        tokens=0,
        cost=given.cost,
        scores=scores,
        lacks={},
        runs=dict.fromkeys(
            {split for split, _ in items}, tuple(_run(given, s) for s in range(seeds))
        ),
    )


def _run(given: Known, seed: int) -> RunRecord:
    kind = "base" if given.arm == "base" else "reference" if given.arm else "trial"
    return RunRecord.model_construct(
        run_key=f"{given.name}-s{seed}", trial_id=given.name, seed=seed, kind=kind
    )


def base_of(model: str, task: float = 0.1, general: Sequence[float] = (0.8,)) -> Known:
    """A base model."""
    return Known(f"base-{model}", model, task, general, arm="base")
