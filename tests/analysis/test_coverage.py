"""Intervals and sets hold a known truth as often as they say (seed sd .02, item sd .4)."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from benchmarks.analysis.worlds import Known, base_of, world

SEEDS = (1, 2, 3, 5)
QUANTITIES = ("task_score", "gain", "forgetting", "relative_forgetting", "difference")
TRUTH = {
    "task_score": 0.7,
    "gain": 0.6,
    "forgetting": 0.05,
    "relative_forgetting": 0.0625,
    "difference": 0.0,
}
WORLDS = 250


@cache
def coverage() -> dict[tuple[str, int, bool], float]:
    """Share of 95 % intervals that hold the truth, by quantity, number of seeds, and whether their
    variance counts; without it, item variance alone.

    One size of 12 trials, three of each number of seeds.
    """
    given = [
        Known(f"t{s}{k}", "m", 0.7, (0.75,), seeds=s, confirmed=False)
        for s in SEEDS
        for k in range(3)
    ]
    rng = np.random.default_rng(5)
    held: dict[tuple[str, int, bool], list[bool]] = {}
    for _ in range(WORLDS):
        m = world(rng, [base_of("m"), *given], splits=("validation",))
        trials = m.table.trials("m", "validation")
        for who in trials:
            rival = trials[-1] if who is not trials[-1] else trials[0]
            for quantity in QUANTITIES:
                u = (
                    m.difference(who, rival, "validation", "task_score")
                    if quantity == "difference"
                    else m.uncertain(who, "validation", quantity)
                )
                assert u is not None
                for with_seeds, counted in ((True, u), (False, replace(u, terms=u.terms[:1]))):
                    e = counted.estimate()
                    assert e.low is not None and e.high is not None
                    inside = e.low <= TRUTH[quantity] <= e.high
                    place = (quantity, who.seeds("validation"), with_seeds)
                    held.setdefault(place, []).append(inside)
    return {place: float(np.mean(inside)) for place, inside in held.items()}


@pytest.mark.parametrize("quantity", QUANTITIES)
@pytest.mark.parametrize("seeds", SEEDS)
def test_intervals_hold_the_truth(quantity: str, seeds: int) -> None:
    assert 0.92 <= coverage()[quantity, seeds, True] <= 0.98


@pytest.mark.parametrize("quantity", QUANTITIES)
@pytest.mark.parametrize("seeds", SEEDS)
def test_without_seed_variance_they_do_not(quantity: str, seeds: int) -> None:
    assert coverage()[quantity, seeds, False] < 0.92
