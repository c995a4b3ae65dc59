"""What has changed between the rows of a sweep and newer ones, such as those of production.

Compared are shares (of labels, groups, lengths, openings, fields), words, dates, and whether a
classifier can tell the questions apart. Meaning is not seen, and neither is whether an answer that
was right still is: for that, newer rows are labelled and scored (`sweep rescore`).
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import numpy.typing as npt

from keepgain.core.schema import StrictModel
from keepgain.sweeps.gates.age import Dates, dates_of
from keepgain.sweeps.gates.columns import Column
from keepgain.sweeps.gates.counts import Cell, Table, odd_cells, total_variation
from keepgain.sweeps.gates.coverage import MIN_DIFFERENCE, Aspect, aspects, named, shared
from keepgain.sweeps.gates.distance import Distance, distance
from keepgain.sweeps.gates.drift_words import Unseen, check_words, unseen_words
from keepgain.sweeps.gates.findings import Finding
from keepgain.sweeps.gates.labels import MAX_LABELS, Facts
from keepgain.sweeps.gates.leakage import WHOLLY, find_leaks
from keepgain.sweeps.gates.material import RowSet, normalised
from keepgain.sweeps.gates.row_list import found_in
from keepgain.sweeps.gates.scan import usable_processes
from keepgain.sweeps.gates.sketches import sample

LEVEL = 0.05
"""Chance that any share is named where none has changed, over all comparisons together."""
NOTICED = 0.6
"""AUC, at its lower limit, that is warned of: of two questions, a new one and an old one, the new
one is picked three times in five."""
MAX_VALUES = 100
"""A field with more groups nothing."""
MAX_SEARCHED = 20_000
"""New rows that are looked for in training."""
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


class Telling(StrictModel):
    """How well a classifier tells new questions from old ones (see `gates.distance`)."""

    against: str
    auc: float
    low: float
    high: float
    rows: int
    """Looked at on either side."""
    telling: tuple[str, ...]
    """Of the new rows."""


class Month(StrictModel):
    """Rows of a month."""

    month: str
    training: int
    evaluation: int
    new: int


class Drift(StrictModel):
    """All that was compared."""

    findings: tuple[Finding, ...]
    rows: int
    labelled: int
    """Rows with an answer."""
    changes: tuple[Change, ...]
    texts: tuple[Telling, ...]
    words: Unseen | None
    months: tuple[Month, ...]
    trained_on: int
    """New rows that training holds, word for word or nearly."""
    searched: int
    """Rows that were looked for there."""
    items: int
    """New rows whose question an evaluation item asks, word for word."""


@dataclass(frozen=True)
class Old:
    """Rows of the sweep that new ones are compared with."""

    training: Sequence[RowSet]
    """Of the task."""
    evaluation: Sequence[RowSet]
    """Validation and test of the suites of the gain."""
    labels: Mapping[str, Column]
    """Of those that are classifications."""


def check_drift(
    new: RowSet,
    old: Old,
    facts: Facts,
    *,
    label_field: str | None = None,
    date_field: str | None = None,
) -> Drift:
    """Everything that can be compared.

    Args:
        new: The newer rows; they may lack answers.
        old: Of the sweep.
        facts: Of all sets, the new one included.
        label_field: Key of the files that holds the label, where the spec names one.
        date_field: Likewise; None: found by its name.
    """
    known = next(iter(old.labels.values()), None)
    mine = None if known is None else given_labels(new, known, label_field)
    labels = dict(old.labels) | ({} if mine is None else {new.label: mine})
    dates = dates_of(new, date_field)
    apart = {label_field, dates.field if dates is not None else date_field, *_NOT_COMPARED}
    changes = changes_of(new, (*old.training, *old.evaluation), facts, labels, apart)
    texts = [
        _telling(called, found)
        for called, sets in (("training", old.training), ("evaluation", old.evaluation))
        if sets and (found := distance(new, sets, facts)) is not None
    ]
    words = unseen_words(new, old.training, old.evaluation)
    trained = rows_in_training(new, old.training, facts)
    asked = _asked(new, old.evaluation, facts)
    findings = [
        *check_changes(new, changes),
        *(check_labels(new, mine, old.labels) if mine is not None else ()),
        *(f for t in texts if (f := _told_apart(new, t)) is not None),
        *check_words(new, words),
        *_known_rows(new, trained, asked),
        *_dates(new, dates, old, date_field),
    ]
    return Drift(
        findings=tuple(findings),
        rows=len(new.rows),
        labelled=int((facts[new.label].answer != 0).sum()),
        changes=tuple(changes),
        texts=tuple(texts),
        words=words,
        months=months(new, old, date_field),
        trained_on=len(trained),
        searched=min(len(new.rows), MAX_SEARCHED),
        items=len(asked),
    )


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
        if there is None or name in apart:
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


def _telling(against: str, found: Distance) -> Telling:
    return Telling(
        against=against,
        auc=found.auc,
        low=found.low,
        high=found.high,
        rows=found.rows,
        telling=found.telling,
    )


def _told_apart(new: RowSet, found: Telling) -> Finding | None:
    if found.low < NOTICED:
        return None
    telling = ", ".join(repr(name) for name in found.telling)
    return Finding(
        code="drift_texts",
        severity="warning",
        where=new.label,
        message=f"a classifier tells its questions from those of {found.against} with AUC "
        f"{found.auc:.2f} ({found.low:.2f} to {found.high:.2f}; .5: not at all; {found.rows:,} of "
        f"each looked at). Most telling of the new ones: {telling}.",
        hint="Read rows with these words; label some and score them (`sweep rescore`).",
        of=found.rows,
        figures={"auc": found.auc, "low": found.low, "high": found.high},
    )


def rows_in_training(new: RowSet, training: Sequence[RowSet], facts: Facts) -> list[int]:
    """Positions of new rows whose question training asks, or whose text it gives away wholly (see
    `gates.leakage`); of at most `MAX_SEARCHED` rows."""
    chosen = sample(len(new.rows), min(len(new.rows), MAX_SEARCHED))
    some = replace(
        new,
        rows=[new.rows[int(i)] for i in chosen],
        places=[new.places[int(i)] for i in chosen],
        columns={},
        measures="gain",
        role=None,
        part="test",
    )
    found = np.intersect1d(_asked(new, training, facts), chosen)
    for leak in find_leaks([*training, some], None, usable_processes()):
        found = np.union1d(found, chosen[leak.items[leak.share >= WHOLLY]])
    return [int(i) for i in found]


def _asked(new: RowSet, sets: Sequence[RowSet], facts: Facts) -> npt.NDArray[np.int64]:
    """Positions of the new rows whose question one of the sets asks."""
    known = [facts[s.label].question for s in sets]
    if not known:
        return np.empty(0, dtype=np.int64)
    return np.flatnonzero(np.isin(facts[new.label].question, np.concatenate(known)))


def _known_rows(
    new: RowSet, trained: Sequence[int], asked: npt.NDArray[np.int64]
) -> Iterator[Finding]:
    looked, every = min(len(new.rows), MAX_SEARCHED), len(new.rows)
    for code, rows, of, said, hint in (
        (
            "drift_trained_on",
            list(trained),
            looked,
            "stand in training already, word for word or nearly",
            "Leave them out before you score on this file: they show memory, not skill.",
        ),
        (
            "drift_known_items",
            asked.tolist(),
            every,
            "ask what a validation or test item asks",
            None,
        ),
    ):
        if rows:
            yield Finding(
                code=code,
                severity="warning" if code == "drift_trained_on" else "note",
                where=new.label,
                message=f"{len(rows):,} of {of:,} rows {said}.",
                all_rows=found_in(new, rows),
                hint=hint,
                count=len(rows),
                of=of,
            )


def months(new: RowSet, old: Old, field: str | None = None) -> tuple[Month, ...]:
    """Rows of each month, the oldest first; empty where the new rows have no dates."""
    counted = [
        _by_month((new,), field),
        *(_by_month(s, field) for s in (old.training, old.evaluation)),
    ]
    if not counted[0]:
        return ()
    return tuple(
        Month(month=m, new=counted[0][m], training=counted[1][m], evaluation=counted[2][m])
        for m in sorted(set().union(*counted))
    )


def _by_month(sets: Sequence[RowSet], field: str | None) -> Counter[str]:
    found: Counter[str] = Counter()
    for rows in sets:
        if (dates := dates_of(rows, field)) is not None:
            days, times = np.unique(dates.known, return_counts=True)
            for day, n in zip(days.tolist(), times.tolist(), strict=True):
                found[f"{date.fromordinal(day):%Y-%m}"] += n
    return found


def _dates(new: RowSet, dates: Dates | None, old: Old, field: str | None) -> Iterator[Finding]:
    if dates is None or not len(dates.known):
        return
    trained = [d.known for s in old.training if (d := dates_of(s, field)) is not None]
    trained = [days for days in trained if len(days)]
    first, last = (date.fromordinal(int(d)) for d in (dates.known.min(), dates.known.max()))
    said, figures = "training has no dates to compare", {}
    if trained:
        newest = max(int(days.max()) for days in trained)
        newer = float((dates.known > newest).mean())
        said = f"{newer:.0%} of them are after the newest training row, {date.fromordinal(newest)}"
        figures = {"newer_share": newer}
    yield Finding(
        code="drift_dates",
        severity="note",
        where=new.label,
        message=f"'{dates.field}' goes from {first} to {last} ({len(dates.known):,} of "
        f"{len(new.rows):,} rows have one); {said}.",
        count=len(dates.known),
        of=len(new.rows),
        figures=figures,
    )
