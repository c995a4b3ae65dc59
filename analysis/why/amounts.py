"""How much data is enough, how much synthetic is too much, does balancing help the rare class?

For every setting of the data that the trials of a base model differ in, the curves of `dose`: gain
and forgetting, and gain on slices. Everything is on validation, from full-budget trials that may be
compared (`observations`), one row a configuration. Slices are the group that scores worst over all
these trials (one group, not the worst of each trial, whose minimum would be biased), and for
settings that weigh the rows every slice, the rarest first.

"Enough" is judged by the question's `delta`: an amount is *within* if its bound against the best
amount is at most delta, *worse* if it is shown to be more than delta behind some other amount, and
*open* else. All bounds of a curve hold together with 95 %; curves are judged one by one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from keepgain.analysis.dose import Response, more_trainings, respond
from keepgain.analysis.measures import Measures
from keepgain.analysis.quantities import Quantity
from keepgain.analysis.slices import Slice, SliceFigure, slices_of
from keepgain.analysis.stats import Block, Estimate
from keepgain.analysis.why.data_settings import (
    NO_FILTER,
    WEIGHING,
    amount_of,
    data_settings,
    other_settings,
)
from keepgain.analysis.why.observations import SHARE, Observation, Setting
from keepgain.core.items import MIN_SLICE_ITEMS
from keepgain.core.record import SpaceDimension

GROUP = "group"
MAX_SLICES = 6
METHOD, TOGETHER = "adjusted_curve_t", "adjusted_curve_max_t"

Verdict = Literal["within", "worse", "open"]


@dataclass(frozen=True)
class Point:
    """The curve at one amount, at the mean of the other settings."""

    at: float | str
    value: Estimate
    """With the interval of this point alone."""
    low_all: float
    """Simultaneous, over the whole curve; so is `high_all`."""
    high_all: float
    change: Estimate
    """From the first amount to this one; simultaneous over all pairs of amounts."""
    behind_most: float
    """Bound: at most so much worse than the best amount, and at least `behind_least`."""
    behind_least: float
    verdict: Verdict | None
    """None: there is no margin in this unit."""


@dataclass(frozen=True)
class Curve:
    """One setting, base model and measure."""

    model: str
    setting: str
    role: str | None
    """Of the source whose share it is, where the record says so."""
    measure: str
    """`gain` or `forgetting`."""
    part: Slice | None
    """Gain on a slice alone."""
    worst: bool
    """That slice is the group that scores worst."""
    scorer: str
    trials: int
    adjusted: tuple[str, ...] = ()
    """Other settings that differ, for which the curve is adjusted."""
    margin: float | None = None
    """The question's `delta`, if it is in this unit."""
    form: str | None = None
    """None: not assessed, see `reason`."""
    pooled: bool = False
    """Noise is the pooled variance between seeds: nothing else varies."""
    points: tuple[Point, ...] = ()
    p: float | None = None
    """That no amount differs from another, by the largest difference of all pairs."""
    reach: float | None = None
    """Half the simultaneous interval of the widest difference between two amounts."""
    more: int | None = None
    """Trainings beside those made until `reach` is the margin; None: no number would do."""
    reason: str | None = None

    @property
    def up(self) -> float:
        """1 if more of the measure is better."""
        return 1.0 if self.measure == "gain" else -1.0

    @property
    def within(self) -> tuple[Point, ...]:
        """Amounts shown to be within the margin of the best."""
        return tuple(p for p in self.points if p.verdict == "within")


def amounts(
    found: Sequence[Observation],
    measures: Measures,
    space: Sequence[SpaceDimension] = (),
    roles: Mapping[str, str] | None = None,
    delta: float = 0.0,
) -> tuple[Curve, ...]:
    """Curves of every base model, as the record lists them; empty where no data setting varies.

    Args:
        space: As recorded: it says what was searched by its logarithm.
        roles: Source → role, where known.
        delta: The margin, in the unit of the gain.
    """
    results: list[Curve] = []
    for model in (m.name for m in measures.table.sweep.models):
        own = [o for o in found if o.who.model == model]
        for setting in data_settings(own, space, roles or {}):
            used = [o for o in own if amount_of(o, setting) is not None]
            results += _of_setting(model, setting, used, measures, space, roles or {}, delta)
    return tuple(results)


