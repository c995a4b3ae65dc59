"""Groups of items: the worst of them, the gaps between them, and pairs that differ in the group.

A group is one value of `group`, or of a field that the spec names under `slices`. Only groups of at
least `MIN_SLICE_ITEMS` items count (Sagawa et al. 2020, arXiv 1911.08731, for worst-group figures).
The least of several noisy means is biased low, and the more so the more groups there are: the note
says by how much a resampled worst group is worse still, and intervals bound all groups at once (see
`largest`).

Of suites scored by `selected` (1 where the positive label was given) the same draws give the ratio
of selection rates and the gaps of true and false positive rates between groups (equalised odds;
Hardt, Price & Srebro 2016, arXiv 1610.02413).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from keepgain.analysis import stats
from keepgain.analysis.behaviour.figure import Figure
from keepgain.analysis.behaviour.largest import MOST, Largest, largest, turned
from keepgain.analysis.behaviour.resample import PartMeans, part_means
from keepgain.analysis.slices import careful
from keepgain.analysis.stats import Block, Estimate
from keepgain.analysis.table import SuiteItems
from keepgain.core.items import MIN_SLICE_ITEMS, Floats
from keepgain.core.metrics import Direction
from keepgain.core.positive import IS_POSITIVE, NO, YES
from keepgain.core.scorers import scorer, unit_of

FOUR_FIFTHS = (
    "a ratio below .8 is where the four-fifths rule of US employment law (29 CFR 1607.4 D) starts "
    "to ask; named as a reference only, it settles nothing"
)


def group_figures(suite: SuiteItems, tuned: Floats, base: Floats | None) -> list[Figure]:
    """Worst group, best minus worst and average minus worst of each field with two or more groups;
    then the counterfactual pairs, if the items are such. Of any suite; a `FamilyFunction`."""
    found: list[Figure] = []
    told = () if scorer(suite.info.scorer).neutral else tuple(suite.slices)
    for field in told:
        groups = _groups(suite, field)
        if len(groups.names) >= 2:
            found += _field_figures(suite, groups, tuned, base)
    return found + pair_figures(suite, tuned, base)


def selection_figures(suite: SuiteItems, tuned: Floats, base: Floats | None) -> list[Figure]:
    """Ratio of selection rates, true and false positive gaps, by each field with two or more
    groups; a `FamilyFunction` of `selected`."""
    found: list[Figure] = []
    for field in (f for f in suite.slices if f != IS_POSITIVE):
        for part, name, unit in _PARTS:
            groups = _groups(suite, field, part)
            if len(groups.names) < 2:
                continue
            sides = _drawn(suite, groups, tuned, base)
            called, note = f"{name}, by {field}", _counts(groups)
            if part:
                found.append(_gap(called, unit, groups, sides, note))
            else:
                found.append(_ratio(called, unit, groups, sides, f"{note}; {FOUR_FIFTHS}"))
    return found


_PARTS = (
    ("", "selection rate, lowest over highest", "ratio"),
    (YES, "true positive rate, gap", "share of items whose label is positive"),
    (NO, "false positive rate, gap", "share of items whose label is another"),
)


@dataclass(frozen=True)
class _Groups:
    """Those of one field that have enough items."""

    field: str
    names: tuple[str, ...]
    inside: Floats
    """Shape [n, groups]."""
    left_out: int
    """Groups with too few items."""

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """Items of each group."""
        return np.asarray(self.inside.sum(axis=0), dtype=np.int64)

    @property
    def total(self) -> int:
        """Items of all of them."""
        return int(self.counts.sum())


def _groups(suite: SuiteItems, field: str, positive: str = "") -> _Groups:
    """Groups of a field, in the order of their names.

    Args:
        positive: `YES` or `NO`: count only items whose own label is, or is not, the positive one.
    """
    values = suite.slices[field]
    truth = suite.slices.get(IS_POSITIVE, np.full(len(values), "", dtype=np.str_))
    kept = truth == positive if positive else np.ones(len(values), dtype=np.bool_)
    masks = {str(v): (values == v) & kept for v in np.unique(values) if v}
    enough = {v: m for v, m in masks.items() if m.sum() >= MIN_SLICE_ITEMS}
    some = sum(bool(m.any()) for m in masks.values())
    inside = np.array(list(enough.values()), dtype=np.float64).reshape(-1, len(values)).T
    return _Groups(field, tuple(enough), inside, some - len(enough))


def _counts(groups: _Groups) -> str:
    counted = ", ".join(
        f"{n} (n = {c})" for n, c in zip(groups.names, groups.counts.tolist(), strict=True)
    )
    return counted + _left_out(groups)


def _left_out(groups: _Groups) -> str:
    if not groups.left_out:
        return ""
    return f"; {groups.left_out} groups of fewer than {MIN_SLICE_ITEMS} items are left out"


# -- worst group --------------------------------------------------------------------------------


def _field_figures(
    suite: SuiteItems, groups: _Groups, tuned: Floats, base: Floats | None
) -> list[Figure]:
    """Of one field; scores keep the suite's own unit, gaps are not negative."""
    sign, unit, called = suite.sign, unit_of(suite.info.scorer), _called(groups.field)
    better: Direction = "maximize" if sign > 0 else "minimize"
    sides = _drawn(suite, groups, tuned, base)
    each, weights = np.eye(len(groups.names)), suite.weights @ groups.inside
    shares = weights / weights.sum()
    at = [int(np.argmin(sign * side.values)) for side in sides]
    counts = [int(n) for n in groups.counts[at]]
    # Turned so that the worst group has the largest contrast.
    worst = largest(-sign * each, sides, counts)
    if sign > 0:
        worst = turned(worst)
    below = largest(sign * (shares - each), sides, [groups.total] * len(sides))
    chosen = f"{groups.names[at[0]]}, n = {counts[0]}; the worst of {len(groups.names)} groups"
    note = (
        f"{chosen}{_left_out(groups)}; biased, as the worst of several: a resampled one is "
        f"{abs(worst.rise):.3f} worse on average"
    )
    return [
        _figure(f"worst {called}", unit, better, worst, note),
        _gap(f"best minus worst {called}", unit, groups, sides, ""),
        _figure(f"average minus worst {called}", unit, "minimize", _not_negative(below), ""),
    ]


