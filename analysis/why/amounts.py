"""How much data is enough, how much synthetic is too much, does balancing help the rare class?

For every setting of the data that the trials of a base model differ in, the curves of `dose`: gain
and forgetting, and gain on slices. Everything is on validation, from full-budget trials that may be
compared (`observations`), one row a configuration. Slices are the group that scores worst over all
these trials (one group, not the worst of each trial, whose minimum would be biased), and for
settings that weigh the rows every slice, the rarest first.

"Enough" is judged by the question's `delta`: an amount is *within* if its bound against the best
amount is at most delta, *worse* if it is shown to be more than delta behind some other amount, and
*open* else. All bounds of a curve hold together with 95 %; curves are judged one by one.

A share of the training tokens cannot rise alone. The others fall in proportion: the share's curve
is adjusted for each other source's part of what is left. `replay_share` and `synthetic_share` are
such parts by definition.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from keepgain.analysis.dose import ROOM, Response, more_trainings, respond
from keepgain.analysis.measures import Measures
from keepgain.analysis.slices import Slice, SliceFigure, slice_block, slices_of
from keepgain.analysis.stats import Block, Estimate
from keepgain.analysis.why.observations import (
    SHARE,
    SHARES,
    Observation,
    Setting,
    design,
    independent,
    settings,
    share,
    shares,
)
from keepgain.core.items import MIN_SLICE_ITEMS, Floats
from keepgain.core.record import SpaceDimension

WEIGHING = ("balance_strength", "balance_by", "group_dro_step")
FILTER, NO_FILTER, REPEAT_LIMIT = "filter.", "none", "repeat_limit."
"""`filter.SOURCE` and `repeat_limit.SOURCE`: which rows of a source are left out, and how often one
may be drawn. A limit acts through the shares alone, which are recorded as it left them."""
DATA = ("rows", *SHARES, *WEIGHING)
GROUP = "group"
MAX_SLICES = 6
METHOD, TOGETHER = "adjusted_curve_t", "adjusted_curve_max_t"
LEARNING_RATE = "learning_rate"
SQUARED = 18
"""Trials beyond the other settings from which on the learning rate has a square, for its
optimum."""

MAX_BLOCKS = 100

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
            used = [o for o in own if _amount(o, setting) is not None]
            results += _of_setting(model, setting, used, measures, space, roles or {}, delta)
    return tuple(results)


def data_settings(
    own: Sequence[Observation], space: Sequence[SpaceDimension], roles: Mapping[str, str]
) -> tuple[Setting, ...]:
    """Settings of the data that differ; of the shares that sum to 1 not the task's, which has the
    rest: of several sources of the task the first one of the spec, and without known roles the
    largest on average."""
    mixed = [n for n in shares(own) if n.startswith(SHARE)]
    tasks = [f"{SHARE}{n}" for n, role in roles.items() if role == "task"]
    left_out = next((n for n in tasks if n in mixed), mixed[0] if mixed else None)
    varied = {s.name: s for s in settings(own, space)}
    # A source that some trials lack is a share of 0 there.
    varied |= {n: Setting(n, "number") for n in mixed}
    return tuple(
        s
        for n, s in varied.items()
        if (n in DATA or n in mixed or n.startswith((FILTER, REPEAT_LIMIT)))
        and n != left_out
        and not _single(own, s)
    )


def _single(own: Sequence[Observation], setting: Setting) -> bool:
    return len({_amount(o, setting) for o in own} - {None}) < 2


def _amount(o: Observation, setting: Setting) -> float | str | None:
    """As it is told: a number or text."""
    if setting.name.startswith(SHARE):
        return share(o, setting.name)
    value = o.params.get(setting.name)
    if value is None or setting.kind == "category":
        return None if value is None else str(value)
    assert isinstance(value, int | float), "settings() checked it"
    return float(value)


def _of_setting(
    model: str,
    setting: Setting,
    used: Sequence[Observation],
    measures: Measures,
    space: Sequence[SpaceDimension],
    roles: Mapping[str, str],
    delta: float,
) -> list[Curve]:
    told = [_amount(o, setting) for o in used]
    log = setting.name == "rows" or setting.kind == "log"
    names: tuple[str, ...] | None = None
    if setting.kind == "category":
        names = tuple(sorted({str(v) for v in told}, key=lambda v: (v != NO_FILTER, v)))
        x = np.array([float(names.index(str(v))) for v in told])
    else:
        x = np.array([float(str(v)) for v in told])
        x = np.log(x) if log else x
    adjusted, z = _others(setting, used, space)
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
        blocks = _blocks(used, measures, measure, part)
        if blocks is None:
            curves.append(replace(curve, reason="not every trial has this figure"))
            continue
        seeds = np.array([float(o.who.seeds("validation")) for o in used])
        quantity = measure if part is None else SliceFigure(part, gain=True)
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
    used: Sequence[Observation], measures: Measures, measure: str, part: Slice | None
) -> list[Block] | None:
    """One block a suite with a column a trial; None where a trial lacks the figure."""
    each = [_of_trial(o, measures, measure, part) for o in used]
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


def _of_trial(
    o: Observation, measures: Measures, measure: str, part: Slice | None
) -> tuple[Block, ...] | None:
    if part is None:
        return measures.blocks(o.who, "validation", measure)
    base = measures.base(o.who.model)
    if base is None or part.suite not in base.scores.get("validation", {}):
        return None
    suite = measures.table.suites["validation"][part.suite]
    scores = o.who.scores["validation"][part.suite]
    figure = SliceFigure(part, gain=True)
    block = slice_block(figure, suite, scores, base.scores["validation"][part.suite])
    return None if block is None else (block,)


def _others(
    setting: Setting, used: Sequence[Observation], space: Sequence[SpaceDimension]
) -> tuple[tuple[str, ...], Floats]:
    """Names and centred columns of the other settings, shape [T, d].

    Where all their combinations recur, as in a grid, each has a column (a block), so that amounts
    are compared within it; else each setting has one, or one a level.
    """
    mixed = [n for n in shares(used) if n.startswith(SHARE)]
    is_share = setting.name.startswith(SHARE)
    # The budget follows from the duration.
    is_limit = setting.name.startswith(REPEAT_LIMIT)
    apart = {setting.name, "budget", *(mixed if is_share or is_limit else ())}
    others = [
        s
        for s in settings(used, space)
        if s.name not in apart and not s.name.startswith(REPEAT_LIMIT)
    ]
    rest = [n for n in mixed if n != setting.name] if is_share else []
    parts = [_of_rest(used, setting.name, n) for n in rest]
    varied = [n for n, p in zip(rest, parts, strict=True) if np.ptp(p) > 1e-9]
    names = (*(s.name for s in others), *varied)
    values = [[str(s.of(o.params)) for s in others] for o in used]
    cells = [(*v, *(f"{p[t]:.6g}" for p in parts)) for t, v in enumerate(values)]
    blocks = Counter(cells)
    room = len(used) - len(blocks) - len({_amount(o, setting) for o in used}) >= ROOM
    if room and 1 < len(blocks) <= MAX_BLOCKS and min(blocks.values()) > 1:
        z = np.array([[float(c == b) for b in list(blocks)[1:]] for c in cells])
        return names, z - z.mean(axis=0)
    columns, z = design(used, others)
    if LEARNING_RATE in columns and len(used) >= z.shape[1] + SQUARED:
        rate = z[:, columns.index(LEARNING_RATE)]
        if len(set(rate.tolist())) > 2:
            z = np.column_stack([z, rate**2])
    z = np.column_stack([z, *parts])
    z = (z - z.mean(axis=0))[:, z.std(axis=0) > 1e-9]
    return names, independent(z)


def _of_rest(used: Sequence[Observation], setting: str, other: str) -> Floats:
    """A source's part of the tokens that `setting` leaves, shape [T]; where it leaves none, the
    mean."""
    left = np.array([1 - share(o, setting) for o in used])
    part = np.array([share(o, other) for o in used])
    known = left > 1e-9
    part[known] /= left[known]
    part[~known] = part[known].mean() if known.any() else 0.0
    return part
