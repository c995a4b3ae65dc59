"""Synthetic evidence with a known truth: Bernoulli items of varied difficulty, seed effects."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from keepgain.core.config import Arm
from keepgain.core.items import ItemScores
from keepgain.core.record import Evidence, ModelInfo, Question, RunRecord, SuiteInfo, SweepRecord
from keepgain.core.status import Stage, TrialStatus

TOKENS = 1000
SIZES = {"s": 100_000, "m": 1_000_000}


@dataclass(frozen=True)
class Trial:
    """True scores of one configuration."""

    name: str
    model: str
    task: float
    general: float | None = 0.8
    """True score on every general suite; None: not scored there (arms)."""
    seeds: int = 3
    """Confirmation seeds; 0: search only, with one seed."""
    method: str = "full"
    params: Mapping[str, object] = field(default_factory=dict)
    arm: Arm | None = None
    status: TrialStatus = TrialStatus.COMPLETED


def base(model: str, task: float = 0.1, general: float = 0.8) -> Trial:
    """A base with its true scores."""
    return Trial(f"base-{model}", model, task, general, seeds=1, arm="base")


def build(
    trials: Sequence[Trial],
    *,
    n_items: int = 1000,
    general_suites: Sequence[str] = ("facts", "sums"),
    seed_sd: float = 0.005,
    question: Question | None = None,
    sizes: Mapping[str, int] = SIZES,
    rng_seed: int = 1,
    test: bool = True,
    test_opened: int = 1,
) -> Evidence:
    """A finished sweep.

    Items have a common difficulty for all models, so that paired differences are less noisy than
    levels; each run adds a normal seed effect of `seed_sd` to its true probability.
    """
    rng = np.random.default_rng(rng_seed)
    suites = (
        SuiteInfo(name="tickets", measures="gain", scorer="exact_match"),
        *(SuiteInfo(name=g, measures="forgetting", scorer="exact_match") for g in general_suites),
    )
    splits = ("validation", "test") if test else ("validation",)
    difficulty = {(s.name, p): rng.normal(0, 1, n_items) for s in suites for p in splits}
    runs: list[RunRecord] = []
    items: list[tuple[str, ItemScores]] = []
    for trial in trials:
        for stage, seed in _seeds(trial):
            run = _run(trial, stage, seed, sizes)
            runs.append(run)
            if trial.status is not TrialStatus.COMPLETED:
                continue
            effect = 0.0 if trial.arm else rng.normal(0, seed_sd)
            for suite in suites:
                truth = trial.task if suite.measures == "gain" else trial.general
                if truth is None:
                    continue
                for split in splits:
                    if split == "test" and stage is Stage.SEARCH:
                        continue
                    values = _draw(rng, difficulty[suite.name, split], truth + effect)
                    items.append((run.run_key, scores(suite.name, split, values, run.tokens)))
    models = tuple(ModelInfo(name=n, digest=f"d-{n}", parameters=p) for n, p in sizes.items())
    sweep = SweepRecord(
        id="toy-123456",
        name="toy",
        stage=Stage.DECIDED if test else Stage.CONFIRM,
        store="/somewhere/.keepgain",
        question=question or Question(delta=0.03, max_forgetting=0.05),
        suites=suites,
        models=models,
        runs=tuple(runs),
        test_opened=test_opened if test else 0,
    )
    return Evidence(sweep=sweep, items=tuple(items))


def scores(
    suite: str,
    split: str,
    values: Sequence[float] | np.ndarray,
    tokens: int = 0,
    *,
    metric: str = "exact_match",
    weights: Sequence[float] | None = None,
    clusters: tuple[str | None, ...] = (),
) -> ItemScores:
    """Item scores with ids that name their position."""
    n = len(values)
    return ItemScores(
        suite=suite,
        split=split,
        metric=metric,
        item_ids=np.array([f"{split}-{i:05d}" for i in range(n)]),
        values=np.asarray(values, dtype=np.float64),
        weights=np.ones(n) if weights is None else np.asarray(weights, dtype=np.float64),
        tokens=tokens,
        clusters=clusters,
    )


def _seeds(trial: Trial) -> list[tuple[Stage, int]]:
    if trial.arm:
        return [(Stage.BASE, 0)]
    confirm = [(Stage.CONFIRM, 100 + s) for s in range(trial.seeds)]
    return [(Stage.SEARCH, 0), *confirm]


def _run(trial: Trial, stage: Stage, seed: int, sizes: Mapping[str, int]) -> RunRecord:
    kind = "base" if trial.arm == "base" else "reference" if trial.arm else "trial"
    tokens = 0 if trial.arm else TOKENS
    return RunRecord(
        run_key=f"{trial.name}-s{seed}",
        trial_id=trial.name,
        seed=seed,
        kind=kind,
        arm=trial.arm,
        model=trial.model,
        stage=stage,
        status=trial.status,
        reason="loss is NaN at step 3" if trial.status is TrialStatus.FAILED else None,
        params={} if trial.arm else {"method": trial.method, **trial.params},
        tokens=tokens,
        budget=tokens,
        cost={"parameters": float(sizes[trial.model]), "train_seconds": 2.0},
    )


def _draw(rng: np.random.Generator, difficulty: np.ndarray, truth: float) -> np.ndarray:
    """Bernoulli scores whose expectation over items is `truth`: a normal-ogive item model.

    P(right | difficulty z) = Phi((q - z b) / sqrt(1 - b^2)) averages to Phi(q) = truth over
    z ~ N(0, 1).
    """
    from scipy.special import ndtr, ndtri

    b = 0.8
    q = ndtri(np.clip(truth, 1e-6, 1 - 1e-6))
    chance = ndtr((q - b * difficulty) / np.sqrt(1 - b * b))
    return (rng.random(len(difficulty)) < chance).astype(np.float64)


def exact(
    configurations: Mapping[str, tuple[str, str, Mapping[str, np.ndarray]]],
    *,
    measures: Mapping[str, str],
    question: Question | None = None,
    sizes: Mapping[str, int] = SIZES,
    scorer: str = "exact_match",
) -> Evidence:
    """Evidence with given item scores, the same on both splits, for hand-worked cases.

    Args:
        configurations: Name → (model, kind, suite → scores of shape [n, S]).
        measures: Suite → `gain` or `forgetting`.
    """
    runs: list[RunRecord] = []
    items: list[tuple[str, ItemScores]] = []
    for name, (model, kind, arrays) in configurations.items():
        arm: Arm | None = None if kind == "trial" else "base" if kind == "base" else "few_shot"
        trial = Trial(name, model, 0.0, arm=arm)
        for seed in range(next(iter(arrays.values())).shape[1]):
            run = _run(trial, Stage.BASE if arm else Stage.CONFIRM, seed, sizes)
            runs.append(run)
            for suite, values in arrays.items():
                for split in ("validation", "test"):
                    given = scores(suite, split, values[:, seed], run.tokens, metric=scorer)
                    items.append((run.run_key, given))
    sweep = SweepRecord(
        id="exact-123456",
        name="exact",
        stage=Stage.DECIDED,
        question=question or Question(),
        suites=tuple(
            SuiteInfo.model_validate({"name": s, "measures": m, "scorer": scorer})
            for s, m in measures.items()
        ),
        models=tuple(ModelInfo(name=n, digest=n, parameters=p) for n, p in sizes.items()),
        runs=tuple(runs),
    )
    return Evidence(sweep=sweep, items=tuple(items))


def ones(right: int, n: int, seeds: int = 2, start: int = 0) -> np.ndarray:
    """n items of which `right`, from `start` on, are right in every one of the seeds."""
    column = np.zeros(n)
    column[start : start + right] = 1.0
    return np.repeat(column[:, None], seeds, axis=1)
