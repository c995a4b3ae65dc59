"""Non-dominated sets, how sure they are, and the ranks that follow.

A trial is compared in its *field*: the configurations of one base model on one split. Confirmed
trials are compared on the test split; trials that were not confirmed on validation, where the
confirmed ones, too, have scores and take their places (so a rank there may be taken by a trial that
is shown with its test figures). No field mixes splits or base models.

A row that lacks an objective, or that breaks `min_gain`, `max_forgetting` or a cost limit of the
question by its point estimate, is on no front and displaces nobody; its reason is kept.

Rank rule within a field: trials that may stand first; those by layer of non-domination in (gain,
forgetting) or the objectives asked for, bases and reference arms that may stand included as rivals;
then larger gain, then less forgetting. Exact ties share a rank and the next rank counts them (1, 1,
3). Without forgetting suites there is no front, and gain alone ranks.
"""

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import moocore
import numpy as np
import numpy.typing as npt

from keepgain.analysis.behaviour.guards import guard_broken
from keepgain.analysis.costs import over_budget
from keepgain.analysis.hypervolume import Volume, hypervolume, reference_point
from keepgain.analysis.measures import Measures
from keepgain.analysis.points import DRAWS, Mask, Points, of_measures
from keepgain.analysis.table import Configuration
from keepgain.core.config import Split
from keepgain.core.items import Floats
from keepgain.core.record import Question
from keepgain.core.spread import farthest_first

WITHIN = ("gain", "forgetting")
"""Objectives within a base model, unless others are asked for."""
LEVELS = ("task_score", "general_score")
"""Objectives across sizes, with the question's cost: gains have different bases (decision 18)."""
FEW = 40
"""Rows of a field in which all pairs are compared at once, over many draws."""
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
    excluded: str | None = None
    """Why it is on no front: an objective that it lacks, or the limit that it breaks."""


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


def on_fronts(draws: Floats, maximise: Sequence[bool]) -> npt.NDArray[np.int64]:
    """In how many draws each row is on the front, as `nondominated` has it; shape [n].

    Args:
        draws: Shape [d, n, m], finite.
        maximise: One per column.
    """
    if draws.shape[1] > FEW:
        return np.sum([nondominated(points, maximise) for points in draws], axis=0, dtype=np.int64)
    # Thousands of small fields: comparing all pairs at once is quicker than as many calls.
    turned = np.round(draws, _DECIMALS) * np.where(maximise, 1.0, -1.0)
    rivals, rows = turned[:, None], turned[:, :, None]
    beaten = np.all(rivals >= rows, axis=3) & np.any(rivals > rows, axis=3)
    return np.sum(~np.any(beaten, axis=2), axis=0, dtype=np.int64)


def layers(points: Floats, maximise: Sequence[bool]) -> npt.NDArray[np.int64]:
    """Layer of non-domination of each row, 0 the front (Deb et al. 2002); shape [n]."""
    if len(points) == 0:
        return np.zeros(0, dtype=np.int64)
    rounded = np.round(points, _DECIMALS)
    if rounded.shape[1] == 1:  # of a single column moocore 0.3 takes the highest for the best
        best_first = -rounded[:, 0] if maximise[0] else rounded[:, 0]
        return np.asarray(np.unique(best_first, return_inverse=True)[1], dtype=np.int64)
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
        points = list(zip(gain[members].tolist(), forgetting[members].tolist(), strict=True))
        order += [int(members[i]) for i in farthest_first(points)]
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


@dataclass(frozen=True)
class Front:
    """A set of points, those that nothing in it dominates, and those that may not stand.

    Equal points stand or fall together (weak dominance removes neither). What lacks an objective or
    breaks a limit at its point estimate is in `excluded`; it is on no front, and displaces nobody.
    """

    points: Points
    on: Mask
    """Shape [n], as `near`."""
    near: Mask
    """Would be on the front with `margin` more of the first objective."""
    membership: Floats | None
    """Shape [n]: share of draws on the front, NaN for what is excluded; no calibrated probability
    (decision 22). None where the uncertainty is unknown."""
    excluded: Mapping[str, str]
    """Id → why."""
    volume: Volume | None = None
    """None without a reference point for every objective."""

    @property
    def ids(self) -> frozenset[str]:
        """Of what is on the front."""
        return frozenset(i for i, on in zip(self.points.ids, self.on, strict=True) if on)


def front_of(
    points: Points,
    *,
    broken: Mapping[str, str] | None = None,
    margin: float = 0.0,
    draws: int = DRAWS,
    reference: Mapping[str, float] | None = None,
) -> Front:
    """The front of any objectives.

    Args:
        broken: Id → the limit that its point estimate breaks.
        margin: Of `near`, in the first objective's unit.
        draws: For membership; 0: none.
        reference: See `hypervolume`; None: no volume.
    """
    excluded = {**(broken or {}), **points.excluded}
    standing = np.array([i not in excluded for i in points.ids], dtype=bool)
    at = np.flatnonzero(standing)
    field = points.values[at]
    on, near = np.zeros(len(points.ids), bool), np.zeros(len(points.ids), bool)
    on[at] = nondominated(field, points.maximise)
    behind = at[~on[at]]
    near[at] = on[at]  # what is on the front stays there with more of an objective
    near[behind] = _near(points.values[behind], points.values[on], points.maximise, margin)
    membership = _membership(points, at, draws) if draws and len(at) else None
    volume = None
    if reference is not None:
        volume = hypervolume(points.values[on], points.objectives, reference)
    return Front(points, on, near, membership, excluded, volume)


