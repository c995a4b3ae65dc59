"""Which labels, groups, lengths, openings and fields are more or less frequent now, or new."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from keepgain.core.schema import StrictModel
from keepgain.sweeps.gates.columns import Column
from keepgain.sweeps.gates.counts import Cell, Table, odd_cells, total_variation
from keepgain.sweeps.gates.coverage import MIN_DIFFERENCE, Aspect, aspects, named, shared
from keepgain.sweeps.gates.findings import Finding
from keepgain.sweeps.gates.labels import MAX_LABELS, Facts
from keepgain.sweeps.gates.material import RowSet, normalised
from keepgain.sweeps.gates.row_list import found_in

LEVEL = 0.05
"""Chance that any share is named where none has changed, over all comparisons together."""
MAX_VALUES = 100
"""A field with more groups nothing."""
_NAMED = 3
_NOT_COMPARED = ("group", "cluster")
"""Fields that have an aspect of their own, or none."""
_CODES = {
    "label": "drift_label",
    "group": "drift_group",
    "opening": "drift_opening",
    "length": "drift_length",
}
"""Aspect → code; of any other one `drift_field`."""


class Share(StrictModel):
    """Of one value, where it has changed by more than chance explains."""

    value: str
    now: float
    before: float


class Change(StrictModel):
    """One category of the new rows against one set of the sweep."""

    aspect: str
    against: str
    rows: int
    """New ones that have it."""
    reference_rows: int
    distance: float
    """Total variation, 0 to 1: the share of rows that would have to be others."""
    by_chance: float
    """The same, as two samples of these sizes out of one distribution have it on average."""
    shares: tuple[Share, ...]


def changes_of(
    new: RowSet,
    references: Sequence[RowSet],
    facts: Facts,
    labels: Mapping[str, Column],
    apart: set[str | None],
) -> list[Change]:
    """Each category that the new rows share with a reference, whether it has changed or not.

    Cells are tested exactly and adjusted by Holm within a comparison, and by the number of
    comparisons (Bonferroni) across them, to `LEVEL` in all.

    Args:
        new: The new rows.
        references: Sets of the sweep.
        facts: Of all of them.
        labels: Of all that have any.
        apart: Fields that are no category: of the label, of dates.
    """
    found = [
        (reference, aspect)
        for reference in references
        for aspect in (
            *aspects(new, reference, facts, labels, ()),
            *_fields(new, reference, apart),
        )
        if aspect.table.sum(axis=1).all()
    ]
    level = LEVEL / max(1, len(found))
    return [_change(aspect, reference.label, level) for reference, aspect in found]


def _fields(new: RowSet, reference: RowSet, apart: set[str | None]) -> Iterator[Aspect]:
    for name, here in new.columns.items():
        there = reference.columns.get(name)
        if there is None or name in _NOT_COMPARED or name in apart:
            continue
        if max(len(np.unique(here.codes)), len(np.unique(there.codes))) <= MAX_VALUES:
            yield shared(f"field {name}", here, there)


def _change(aspect: Aspect, against: str, level: float) -> Change:
    table = aspect.table
    odd = [c for c in odd_cells(table, level, MIN_DIFFERENCE) if c.row == 0]
    come_or_gone = [
        c for c in odd_cells(table, level, 0.0) if c.row == 0 and 0 in (c.count, c.elsewhere)
    ]
    cells: dict[int, Cell] = {c.column: c for c in (*odd, *come_or_gone)}
    return Change(
        aspect=aspect.name,
        against=against,
        rows=int(table[0].sum()),
        reference_rows=int(table[1].sum()),
        distance=total_variation(*table),
        by_chance=distance_by_chance(table),
        shares=tuple(
            Share(value=aspect.here.values[c.column], now=c.share, before=c.elsewhere)
            for c in cells.values()
        ),
    )


def distance_by_chance(table: Table) -> float:
    """Total variation that two samples of one distribution have on average.

    Half the sum over values of ``sqrt(2/pi p(1-p) (1/n + 1/m))``: the mean absolute difference of
    two shares, each nearly normal. Args: counts of shape [2, values], neither row empty.
    """
    n, m = table.sum(axis=1)
    p = table.sum(axis=0) / (n + m)
    return min(1.0, float(np.sqrt(2 / math.pi * p * (1 - p) * (1 / n + 1 / m)).sum() / 2))


def check_changes(new: RowSet, changes: Sequence[Change]) -> list[Finding]:
    """One finding for each category that has changed, whatever it was compared with."""
    findings = []
    for aspect in dict.fromkeys(c.aspect for c in changes):
        changed = [c for c in changes if c.aspect == aspect and c.shares]
        if not changed:
            continue
        most = max(changed, key=lambda c: c.distance)
        named = "; ".join(_said(aspect, share, most.against) for share in most.shares[:_NAMED])
        more = f"; {len(most.shares) - _NAMED} more" if len(most.shares) > _NAMED else ""
        others = [c.against for c in changed if c is not most]
        also = f" So against {', '.join(others)}." if others else ""
        findings.append(
            Finding(
                code=_CODES.get(aspect, "drift_field"),
                severity="warning",
                where=new.label,
                message=f"{named}{more} ({most.rows:,} rows against {most.reference_rows:,} of "
                f"{most.against}; {most.distance:.0%} of them differ, {most.by_chance:.0%} would "
                f"by chance alone).{also}",
                hint="Weigh or collect rows as they come now, and score on newer items "
                "(`sweep rescore`).",
                count=len(most.shares),
                figures={"total_variation": most.distance, "by_chance": most.by_chance},
            )
        )
    return findings


def _said(aspect: str, share: Share, against: str) -> str:
    value = named(aspect, share.value)
    if share.before == 0:
        return f"{value} is new: {share.now:.1%} of the rows, none of {against}"
    if share.now == 0:
        return f"{value} is gone: {share.before:.1%} of {against}"
    return f"{value} is {share.now:.0%} of the rows, {share.before:.0%} of {against}"


def given_labels(rows: RowSet, known: Column, field: str | None) -> Column | None:
    """The labels of the rows, unknown ones behind the known ones; None where no row has any.

    Args:
        rows: New ones.
        known: Labels of the sweep.
        field: That holds them, where it is not the answer.
    """
    if field is not None and field in rows.columns:
        texts: list[str | None] = list(rows.columns[field])
    else:
        texts = [normalised(row.answer) or None for row in rows.rows]
    other = Counter(t for t in texts if t is not None)
    for value in known.values:
        del other[value]
    values = (*known.values, *(v for v, _ in other.most_common(MAX_LABELS)))
    code = {value: i for i, value in enumerate(values)}
    codes = np.array([code.get(t, -1) if t is not None else -1 for t in texts], dtype=np.int32)
    return Column(values, codes) if (codes >= 0).any() else None


def check_labels(new: RowSet, mine: Column, old: Mapping[str, Column]) -> list[Finding]:
    """Labels that no row of the sweep has: each is one too many, however rare."""
    seen = {c.values[k] for c in old.values() for k in np.unique(c.codes[c.codes >= 0]).tolist()}
    unseen = [k for k, value in enumerate(mine.values) if value not in seen]
    rows = np.flatnonzero(np.isin(mine.codes, unseen))
    if not len(rows):
        return []
    times = Counter(mine.values[k] for k in mine.codes[rows].tolist())
    named = ", ".join(f"{value!r:.40} ({n:,})" for value, n in times.most_common(_NAMED))
    more = f" and {len(times) - _NAMED} more" if len(times) > _NAMED else ""
    labelled = int((mine.codes >= 0).sum())
    return [
        Finding(
            code="drift_new_labels",
            severity="warning",
            where=new.label,
            message=f"{len(rows):,} of {labelled:,} labelled rows have a label that no row of the "
            f"sweep has: {named}{more}.",
            all_rows=found_in(new, rows),
            hint="Add rows of it to the training data, or map it to a label that is known.",
            count=len(rows),
            of=labelled,
        )
    ]
