"""The analysis of a table from elsewhere: its front, its rows, and the decision (`given_judge`).

The status is always `provisional`: rows are chosen on the very figures that they are judged by.
"""

import bisect
from collections.abc import Sequence

import numpy as np

from keepgain.analysis.decide import MAX_POOL_FOR_FLIPS, Decision
from keepgain.analysis.fronts import Front, Place, front_of, standing_layers
from keepgain.analysis.given_judge import (
    candidate_of,
    delta_flips,
    judge_given,
    probability_adequate,
    tied_with,
)
from keepgain.analysis.given_scene import Scene, broken, offered, scene_of
from keepgain.analysis.given_table import describe
from keepgain.analysis.given_text import reason
from keepgain.analysis.hypervolume import reference_point
from keepgain.analysis.result import Analysis, Row, SizeRow
from keepgain.analysis.stats import Estimate
from keepgain.analysis.table import Configuration
from keepgain.core.errors import UserError
from keepgain.core.record import Question, SweepRecord

FIELD = "table"
"""What the one field of such a record is called; its rows are all compared with each other."""


def analyze_given(
    sweep: SweepRecord,
    question: Question,
    *,
    budget_usd: float | None = None,
    wanted: Sequence[str] = (),
) -> Analysis:
    """Decides on an imported record.

    Args:
        question: With what the command line overrides.
        budget_usd: As of `analyze`.
        wanted: Objectives of the front, the declared ones and the cost among them; empty: the
            declared ones.

    Raises:
        UserError: A limit on something that the table does not have, or an unknown objective.
    """
    scene = scene_of(sweep, question, budget_usd)
    table = scene.table
    front = _front(scene, table.configurations, _columns(scene, wanted))
    decision = _decide(scene, front)
    sizes, levels = _size_rows(scene, decision, wanted)
    return Analysis(
        sweep=sweep,
        question=scene.question,
        objectives=describe(sweep),
        rows=_rows(scene, front),
        sizes=sizes,
        decision=decision,
        excluded=table.excluded,
        warnings=sweep.warnings,
        scorers={"gain": "", "forgetting": ""},
        fronts={FIELD: front},
        levels=levels,
        given=table,
        wanted=tuple(wanted),
    )


def _columns(scene: Scene, wanted: Sequence[str]) -> tuple[str, ...]:
    """Objectives of the front, the task score first: it is the one that delta is in."""
    declared = [o.name for o in scene.table.sweep.objectives]
    known = [*declared, *sorted({n for c in scene.table.configurations for n in c.cost})]
    for name in wanted:
        if name not in known:
            raise UserError(
                f"'{name}' is no objective of sweep '{scene.table.sweep.id}'.",
                hint=f"Known: {', '.join(known)}.",
            )
    return tuple(sorted(wanted or declared, key=lambda n: n != scene.task.name))


def _front(scene: Scene, who: Sequence[Configuration], names: Sequence[str]) -> Front:
    kept = {c.trial_id for c in who}
    points = scene.table.points(names)
    points = points.keep(np.array([i in kept for i in points.ids], dtype=bool))
    return front_of(
        points,
        broken={c.trial_id: why for c in who if (why := broken(scene, c))},
        margin=scene.question.delta if names[0] == scene.task.name else 0.0,
        reference=reference_point(points.objectives, scene.question, scene.table.sweep.models),
    )


def _rows(scene: Scene, front: Front) -> tuple[Row, ...]:
    """Those that count by rank, then those that were left out."""
    table, names = scene.table, [o.name for o in scene.table.sweep.objectives]
    layer = standing_layers(front)
    keys = [
        (layer.get(i, len(table.configurations)), -scene.better(c))
        for i, c in enumerate(table.configurations)
    ]
    ordered = sorted(keys)
    rows = []
    for i, who in enumerate(table.configurations):
        share = None if front.membership is None else float(front.membership[i])
        place = Place(
            field=FIELD,
            on_front=bool(front.on[i]),
            near_front=bool(front.near[i]),
            membership=None if share is None or np.isnan(share) else share,
            rank=1 + bisect.bisect_left(ordered, keys[i]),
            excluded=front.excluded.get(who.trial_id),
        )
        estimates = {n: table.uncertain(who, n).estimate() for n in names}
        rows.append(Row(who, None, place, given=estimates))
    rows.sort(key=lambda r: (r.place.rank or 0 if r.place else 0, r.who.trial_id))
    absent = dict.fromkeys(names, Estimate())
    return (*rows, *(Row(who, None, None, given=absent) for who in table.left_out))


def _decide(scene: Scene, front: Front) -> Decision:
    verdict = judge_given(scene)
    pool = offered(scene)
    if verdict.sizes:
        chosen = verdict.pick.candidate if verdict.pick else None
        pool = [c for c in pool if chosen is not None and c.model == chosen.model]
    else:
        chosen = candidate_of(scene, pool) if verdict.outcome == "recommended" else None
    tied = tied_with(scene, chosen, pool) if chosen else ()
    sized = {
        s.model: p
        for s in verdict.sizes
        if s.candidate is not None
        and (p := probability_adequate(scene, s, verdict.sizes)) is not None
    }
    flips = delta_flips(scene, verdict) if len(verdict.sizes) <= MAX_POOL_FOR_FLIPS else ()
    return Decision(
        status="provisional",
        model=(chosen.model or None) if chosen else None,
        trial=chosen.trial_id if chosen else None,
        probability=sized.get(verdict.pick.model) if verdict.pick else None,
        reason=reason(scene, verdict, front, chosen, tied, sized),
        tied_with=tuple(c.trial_id for c in tied),
        flips=flips,
        guards=(),
        split="validation",
        verdict=verdict,
        probabilities=sized,
    )


def _size_rows(
    scene: Scene, decision: Decision, wanted: Sequence[str]
) -> tuple[tuple[SizeRow, ...], Front | None]:
    """Models by their candidates, and the front of those in the objectives and the cost."""
    sizes = decision.verdict.sizes
    candidates = [s.candidate for s in sizes if s.candidate is not None]
    if not candidates:
        return (), None
    names = _columns(scene, wanted)
    cost = scene.question.cost
    levels = _front(scene, candidates, names if cost in names else (*names, cost))
    names = tuple(o.name for o in scene.table.sweep.objectives)
    rows = tuple(
        SizeRow(
            size=s,
            estimates={n: scene.table.uncertain(s.candidate, n).estimate() for n in names}
            if s.candidate
            else {},
            probability_adequate=decision.probabilities.get(s.model),
            on_front=s.candidate is not None and s.candidate.trial_id in levels.ids,
        )
        for s in sizes
    )
    return rows, levels
