"""When newer rows are from, beside the rows of training and evaluation."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date

import numpy as np

from keepgain.core.schema import StrictModel
from keepgain.sweeps.gates.age import Dates, dates_of
from keepgain.sweeps.gates.findings import Finding
from keepgain.sweeps.gates.material import RowSet


class Month(StrictModel):
    """Rows of a month."""

    month: str
    training: int
    evaluation: int
    new: int


def months(
    new: RowSet,
    training: Sequence[RowSet],
    evaluation: Sequence[RowSet],
    field: str | None = None,
) -> tuple[Month, ...]:
    """Rows of each month, the oldest first; empty where the new rows have no dates."""
    counted = [_by_month(sets, field) for sets in ((new,), training, evaluation)]
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


def check_dates(
    new: RowSet, dates: Dates | None, training: Sequence[RowSet], field: str | None
) -> Iterator[Finding]:
    """A note on the time of the new rows; none where they have no dates.

    Args:
        new: The new rows.
        dates: Theirs.
        training: Of the task.
        field: That holds the dates of training; None: found by its name.
    """
    if dates is None or not len(dates.known):
        return
    trained = [d.known for s in training if (d := dates_of(s, field)) is not None]
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
