"""Non-dominated sets, how sure they are, and the ranks that follow.

A trial is compared in its *field*: the configurations of one base model on one split. Confirmed
trials are compared on the test split; trials that were not confirmed on validation, where the
confirmed ones, too, have scores and take their places (so a rank there may be taken by a trial that
is shown with its test figures). No field mixes splits or base models.

Rank rule within a field: trials within the forgetting limit first; then by layer of non-domination
in (gain, forgetting), bases and reference arms included as rivals; then larger gain, then less
forgetting. Exact ties share a rank and the next rank counts them (1, 1, 3). Without forgetting
suites there is no front, and gain alone ranks.
"""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

import moocore
import numpy as np
import numpy.typing as npt

from keepgain.analysis.draws import draw_scores
from keepgain.analysis.measures import Measures
from keepgain.analysis.table import Configuration
from keepgain.core.config import Split
from keepgain.core.items import Floats
from keepgain.core.record import Question

DRAWS = 1000
_DECIMALS = 12
"""Means of equal item scores may differ in the last bit: that is no domination."""


@dataclass(frozen=True)
class Place:
    """Where a configuration stands in its field."""

    field: str
    on_front: bool = False
    near_front: bool = False
    """Would be on the front with delta more gain."""
    membership: float | None = None
    """Share of draws in which it is on the front; no calibrated probability (decision 22). None
    without a replicate in its size."""
    rank: int | None = None


def nondominated(points: Floats, maximise: Sequence[bool]) -> npt.NDArray[np.bool_]:
    """Rows that no other row dominates; equal rows stand or fall together.

    Args:
        points: Shape [n, m], finite.
        maximise: One per column.
    """
    if len(points) == 0:
        return np.zeros(0, dtype=bool)
    rounded = np.round(points, _DECIMALS)
    kept = moocore.is_nondominated(rounded, maximise=list(maximise), keep_weakly=True)
    return np.asarray(kept, dtype=bool)


def layers(points: Floats, maximise: Sequence[bool]) -> npt.NDArray[np.int64]:
    """Layer of non-domination of each row, 0 the front (Deb et al. 2002); shape [n]."""
    if len(points) == 0:
        return np.zeros(0, dtype=np.int64)
    rounded = np.round(points, _DECIMALS)
    return np.asarray(moocore.pareto_rank(rounded, maximise=list(maximise)), dtype=np.int64)


def layered_order(gain: Floats, forgetting: Floats, excess: Floats) -> list[int]:
    """Positions of trials, best first, as the rungs of a search rank them.

    Within the limit on forgetting by layers; inside a layer the two extremes first, then always
    the trial farthest from those taken, each objective scaled to the layer's range. Then those
    beyond the limit, by how far. Ties go to the lower position.

    Args:
        gain: Shape [n], as the others.
        forgetting: Zeros where it was not measured.
        excess: Largest drop of a suite beyond the limit; 0 within it.
    """
    gain, forgetting = np.round(gain, _DECIMALS), np.round(forgetting, _DECIMALS)
    within = np.flatnonzero(excess <= 0)
    layer = layers(np.column_stack([gain, forgetting])[within], (True, False))
    order: list[int] = []
    for k in range(layer.max(initial=-1) + 1):
        members = within[layer == k]
        order += [int(members[i]) for i in _spread(gain[members], forgetting[members])]
    beyond = np.flatnonzero(excess > 0)
    return order + [int(beyond[i]) for i in np.lexsort((-gain[beyond], excess[beyond]))]


def early_order(gain: Floats, smooth: Floats, forgetting: Floats) -> list[int]:
    """As `layered_order`, below the grace share: by gain and by layers in turn.

    Args:
        gain: Shape [n], as the others.
        smooth: Gain by the suites that stand in below the full budget (`proxy_for`).
    """
    by_gain = np.lexsort((np.round(forgetting, _DECIMALS), -np.round(gain, _DECIMALS))).tolist()
    by_layers = layered_order(smooth, forgetting, np.zeros(len(gain)))
    pairs = zip(by_gain, by_layers, strict=True)
    return list(dict.fromkeys(int(i) for pair in pairs for i in pair))


def _spread(gain: Floats, forgetting: Floats) -> list[int]:
    """Positions within one layer; see `layered_order`."""
    points = np.column_stack([gain, forgetting])
    width = np.ptp(points, axis=0)
    points = points / np.where(width > 0, width, 1.0)
    left = list(range(len(points)))
    order = [int(np.argmax(gain))]
    left.remove(order[0])
    if left:
        order.append(min(left, key=lambda i: (forgetting[i], -gain[i], i)))
        left.remove(order[1])
    while left:
        near = [min(np.hypot(*(points[i] - points[j])) for j in order) for i in left]
        order.append(left.pop(int(np.argmax(near))))
    return order