def _called(field: str) -> str:
    return field if field == "group" else f"value of {field}"


def _drawn(
    suite: SuiteItems, groups: _Groups, tuned: Floats, base: Floats | None
) -> list[PartMeans]:
    """Means of the groups of the tuned side, then of the base, on the same draws."""
    return part_means(suite, groups.inside, [tuned] if base is None else [tuned, base])


def _gap(name: str, unit: str, groups: _Groups, sides: Sequence[PartMeans], note: str) -> Figure:
    """Highest minus lowest mean: the largest of all differences of two groups."""
    each = np.eye(len(groups.names))
    if len(each) * (len(each) - 1) > MOST:
        return _gap_alone(name, unit, groups, sides, note)
    pairs = np.concatenate([each - np.roll(each, k, axis=0) for k in range(1, len(each))])
    found = largest(pairs, sides, [groups.total] * len(sides))
    return _figure(name, unit, "minimize", _not_negative(found), note)


def _gap_alone(
    name: str, unit: str, groups: _Groups, sides: Sequence[PartMeans], note: str
) -> Figure:
    """Without an interval: draws of all differences of so many groups would fill the memory."""
    gaps = [float(np.ptp(side.values)) for side in sides]
    told = [
        Estimate(gap, None, None, groups.total, side.n_seeds, stats.UNKNOWN)
        for gap, side in zip(gaps, sides, strict=True)
    ]
    if len(told) == 1:
        return Figure(name, unit, "minimize", told[0], None, None, note)
    change = replace(told[0], value=gaps[0] - gaps[1])
    return Figure(name, unit, "minimize", told[0], told[1], change, note)


def _not_negative(found: Largest) -> Largest:
    """Of a gap: its bounds cannot be below 0."""
    tuned, base = (
        e if e is None or e.low is None else replace(e, low=max(0.0, e.low))
        for e in (found.tuned, found.base)
    )
    assert tuned is not None
    return replace(found, tuned=tuned, base=base)


def _ratio(name: str, unit: str, groups: _Groups, sides: Sequence[PartMeans], note: str) -> Figure:
    """Lowest over highest mean, bounded by the bounds of both; none where no group has any."""
    each, totals = np.eye(len(groups.names)), [groups.total] * len(sides)
    lowest, highest = turned(largest(-each, sides, totals)), largest(each, sides, totals)
    tuned = _over(lowest.tuned, highest.tuned)
    before = change = None
    if lowest.base is not None and highest.base is not None:
        before = _over(lowest.base, highest.base)
        change = _minus(tuned, before)
    return Figure(name, unit, "maximize", tuned, before, change, note)


