"""Type I error of the adaptive confirmation, by simulation: `python benchmarks/confirmation.py`.

Two sizes whose true task scores differ by exactly delta, so that calling the smaller one adequate
is the error. Each has S seeds at a look; run means are normal around the truth, and the paired item
noise of a split is one normal draw for all looks (items are the same at every look). Bounds are
those of the size rule: pooled seed variances, Satterthwaite's degrees of freedom, t quantiles. An
early look on validation stops a comparison that passes at its level, or fails for sure, or that
infinitely many seeds would leave open; what it ends with is tested on the test split at the last
level. The choice of one candidate among several of a size is not simulated.

Standard error of a rate of .05 from 200,000 repetitions: .0005.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from keepgain.analysis.spending import LEVELS

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Plan:
    """Looks, and the world they look at."""

    looks: tuple[int, ...]
    """Seeds at each look."""
    levels: tuple[float, ...]
    """One-sided error at each look."""
    item_share: float = 0.0
    """Of the variance of a difference at the first look: 0 seeds alone, 1 items alone."""
    same_items: bool = False
    """Decide on validation itself: the provisional answer."""
    futility: bool = True
    """Stop comparisons, too, that fail for sure or that more seeds cannot help."""
    effect: float = 0.0
    """True difference beyond the margin, in standard errors at the first look; 0: no effect."""


def run(plan: Plan, repetitions: int, seed: int = 0) -> tuple[float, float]:
    """Simulates.

    Returns:
        Share called adequate (the type I error where `effect` is 0), and mean seeds per arm.
    """
    rng = np.random.default_rng(seed)
    most, first = plan.looks[-1], plan.looks[0]
    # Unit: the standard error of a difference at the first look.
    seed_sd = np.sqrt((1 - plan.item_share) * first / 2)
    runs = rng.standard_normal((2, repetitions, most)) * seed_sd
    runs[0] += plan.effect
    items = rng.standard_normal((2, repetitions)) * np.sqrt(plan.item_share)
    if plan.same_items:
        items[1] = items[0]
    stopped_at = np.full(repetitions, len(plan.looks) - 1)
    open_ = np.ones(repetitions, dtype=bool)
    for k, (seeds, level) in enumerate(zip(plan.looks[:-1], plan.levels[:-1], strict=True)):
        difference, reach, error = _bound(runs[:, :, :seeds], items[0], plan.item_share, level)
        decided = difference > reach
        if plan.futility:
            alone = special.ndtri(1 - plan.levels[-1]) * np.sqrt(plan.item_share)
            decided |= (difference < -reach) | (np.abs(difference) + error < alone)
        stopped_at[open_ & decided] = k
        open_ &= ~decided
    adequate = np.zeros(repetitions, dtype=bool)
    for k, seeds in enumerate(plan.looks):
        mine = stopped_at == k
        difference, reach, _ = _bound(
            runs[:, mine, :seeds], items[1, mine], plan.item_share, plan.levels[-1]
        )
        adequate[mine] = difference > reach
    return float(adequate.mean()), float(np.asarray(plan.looks)[stopped_at].mean())


def _bound(
    runs: Floats, items: Floats, item_variance: float, level: float
) -> tuple[Floats, Floats, Floats]:
    """Difference of the means, reach of its one-sided bound, and its standard error from the seeds
    alone; shape [repetitions] each."""
    seeds = runs.shape[2]
    means = runs.mean(axis=2)
    variances = runs.var(axis=2, ddof=1) / seeds
    total = variances.sum(axis=0) + item_variance
    spread = (variances**2 / (seeds - 1)).sum(axis=0)
    df = np.maximum(total**2 / np.maximum(spread, 1e-300), seeds - 1)
    quantile = special.stdtrit(np.minimum(df, 1e6), 1 - level)
    error = np.sqrt(variances.sum(axis=0))
    return means[0] - means[1] + items, quantile * np.sqrt(total), error


def optional_stopping(seeds: Sequence[int], repetitions: int) -> float:
    """Type I error of a 5 % test at every one of these looks: what spending prevents."""
    plan = Plan(tuple(seeds), (0.05,) * len(seeds), same_items=True, futility=False)
    return run(plan, repetitions)[0]


WORLDS = [(s, same) for s in (0.0, 0.5, 0.9) for same in (False, True)]


def main() -> None:
    """Prints the table of docs/DECISIONS.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repetitions", type=int, default=200_000)
    options = parser.parse_args()
    naive = optional_stopping(range(3, 9), options.repetitions)
    print(f"5 % at each of 3..8 seeds: {100 * naive:.1f} %")
    print("looks, levels, share of item noise, decided on: type I; mean seeds per arm")
    for looks in ((3, 6), (2, 4), (4, 8), (3, 6, 9), (2, 4, 8), (3, 6, 12)):
        levels = LEVELS[len(looks)]
        for share, same in WORLDS:
            rate, seeds = run(Plan(looks, levels, share, same), options.repetitions)
            split = "validation" if same else "test"
            print(f"{looks} {levels} {share:.1f} {split:10}: {100 * rate:.2f} %; {seeds:.1f} seeds")
    print("looks, true difference beyond the margin in first standard errors: power; mean seeds")
    for looks in ((3, 6), (3, 6, 9)):
        for effect in (2.0, 4.0):
            plan = Plan(looks, LEVELS[len(looks)], 0.5, effect=effect)
            rate, seeds = run(plan, options.repetitions)
            print(f"{looks} {effect:.0f}: {100 * rate:.1f} %; {seeds:.1f} seeds")


if __name__ == "__main__":
    main()