def within_size(
    measures: Measures, split: Split, model: str, question: Question
) -> dict[str, Place]:
    """Front, membership and rank of one field.

    Returns:
        Trial id → place, for all configurations of the model that have scores on the split.
    """
    name = f"{model} / {split}"
    field = [c for c in measures.table.configurations if c.model == model and c.has(split)]
    gain = [measures.point(c, split, "gain") for c in field]
    forgetting = [measures.point(c, split, "forgetting") for c in field]
    complete = [i for i in range(len(field)) if gain[i] is not None and forgetting[i] is not None]
    points = np.array([(gain[i], forgetting[i]) for i in complete], dtype=np.float64).reshape(-1, 2)
    front = nondominated(points, (True, False))
    layer = dict(zip(complete, layers(points, (True, False)).tolist(), strict=True))
    near = _near(points, question.delta)
    membership = _membership(measures, split, [field[i] for i in complete])
    ranks = _ranks(measures, split, field, gain, forgetting, layer, question)
    position = {i: at for at, i in enumerate(complete)}
    places = {}
    for i, who in enumerate(field):
        at = position.get(i)
        places[who.trial_id] = Place(
            field=name,
            on_front=at is not None and bool(front[at]),
            near_front=at is not None and bool(near[at]),
            membership=None if at is None or membership is None else float(membership[at]),
            rank=ranks.get(i),
        )
    return places


def across_sizes(
    measures: Measures, split: Split, who: Sequence[Configuration], cost: str
) -> frozenset[str]:
    """Trial ids on the front of (task score, general score, cost): levels, as sizes compare.

    Objectives that the sweep did not measure are left out; a row lacking one of the others is not
    on the front.
    """
    rows: list[tuple[str, list[float | None]]] = []
    for c in who:
        task = _oriented(measures, c, split, "task_score")
        general = _oriented(measures, c, split, "general_score")
        price = c.cost.get(cost)
        rows.append((c.trial_id, [task, general, None if price is None else -price]))
    columns = [k for k in range(3) if any(values[k] is not None for _, values in rows)]
    kept = [(t, [v[k] for k in columns]) for t, v in rows if all(v[k] is not None for k in columns)]
    points = np.array([v for _, v in kept], dtype=np.float64)
    if not kept or not columns:
        return frozenset()
    on = nondominated(points, [True] * len(columns))
    return frozenset(t for (t, _), yes in zip(kept, on, strict=True) if yes)


def _oriented(m: Measures, who: Configuration, split: Split, name: str) -> float | None:
    value = m.point(who, split, name)
    return None if value is None else m.sign(name) * value


def _near(points: Floats, delta: float) -> list[bool]:
    """Whether each point, given `delta` more gain, would be dominated by none of the others."""
    near = []
    for gain, forgetting in points:
        better_gain = points[:, 0] >= gain + delta
        no_worse = points[:, 1] <= forgetting
        strictly = (points[:, 0] > gain + delta) | (points[:, 1] < forgetting)
        near.append(not bool(np.any(better_gain & no_worse & strictly)))
    return near


def _membership(measures: Measures, split: Split, field: Sequence[Configuration]) -> Floats | None:
    """Share of joint draws in which each configuration is on the front; shape [len(field)]."""
    base = next((c for c in field if c.kind == "base"), None)
    if base is None or not any(c.kind == "trial" for c in field):
        return None
    drawn = draw_scores(measures, split, field, DRAWS)
    if drawn is None:
        return None
    origin = list(field).index(base)
    gain = np.zeros((DRAWS, len(field)))
    forgetting = np.zeros((DRAWS, len(field)))
    for name, suite in measures.table.suites[split].items():
        change = suite.sign * (drawn[name] - drawn[name][:, [origin]])
        if suite.info.measures == "gain":
            gain += change
        else:
            forgetting -= change  # sums order as means do
    count = np.zeros(len(field))
    for d in range(DRAWS):
        count += nondominated(np.column_stack([gain[d], forgetting[d]]), (True, False))
    return count / DRAWS


def _ranks(
    measures: Measures,
    split: Split,
    field: Sequence[Configuration],
    gain: Sequence[float | None],
    forgetting: Sequence[float | None],
    layer: dict[int, int],
    question: Question,
) -> dict[int, int]:
    """Index → rank of the trials of a field, by the module's rule."""
    keys: dict[int, tuple[float, ...]] = {}
    for i, who in enumerate(field):
        g, f = gain[i], forgetting[i]
        if who.kind != "trial" or g is None:
            continue
        worst = measures.worst_drop(who, split)
        limit = question.max_forgetting
        too_much = limit is not None and worst is not None and worst > limit
        keys[i] = (
            float(too_much),
            float(layer.get(i, 0)),
            -round(g, _DECIMALS),
            round(f, _DECIMALS) if f is not None else 0.0,
        )
    ordered = sorted(keys.values())
    return {i: 1 + bisect.bisect_left(ordered, key) for i, key in keys.items()}