def _over(low: Estimate, high: Estimate) -> Estimate:
    """A ratio in [0, 1] of two bounded figures."""
    if not high.value or low.value is None:
        return Estimate(n_items=low.n_items, n_seeds=low.n_seeds)
    value = low.value / high.value
    if low.low is None or low.high is None or not high.low or high.high is None or high.low <= 0:
        return replace(low, value=value, low=None, high=None, interval_method=stats.UNKNOWN)
    least, most = max(0.0, low.low / high.high), min(1.0, low.high / high.low)
    return replace(low, value=value, low=least, high=most)


def _minus(tuned: Estimate, base: Estimate) -> Estimate:
    """The difference of two figures from their bounds alone: wider than a paired one."""
    if tuned.value is None or base.value is None:
        return replace(tuned, value=None, low=None, high=None, interval_method=None)
    value, ends = tuned.value - base.value, (tuned.low, tuned.high, base.low, base.high)
    if any(e is None for e in ends):
        return replace(tuned, value=value, low=None, high=None, interval_method=stats.UNKNOWN)
    low_t, high_t, low_b, high_b = (float(e) for e in ends if e is not None)
    return replace(tuned, value=value, low=low_t - high_b, high=high_t - low_b)


def _figure(name: str, unit: str, direction: Direction, found: Largest, note: str) -> Figure:
    return Figure(name, unit, direction, found.tuned, found.base, found.change, note)


# -- pairs --------------------------------------------------------------------------------------


def pair_figures(suite: SuiteItems, tuned: Floats, base: Floats | None) -> list[Figure]:
    """Counterfactual pairs: how often the score of an item changes with the group it names.

    A pair is a `cluster` of exactly two items of different `group`s (Kusner et al. 2017, arXiv
    1703.06856, for the idea). Nothing is found where a cluster of two or more items is no such
    pair: clusters then mean something else. Items alone, whose other half is in another split, are
    left out. Intervals are t intervals over pairs.
    """
    first, second, alone = _pairs(suite)
    if len(first) < 2:
        return []
    binary = all(bool(np.all((x == 0) | (x == 1))) for x in (tuned, base) if x is not None)
    left = f"; {alone} items without their other half are left out" if alone else ""
    note = f"{len(first)} pairs{left}"
    asked = [("pairs that flip", "share of pairs", False)]
    if not binary:
        asked.append(("mean difference within pairs", unit_of(suite.info.scorer), True))
    found = []
    for name, unit, amount in asked:
        parts = [_apart(x, first, second, amount) for x in (tuned, base) if x is not None]
        estimates = [_of_pairs(p) for p in parts]
        change = None if base is None else _of_pairs(parts[0] - parts[1].mean(axis=1)[:, None])
        before = None if base is None else estimates[1]
        found.append(Figure(name, unit, "minimize", estimates[0], before, change, note))
    return found


def _pairs(suite: SuiteItems) -> tuple[list[int], list[int], int]:
    """(first items, second items, items alone); no pairs where clusters are anything else."""
    groups = suite.slices.get("group")
    if suite.clusters is None or groups is None:
        return [], [], 0
    members: dict[int, list[int]] = {}
    for at, cluster in enumerate(suite.clusters.tolist()):
        members.setdefault(cluster, []).append(at)
    several = [m for m in members.values() if len(m) > 1]
    for m in several:
        named = {str(groups[i]) for i in m} - {""}
        if len(m) != 2 or len(named) != 2:
            return [], [], 0
    return [m[0] for m in several], [m[1] for m in several], len(members) - len(several)


def _apart(scores: Floats, first: Sequence[int], second: Sequence[int], amount: bool) -> Floats:
    """Shape [pairs, S]: the absolute difference, or 1 where there is any."""
    apart = np.abs(scores[list(first)] - scores[list(second)])
    return apart if amount else (apart > 0).astype(np.float64)


def _of_pairs(values: Floats) -> Estimate:
    found = careful(stats.combine_own_seeds([Block(values, np.ones(len(values)))]))
    assert found is not None
    return found.estimate()
