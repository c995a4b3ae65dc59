"""How often the bounds of groups hold the truth with few seeds: simulated, so that it is known.

    python -m benchmarks.behaviour.few_seeds

Eight groups of 40 items that are equal but for chance: the true gap is 0, the true worst group .5.
Seeds move each group by itself by a standard deviation of so many points; a share of the items has
its luck once for all seeds, the others anew for each. No model is trained.
"""

import argparse
from itertools import product
from pathlib import Path

import numpy as np

from benchmarks.behaviour.made import put
from keepgain.analysis.behaviour.groups import group_figures
from keepgain.analysis.table import SuiteItems
from keepgain.core.items import Floats
from keepgain.core.record import SuiteInfo

GROUPS, ITEMS = 8, 40
SHARED = (0.5, 1.0)
"""Chance of an item to have its luck once for all seeds."""
SEEDS = (2, 3, 5)
POINTS: dict[str, tuple[float, ...]] = {
    "0": (0.0,) * GROUPS,
    "10": (0.1,) * GROUPS,
    "15 in half of them": (0.15, 0.0) * (GROUPS // 2),
}
"""Standard deviation of a seed's effect on each group."""


def sample(
    rng: np.random.Generator, seeds: int, points: tuple[float, ...], shared: float
) -> Floats:
    """Scores of one simulated configuration, shape [items, seeds]."""
    n = GROUPS * ITEMS
    apart = rng.normal(0.0, points, size=(seeds, GROUPS))
    level = np.clip(0.5 + np.repeat(apart, ITEMS, axis=1), 0.0, 1.0).T
    own, once = rng.random((n, 1)), rng.random((n, seeds))
    drawn = np.where(rng.random((n, seeds)) < shared, own, once)
    return (drawn < level).astype(np.float64)


def suite() -> SuiteItems:
    """The items, without their scores."""
    n = GROUPS * ITEMS
    return SuiteItems(
        SuiteInfo(name="s", measures="behaviour", scorer="exact_match"),
        "test",
        np.array([f"i{k:04d}" for k in range(n)]),
        np.ones(n),
        None,
        {"group": np.repeat([f"g{k}" for k in range(GROUPS)], ITEMS)},
    )


def row(
    seeds: int, points: tuple[float, ...], shared: float, samples: int
) -> tuple[float, float, float]:
    """Share of samples whose bounds hold the true gap and the true worst group, and the median
    width of the gap's bounds."""
    rng = np.random.default_rng(seeds)
    gap_held, worst_held, widths = 0, 0, []
    for _ in range(samples):
        scores = sample(rng, seeds, points, shared)
        found = {f.name: f.estimate for f in group_figures(suite(), scores, None)}
        gap, worst = found["best minus worst group"], found["worst group"]
        assert gap.low is not None and gap.high is not None
        assert worst.low is not None and worst.high is not None
        gap_held += gap.low <= 0
        worst_held += worst.low <= 0.5 <= worst.high
        widths.append(gap.high - gap.low)
    return gap_held / samples, worst_held / samples, float(np.median(widths))


def table(samples: int) -> list[str]:
    """Markdown, one row a number of seeds and a size of their effects."""
    lines = [
        "| points | shared luck | seeds | gap held | worst group held | width of the gap |",
        "|---|---|---|---|---|---|",
    ]
    for (points, by_group), shared, seeds in product(POINTS.items(), SHARED, SEEDS):
        gap, worst, width = row(seeds, by_group, shared, samples)
        held = f"{gap:.2f} | {worst:.2f} | {width:.2f}"
        lines.append(f"| {points} | {shared:g} | {seeds} | {held} |")
    return lines


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--write", type=Path, help="also write the table to this file")
    args = parser.parse_args()
    put(table(args.samples), args.write)


if __name__ == "__main__":
    main()