def within_size(
    measures: Measures,
    split: Split,
    model: str,
    question: Question,
    names: Sequence[str] = WITHIN,
) -> tuple[Front, dict[str, Place]]:
    """Front, membership and rank of one field.

    Returns:
        The front, and trial id → place, for all configurations of the model that have scores on
        the split.

    Raises:
        UserError: An unknown objective.
    """
    name = f"{model} / {split}"
    field = [c for c in measures.table.configurations if c.model == model and c.has(split)]
    points = of_measures(measures, split, field, names)
    known = any(c.kind == "base" for c in field) and any(c.kind == "trial" for c in field)
    front = front_of(
        points,
        broken=limits_broken(measures, split, field, question),
        margin=question.delta,
        draws=DRAWS if known else 0,
        reference=reference_point(points.objectives, question, measures.table.sweep.models),
    )
    ranks = _ranks(measures, split, field, standing_layers(front))
    places = {}
    for i, who in enumerate(field):
        share = None if front.membership is None else float(front.membership[i])
        places[who.trial_id] = Place(
            field=name,
            on_front=bool(front.on[i]),
            near_front=bool(front.near[i]),
            membership=None if share is None or np.isnan(share) else share,
            rank=ranks.get(i),
            excluded=front.excluded.get(who.trial_id),
        )
    return front, places


def across_sizes(
    measures: Measures,
    split: Split,
    who: Sequence[Configuration],
    question: Question,
    names: Sequence[str] | None = None,
) -> Front:
    """The front across sizes, by default of (task score, general score, cost): levels.

    Objectives that nothing here has are left out of the default ones.

    Raises:
        UserError: An unknown objective.
    """
    points = of_measures(measures, split, who, names or (*LEVELS, question.cost))
    if names is None:
        held = [k for k in range(len(points.names)) if np.isfinite(points.values[:, k]).any()]
        points = of_measures(measures, split, who, [points.names[k] for k in held or [0]])
    return front_of(
        points,
        broken=limits_broken(measures, split, who, question),
        margin=question.delta,
        reference=reference_point(points.objectives, question, measures.table.sweep.models),
    )


def limits_broken(
    measures: Measures, split: Split, who: Sequence[Configuration], question: Question
) -> dict[str, str]:
    """Trial id → which limit of the question its point estimates break: gain, drop, or cost.

    A model that learned nothing forgets nothing, so without limits it would be on every front.
    """
    found = {}
    for c in who:
        gain, worst = measures.point(c, split, "gain"), measures.worst_drop(c, split)
        limit = question.max_forgetting
        if gain is not None and round(gain, _DECIMALS) < question.min_gain:
            found[c.trial_id] = f"gain {gain:.3g} is below {question.min_gain:.3g} (min_gain)"
        elif limit is not None and worst is not None and round(worst, _DECIMALS) > limit:
            found[c.trial_id] = f"largest drop {worst:.3g} is above {limit:.3g} (max_forgetting)"
        elif why := over_budget(c, question) or guard_broken(measures, split, c, question):
            found[c.trial_id] = why
    return found


def _near(points: Floats, front: Floats, maximise: Sequence[bool], margin: float) -> Mask:
    """Whether each point, given `margin` more of the first objective, would be dominated by none.

    A point that the front does not dominate is dominated by nothing.
    """
    sign = np.where(maximise, 1.0, -1.0)
    moved, rivals = sign * np.round(points, _DECIMALS), sign * np.round(front, _DECIMALS)
    if points.shape[1]:
        moved[:, 0] += margin
    beaten = np.zeros(len(points), dtype=bool)
    for rival in rivals:
        beaten |= (rival >= moved).all(axis=1) & (rival > moved).any(axis=1)
    return ~beaten


def _membership(points: Points, at: npt.NDArray[np.int64], draws: int) -> Floats | None:
    """Share of joint draws in which each of the rows `at` is on their front; NaN elsewhere."""
    chunks = points.keep(at).draws(draws)
    if chunks is None:
        return None
    count = np.zeros(len(at))
    for chunk in chunks:
        count += on_fronts(chunk, points.maximise)
    found = np.full(len(points.ids), np.nan)
    found[at] = count / draws
    return found


def standing_layers(front: Front) -> dict[int, int]:
    """Row → its layer among the rows that may stand; the others have none, and displace nobody."""
    points = front.points
    at = [n for n, i in enumerate(points.ids) if i not in front.excluded]
    return dict(zip(at, layers(points.values[at], points.maximise).tolist(), strict=True))


def _ranks(
    measures: Measures, split: Split, field: Sequence[Configuration], layer: Mapping[int, int]
) -> dict[int, int]:
    """Index → rank of the trials of a field, by the module's rule.

    Args:
        layer: See `standing_layers`.
    """
    keys: dict[int, tuple[float, ...]] = {}
    for i, who in enumerate(field):
        g, f = (measures.point(who, split, name) for name in WITHIN)
        if who.kind != "trial" or g is None:
            continue
        keys[i] = (
            float(layer.get(i, np.inf)),
            -round(g, _DECIMALS),
            round(f, _DECIMALS) if f is not None else 0.0,
        )
    ordered = sorted(keys.values())
    return {i: 1 + bisect.bisect_left(ordered, key) for i, key in keys.items()}
