"""Forgetting by capability: suites that measure one ability are averaged, abilities then are.

A mean over suites counts an ability as often as it has suites. Here every capability counts once:
the macro-average is the mean over capabilities of the mean drop over their suites. The worst
capability is the largest of several noisy drops, which is biased upwards: its interval bounds all
of them at once (see `largest`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from keepgain.analysis import objectives, stats
from keepgain.analysis.behaviour.bounds import floored
from keepgain.analysis.behaviour.largest import largest
from keepgain.analysis.behaviour.resample import PartMeans
from keepgain.analysis.draws import draw_scores
from keepgain.analysis.measures import Measures
from keepgain.analysis.slices import careful
from keepgain.analysis.stats import UNKNOWN, Block, Estimate
from keepgain.analysis.table import Configuration, SuiteItems
from keepgain.core.config import Split
from keepgain.core.items import MIN_SLICE_ITEMS

DRAWS = 2000


@dataclass(frozen=True)
class Capability:
    """Suites that measure one ability."""

    name: str
    suites: tuple[str, ...]
    drop: Estimate
    """Mean over the suites of base minus tuned; positive is worse."""


@dataclass(frozen=True)
class ByCapability:
    """One configuration on all of them."""

    who: Configuration
    capabilities: tuple[Capability, ...]
    """As the suites are listed."""
    macro: Estimate
    worst: Capability
    worst_drop: Estimate
    bias: float | None
    """By how much a resampled `worst_drop` is above it, on average; None: the seeds' variance is
    unknown, or there is one capability."""
    declared: bool
    """False: no suite names a capability, so that each is one of its own."""


def by_capability(measures: Measures, who: Configuration, split: Split) -> ByCapability | None:
    """Of the suites that measure forgetting.

    Returns:
        None without a base or such a suite that both have, or if their scorers differ: then their
        drops have no mean.
    """
    base = measures.base(who.model)
    if base is None or not (who.has(split) and base.has(split)):
        return None
    suites = {
        name: s
        for name, s in measures.table.suites[split].items()
        if s.info.measures == "forgetting"
        and name in who.scores[split]
        and name in base.scores[split]
    }
    if not suites or len({s.info.scorer for s in suites.values()}) > 1:
        return None
    named = _named(suites)
    found = [
        Capability(
            name, members, _drop(measures, who, split, {m: 1 / len(members) for m in members})
        )
        for name, members in named.items()
    ]
    shares = {m: 1 / len(members) / len(named) for members in named.values() for m in members}
    worst = max(found, key=lambda c: c.drop.value or 0.0)
    worst_drop, bias = _largest(measures, who, base, split, found)
    return ByCapability(
        who,
        tuple(found),
        _drop(measures, who, split, shares),
        worst,
        worst_drop,
        bias,
        any(s.info.capability for s in suites.values()),
    )


def _named(suites: Mapping[str, SuiteItems]) -> dict[str, tuple[str, ...]]:
    """Capability → its suites; a suite without one is one of its own."""
    found: dict[str, tuple[str, ...]] = {}
    for name, suite in suites.items():
        capability = suite.info.capability or name
        found[capability] = (*found.get(capability, ()), name)
    return found


def _drop(
    measures: Measures, who: Configuration, split: Split, shares: Mapping[str, float]
) -> Estimate:
    """The weighted sum of drops over suites, paired by item, with pooled seed variance."""
    seeds = []
    if who.kind == "trial":
        alike = [c for c in measures.table.trials(who.model, split) if c.seeds(split) >= 2]
        pooled = stats.pool_seeds([_blocks(measures, c, split, shares) for c in alike])
        seeds = [(pooled, 1 / who.seeds(split))]
    blocks = [b.averaged() for b in _blocks(measures, who, split, shares)]
    found = stats.combine(blocks, seeds, who.seeds(split))
    if len(shares) == 1 and found.n_items >= MIN_SLICE_ITEMS:
        # A suite that is lost whole has no spread, and yet is no proof of certainty.
        suite = measures.table.suites[split][next(iter(shares))]
        return floored(found, suite.draws, suite.info.scorer).estimate()
    told = careful(found)
    assert told is not None
    return told.estimate()


def _blocks(
    measures: Measures, who: Configuration, split: Split, shares: Mapping[str, float]
) -> list[Block]:
    base = measures.base(who.model)
    assert base is not None, "the caller has it"
    found = []
    for name, share in shares.items():
        suite = measures.table.suites[split][name]
        block = objectives.drop_block(suite, who.scores[split][name], base.scores[split][name])
        found.append(Block(share * block.values, block.weights, block.clusters))
    return found


def _largest(
    measures: Measures,
    who: Configuration,
    base: Configuration,
    split: Split,
    found: Sequence[Capability],
) -> tuple[Estimate, float | None]:
    """The largest drop with its interval, and the mean excess of resampled ones."""
    worst = max(found, key=lambda c: c.drop.value or 0.0).drop
    if len(found) == 1:
        return worst, None
    drawn = draw_scores(measures, split, [who, base], DRAWS)
    if drawn is None:
        return replace(worst, low=None, high=None, interval_method=UNKNOWN), None
    suites = measures.table.suites[split]
    fallen = {n: suites[n].sign * (x[:, 1] - x[:, 0]) for n, x in drawn.items()}
    drops = np.column_stack([np.mean([fallen[n] for n in c.suites], axis=0) for c in found])
    values = np.array([c.drop.value for c in found], dtype=np.float64)
    means = PartMeans(values, drops, who.seeds(split))
    largest_drop = largest(np.eye(len(found)), [means], [worst.n_items])
    return largest_drop.tuned, largest_drop.rise
