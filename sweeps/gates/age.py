"""How old rows are, by a field with dates."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
import numpy.typing as npt

from keepgain.sweeps.gates.columns import DATE_FIELDS, Column
from keepgain.sweeps.gates.findings import Finding
from keepgain.sweeps.gates.material import RowSet
from keepgain.sweeps.gates.row_list import found_in
from keepgain.sweeps.gates.values import epoch_day

MIN_DATED = 0.5
"""Share of values that must be dates for a field to be one of dates."""
NEWER_SHARE = 0.1
"""Share of the training rows that may be newer than all of a suite: of items drawn at random from
the same rows, 50 are all older than a tenth of them in one draw of two hundred."""
_FEW = 20

_ISO = re.compile(r"(\d{4})[-/.](\d{1,2})(?:[-/.](\d{1,2}))?(?:[T ].*)?")
_DAY_FIRST = re.compile(r"(\d{1,2})[-/.](\d{1,2})[-/.](\d{4})(?:[T ,].*)?")
_YEAR = re.compile(r"(?:19|20)\d\d")
_WHOLE = re.compile(r"(\d{4}|\d{8})\.0")
"""A year or day in a column of floats."""
_FORMS = ("%Y%m%d", "%d %B %Y", "%B %d, %Y", "%d %b %Y", "%b %d, %Y")


@dataclass(frozen=True)
class Dates:
    """Of the rows of a set."""

    field: str
    days: npt.NDArray[np.int64]
    """Proleptic ordinals of shape [rows]; 0: a row without a date."""
    unread: int = 0
    """Rows with something else in the field."""
    such_as: str = ""
    """What the first of them has there."""

    @property
    def known(self) -> npt.NDArray[np.int64]:
        """Of the rows that have one."""
        return self.days[self.days > 0]


def read_dates(values: Sequence[str]) -> list[date | None]:
    """Texts as dates: ISO 8601, years and months alone (their first day), seconds since 1970 or
    thousandths of them (`epoch_day`), and `31.12.2024`. Of `3/4/2024` the day is first, unless a
    value such as `3/14/2024` shows that the month is."""
    found = [_DAY_FIRST.fullmatch(v.strip()) for v in values]
    month_first = any(m is not None and int(m[2]) > 12 for m in found)
    return [_read(value.strip(), month_first) for value in values]


def _read(text: str, month_first: bool) -> date | None:
    if whole := _WHOLE.fullmatch(text):
        text = whole[1]
    try:
        if iso := _ISO.fullmatch(text):
            return date(int(iso[1]), int(iso[2]), int(iso[3] or 1))
        if split := _DAY_FIRST.fullmatch(text):
            day, month = (split[2], split[1]) if month_first else (split[1], split[2])
            return date(int(split[3]), int(month), int(day))
        if _YEAR.fullmatch(text):
            return date(int(text), 1, 1)
    except ValueError:
        return None
    if (day := epoch_day(text)) is not None:
        return day
    for form in _FORMS:
        try:
            return datetime.strptime(text, form).date()
        except ValueError:
            continue
    return None


def dates_of(rows: RowSet, field: str | None = None) -> Dates | None:
    """The dates of a set's rows.

    Args:
        rows: Of a set.
        field: That has them; None: the first of `DATE_FIELDS` whose values are mostly dates.
    """
    for name in (field,) if field is not None else DATE_FIELDS:
        if name in rows.columns:
            dates, share = _read_column(name, rows.columns[name])
            if share >= MIN_DATED:
                return dates
    return None


def _read_column(name: str, column: Column) -> tuple[Dates, float]:
    """The dates of a field, and which share of its different values are any."""
    read = read_dates(column.values)
    ordinals = np.array([0 if d is None else d.toordinal() for d in read] + [0], dtype=np.int64)
    days = ordinals[column.codes]
    unread = np.flatnonzero((column.codes >= 0) & (days == 0))
    such_as = column.values[column.codes[unread[0]]] if len(unread) else ""
    share = float((ordinals[:-1] > 0).mean()) if read else 0.0
    return Dates(name, days, len(unread), such_as), share


def check_age(
    sets: Sequence[RowSet],
    today: date,
    limits: Mapping[str, int] | None = None,
    declared: Mapping[str, date] | None = None,
    field: str | None = None,
) -> list[Finding]:
    """Range of dates (notes), rows older than the spec's limit or of unknown age where it has one,
    dates that are still to come, and suites older than what is trained on (warnings).

    Args:
        sets: All sets of the sweep.
        today: Of the check.
        limits: Source → days that its rows may be old.
        declared: Source → date of its newest row, where the rows have no dates of their own.
        field: With the dates, as in `dates_of`.
    """
    limits, declared = limits or {}, declared or {}
    found = [(s, dates_of(s, field)) for s in sets]
    dated = [(s, d) for s, d in found if d is not None and len(d.known)]
    findings = []
    for rows, dates in found:
        if dates is not None and len(dates.known):
            findings += [_range(rows, dates), *_to_come(rows, dates, today)]
            if (limit := limits.get(rows.source or "")) is not None:
                findings += _old(rows, dates, today, limit)
        elif field is not None and field in rows.columns:
            findings += _unread(rows, _read_column(field, rows.columns[field])[0])
    known = {s.label for s, _ in dated}
    for rows in sets:
        source = rows.source or ""
        if rows.part == "train" and rows.label not in known and {source} <= {*limits} & {*declared}:
            ordinal = declared[source].toordinal()
            same = Dates("declared", np.full(len(rows.rows), ordinal, dtype=np.int64))
            findings += _old(rows, same, today, limits[source])
        elif rows.part == "train" and rows.label not in known and source in limits and rows.rows:
            findings.append(_unknown(rows, limits[source]))
    return findings + _older_suites(dated)


def _range(rows: RowSet, dates: Dates) -> Finding:
    known = dates.known
    oldest, middle, newest = (
        date.fromordinal(int(d)) for d in (known.min(), np.median(known), known.max())
    )
    return Finding(
        code="dates",
        severity="note",
        where=rows.label,
        message=f"'{dates.field}' goes from {oldest} to {newest}, with the middle at {middle} "
        f"({len(known):,} of {len(rows.rows):,} rows have one{_else(dates)}).",
        count=len(known),
        of=len(rows.rows),
        figures={"unread": float(dates.unread)},
    )


def _else(dates: Dates) -> str:
    if not dates.unread:
        return ""
    return f", {dates.unread:,} have what is read as none, such as {dates.such_as!r:.40}"


def _unread(rows: RowSet, dates: Dates) -> list[Finding]:
    """Of a field that the spec says has dates, and that for the most part has none."""
    if not dates.unread:
        return []
    return [
        Finding(
            code="dates",
            severity="note",
            where=rows.label,
            message=f"'{dates.field}' is to have dates ({len(dates.known):,} of "
            f"{len(rows.rows):,} rows have one{_else(dates)}): it tells nothing of their age.",
            hint="Write them as ISO 8601, or name another field.",
            count=len(dates.known),
            of=len(rows.rows),
            figures={"unread": float(dates.unread)},
        )
    ]


def _old(rows: RowSet, dates: Dates, today: date, limit: int) -> list[Finding]:
    old = (dates.days > 0) & (dates.days < today.toordinal() - limit)
    said = f"are older than {limit:,} days on {today} ('{dates.field}')"
    return _flagged(rows, "old_rows", old, said, "Take newer rows, or leave old ones out.")


def _unknown(rows: RowSet, limit: int) -> Finding:
    return Finding(
        code="age_unknown",
        severity="warning",
        where=rows.label,
        message=f"rows may be {limit:,} days old, and no field says how old they are.",
        hint="Name one with `columns: {date: ...}`, or give the source a `date`.",
    )


def _to_come(rows: RowSet, dates: Dates, today: date) -> list[Finding]:
    # A day of grace: time zones.
    future = dates.days > today.toordinal() + 1
    said = f"have a date after today, {today} ('{dates.field}')"
    return _flagged(rows, "future_dates", future, said, "Is the format read as it was meant?")


def _flagged(
    rows: RowSet, code: str, chosen: npt.NDArray[np.bool_], said: str, hint: str
) -> list[Finding]:
    where, of = np.flatnonzero(chosen), len(rows.rows)
    if not len(where):
        return []
    return [
        Finding(
            code=code,
            severity="warning",
            where=rows.label,
            message=f"{len(where):,} of {of:,} rows {said}.",
            all_rows=found_in(rows, where),
            hint=hint,
            count=len(where),
            of=of,
            figures={"share": len(where) / of},
        )
    ]


def _older_suites(dated: Sequence[tuple[RowSet, Dates]]) -> list[Finding]:
    """Suites that end before a good part of the training rows begins to be."""
    train = [d.known for s, d in dated if s.part == "train" and s.role != "replay"]
    if not train:
        return []
    trained = np.concatenate(train)
    findings = []
    for rows, dates in dated:
        if rows.part == "train" or rows.measures == "forgetting" or len(dates.known) < _FEW:
            continue
        newest = int(dates.known.max())
        newer, gap = float((trained > newest).mean()), int(trained.max()) - newest
        if newer > NEWER_SHARE:
            findings.append(
                Finding(
                    code="evaluation_older",
                    severity="warning",
                    where=rows.label,
                    message=f"the newest item is of {date.fromordinal(newest)}, {gap:,} days "
                    f"before the newest training row; {newer:.0%} of the training rows are newer.",
                    hint="Evaluate on rows at least as new as those that are trained on: a model "
                    "is used on what comes after.",
                    figures={"gap_days": float(gap), "newer_share": newer},
                )
            )
    return findings
