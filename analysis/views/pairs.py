"""Two configurations item by item: who won which items, run by run and in the mean.

McNemar's test takes one run against one other (Biometrika 12, 1947; exact: binomial). A
configuration with several runs therefore has several tests: a configuration with a single run (a
base) stands against each run of the other, else runs are taken in the record's order, none twice.
A test tells of its two runs alone; the interval of the difference tells of the configurations.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from keepgain.analysis import stats
from keepgain.analysis.stats import Estimate, Uncertain
from keepgain.analysis.table import Configuration, SuiteItems
from keepgain.core.config import Split
from keepgain.core.items import Floats
from keepgain.core.multiplicity import holm

POWER = 0.8
ACROSS = ("task_score", "general_score")
"""What two base models are compared on: gain and forgetting are against a base of their own."""


@dataclass(frozen=True)
class Contrast:
    """One quantity of A and B."""

    name: str
    a: Estimate
    b: Estimate
    better: Uncertain | None
    """Paired difference, positive if A is the better one; None: not compared."""
    scorer: str = ""

    @property
    def difference(self) -> Estimate:
        """As a figure."""
        return self.better.estimate() if self.better else Estimate()

    @property
    def needed(self) -> int | None:
        """Items with which a difference of this size would show with 80 % power, two-sided 95 %;
        None: it shows already, nothing is known, or no number of items suffices."""
        if self.better is None or self.shows is not False or not self.better.value:
            return None
        return stats.items_needed(
            self.better, abs(self.better.value), POWER, (1 + stats.CONFIDENCE) / 2
        )

    @property
    def shows(self) -> bool | None:
        """Whether the interval leaves out 0; None: unknown."""
        e = self.difference
        return None if e.low is None or e.high is None else not e.low <= 0 <= e.high


@dataclass(frozen=True)
class RunPair:
    """One run of A against one run of B on one suite."""

    seed_a: int
    seed_b: int
    only_a: int
    """Items that A's run has right and B's wrong."""
    only_b: int
    p: float | None
    """Exact two-sided McNemar; None where items are clustered, which it does not allow for."""
    adjusted: float | None = None
    """The same, corrected for the number of suites (Holm)."""


@dataclass(frozen=True)
class Duel:
    """Two configurations on a suite whose scores are all 0 or 1."""

    only_a: float
    """Share of items that A has right and B wrong, mean over all pairs of their runs."""
    only_b: float
    pairs: tuple[RunPair, ...]


def duel(a: Configuration, b: Configuration, split: Split, suite: SuiteItems) -> Duel | None:
    """None where a score is neither 0 nor 1."""
    name = suite.info.name
    first, second = (_right(who.scores[split][name], suite) for who in (a, b))
    if first is None or second is None:
        return None
    ours, theirs = first.mean(axis=1), second.mean(axis=1)
    pairs = []
    for i, j in paired(first.shape[1], second.shape[1]):
        only_a = int(np.sum(first[:, i] > second[:, j]))
        only_b = int(np.sum(first[:, i] < second[:, j]))
        p = stats.mcnemar(only_a, only_b) if suite.clusters is None else None
        seeds = a.runs[split][i].seed, b.runs[split][j].seed
        pairs.append(RunPair(*seeds, only_a, only_b, p))
    return Duel(
        float(np.mean(ours * (1 - theirs))), float(np.mean((1 - ours) * theirs)), tuple(pairs)
    )


def adjusted(duels: Mapping[str, Duel | None]) -> dict[str, Duel | None]:
    """The same with P values corrected over the suites, for each pair of runs."""
    found = dict(duels)
    tested = {n: d for n, d in duels.items() if d is not None and d.pairs[0].p is not None}
    if not tested:
        return found
    columns = [
        holm([p.p or 0.0 for p in pairs])
        for pairs in zip(*(d.pairs for d in tested.values()), strict=True)
    ]
    for k, (name, d) in enumerate(tested.items()):
        pairs = zip(d.pairs, columns, strict=True)
        found[name] = replace(d, pairs=tuple(replace(p, adjusted=float(c[k])) for p, c in pairs))
    return found


def paired(runs_a: int, runs_b: int) -> list[tuple[int, int]]:
    """Which runs are tested against each other, by their places."""
    if 1 in (runs_a, runs_b):
        return [(i, j) for i in range(runs_a) for j in range(runs_b)]
    return [(i, i) for i in range(min(runs_a, runs_b))]


def _right(scores: Floats, suite: SuiteItems) -> Floats | None:
    """Shape [n, S], 1 where an item is right; None for other scores than 0 and 1."""
    if not np.all((scores == 0) | (scores == 1)):
        return None
    return scores if suite.sign > 0 else 1 - scores
