"""Which rows are shown, on which split and in what order: configurations, and sizes."""

from collections.abc import Mapping, Sequence

from keepgain.analysis.decide import Decision
from keepgain.analysis.fronts import WITHIN, Front, Place, across_sizes, within_size
from keepgain.analysis.measures import Drop, Measures
from keepgain.analysis.objectives import NAMES
from keepgain.analysis.result import Row, SizeRow
from keepgain.analysis.stats import Estimate
from keepgain.analysis.table import Configuration
from keepgain.core.config import Split
from keepgain.core.record import Question


def shown_rows(
    measures: Measures,
    question: Question,
    decided_on: Split,
    forced: Split | None,
    wanted: Sequence[str],
) -> tuple[tuple[Row, ...], Mapping[str, Front]]:
    """All configurations: by base model as the record lists them, then by rank, arms first.

    With the front of each field.
    """
    fronts: dict[str, Front] = {}
    places: dict[tuple[str, Split], dict[str, Place]] = {}
    rows = []
    for who in measures.table.configurations:
        split = _shown_on(who, decided_on, forced)
        if split is None:
            rows.append(Row(who, None, None, given=dict.fromkeys(NAMES, Estimate())))
            continue
        if (who.model, split) not in places:
            front, placed = within_size(measures, split, who.model, question, wanted or WITHIN)
            places[who.model, split] = placed
            fronts[next(iter(placed.values())).field] = front
        place = places[who.model, split][who.trial_id]
        rows.append(Row(who, split, place, split == decided_on, measures))
    order = {m.name: n for n, m in enumerate(measures.table.sweep.models)}
    kinds = {"base": 0, "reference": 1, "trial": 2}
    rows.sort(
        key=lambda r: (
            order.get(r.who.model, len(order)),
            kinds[r.who.kind],
            {"test": 0, "validation": 1, None: 2}[r.split],
            r.place.rank if r.place and r.place.rank is not None else len(rows),
            r.who.trial_id,
        )
    )
    return tuple(rows), fronts


def _shown_on(who: Configuration, decided_on: Split, forced: Split | None) -> Split | None:
    """The split of a row: the decision's for what has it, else validation for what has that."""
    if who.has(decided_on) and (who.kind != "trial" or who.confirmed or decided_on != "test"):
        return decided_on
    if forced is None and who.has("validation"):
        return "validation"
    return None


def size_rows(
    measures: Measures, question: Question, decision: Decision, wanted: Sequence[str]
) -> tuple[tuple[SizeRow, ...], Front]:
    """The sizes, largest first, and the front of their candidates, the bases and the arms."""
    split = decision.split
    sizes = decision.verdict.sizes
    arms = [c for c in measures.table.configurations if c.kind != "trial" and c.has(split)]
    candidates = [s.candidate for s in sizes if s.candidate is not None]
    front = across_sizes(measures, split, [*candidates, *arms], question, wanted or None)
    rows = tuple(
        SizeRow(
            size=size,
            estimates=measures.estimates(size.candidate, split) if size.candidate else {},
            probability_adequate=decision.probabilities.get(size.model),
            on_front=size.candidate is not None and size.candidate.trial_id in front.ids,
            worst=_worst(measures, size.candidate, split),
        )
        for size in sizes
    )
    return rows, front


def _worst(measures: Measures, who: Configuration | None, split: Split) -> Drop | None:
    drops = [] if who is None else measures.drops(who, split)
    return max(drops, key=lambda d: d.value, default=None)