def _of_setting(
    model: str,
    setting: Setting,
    used: Sequence[Observation],
    measures: Measures,
    space: Sequence[SpaceDimension],
    roles: Mapping[str, str],
    delta: float,
) -> list[Curve]:
    told = [amount_of(o, setting) for o in used]
    log = setting.name == "rows" or setting.kind == "log"
    names: tuple[str, ...] | None = None
    if setting.kind == "category":
        names = tuple(sorted({str(v) for v in told}, key=lambda v: (v != NO_FILTER, v)))
        x = np.array([float(names.index(str(v))) for v in told])
    else:
        x = np.array([float(str(v)) for v in told])
        x = np.log(x) if log else x
    adjusted, z = other_settings(setting, used, space)
    start = Curve(
        model,
        setting.name,
        roles.get(setting.name.removeprefix(SHARE)) if setting.name.startswith(SHARE) else None,
        "gain",
        None,
        False,
        "",
        len(used),
        adjusted,
    )
    curves = []
    for measure, part, worst in _measured(setting.name, used, measures):
        scorer = measures.scorer(measure) if part is None else _scorer(measures, part)
        margin = delta if scorer == measures.scorer("gain") else None
        curve = replace(
            start, measure=measure, part=part, worst=worst, scorer=scorer, margin=margin
        )
        quantity = measure if part is None else SliceFigure(part, gain=True)
        blocks = _blocks(used, measures, quantity)
        if blocks is None:
            curves.append(replace(curve, reason="not every trial has this figure"))
            continue
        seeds = np.array([float(o.who.seeds("validation")) for o in used])
        pooled = measures.seed_variance(model, "validation", quantity)
        got = respond(x, z, blocks, (pooled, seeds), levels=len(names) if names else None)
        if isinstance(got, str):
            curves.append(replace(curve, reason=got))
            continue
        shown: tuple[float | str, ...] = got.points
        if names is not None:
            shown = tuple(names[int(p)] for p in got.points)
        elif log:
            shown = tuple(float(np.exp(p)) for p in got.points)
        items = sum(len(b.weights) for b in blocks)
        curves.append(_curve(curve, got, shown, items, int(seeds.sum())))
    return curves


def _curve(
    start: Curve, got: Response, shown: Sequence[float | str], items: int, trainings: int
) -> Curve:
    most, least = got.below_best(start.up)
    changes = got.values - got.values[0]
    reaches = got.pairs * got.pair_errors[0]
    margin = start.margin
    points = []
    for k, at in enumerate(shown):
        value, error = float(got.values[k]), float(got.errors[k])
        own, every = got.pointwise * error, got.together * error
        verdict: Verdict | None = None
        if margin is not None:
            is_worse = least[k] > margin
            verdict = "within" if most[k] <= margin else "worse" if is_worse else "open"
        estimate = Estimate(value, value - own, value + own, items, trainings, METHOD)
        by, reach = float(changes[k]), float(reaches[k])
        change = Estimate(by, by - reach, by + reach, items, trainings, TOGETHER)
        behind = float(most[k]), float(least[k])
        ends = value - every, value + every
        points.append(Point(at, estimate, *ends, change, *behind, verdict))
    return replace(
        start,
        form=got.form,
        pooled=got.pooled,
        points=tuple(points),
        p=got.p,
        reach=got.reach,
        more=more_trainings(got, trainings, margin) if margin else None,
    )


def _measured(
    name: str, used: Sequence[Observation], measures: Measures
) -> list[tuple[str, Slice | None, bool]]:
    """(measure, slice, it is the worst group): the whole first, then slices of what is gained."""
    infos = {s.info.measures for s in measures.table.suites["validation"].values()}
    found: list[tuple[str, Slice | None, bool]] = [
        (m, None, False) for m in ("gain", "forgetting") if m in infos
    ]
    sliced: dict[Slice, tuple[int, float]] = {}
    for suite in measures.table.suites["validation"].values():
        own = suite.info.name
        if suite.info.measures != "gain" or any(own not in o.suites for o in used):
            continue
        for part in slices_of(suite):
            inside = suite.slices[part.field] == part.value
            if (n := int(inside.sum())) >= MIN_SLICE_ITEMS:
                scores = [o.who.scores["validation"][own][inside].mean(axis=1) for o in used]
                level = np.average(np.mean(scores, axis=0), weights=suite.weights[inside])
                sliced[part] = (n, suite.sign * float(level))
    groups = [s for s in sliced if s.field == GROUP]
    worst = min(groups, key=lambda s: sliced[s][1]) if len(groups) > 1 else None
    if worst is not None:
        found.append(("gain", worst, True))
    if name in WEIGHING:
        rarest = sorted((s for s in sliced if s != worst), key=lambda s: sliced[s][0])
        found += [("gain", s, False) for s in rarest[:MAX_SLICES]]
    return found


def _scorer(measures: Measures, part: Slice) -> str:
    return measures.table.suites["validation"][part.suite].info.scorer


def _blocks(
    used: Sequence[Observation], measures: Measures, quantity: Quantity
) -> list[Block] | None:
    """One block a suite with a column a trial; None where a trial lacks the figure."""
    each = [measures.blocks(o.who, "validation", quantity) for o in used]
    if any(b is None for b in each):
        return None
    return [
        Block(
            np.column_stack([b.values.mean(axis=1) for b in same]),
            same[0].weights,
            same[0].clusters,
        )
        for same in zip(*(b for b in each if b is not None), strict=True)
    ]
