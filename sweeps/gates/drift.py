"""What has changed between the rows of a sweep and newer ones, such as those of production.

Compared are shares (of labels, groups, lengths, openings, fields), words, dates, and whether a
classifier can tell the questions apart. Meaning is not seen, and neither is whether an answer that
was right still is: for that, newer rows are labelled and scored (`sweep rescore`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from keepgain.core.schema import StrictModel
from keepgain.sweeps.gates.age import dates_of
from keepgain.sweeps.gates.columns import Column
from keepgain.sweeps.gates.distance import Distance, distance
from keepgain.sweeps.gates.drift_dates import Month, check_dates, months
from keepgain.sweeps.gates.drift_known import (
    MAX_SEARCHED,
    check_known,
    rows_asked,
    rows_in_training,
)
from keepgain.sweeps.gates.drift_shares import (
    Change,
    changes_of,
    check_changes,
    check_labels,
    given_labels,
)
from keepgain.sweeps.gates.drift_words import Unseen, check_words, unseen_words
from keepgain.sweeps.gates.findings import Finding
from keepgain.sweeps.gates.labels import Facts
from keepgain.sweeps.gates.material import RowSet

NOTICED = 0.6
"""AUC, at its lower limit, that is warned of: of two questions, a new one and an old one, the new
one is picked three times in five."""


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
    apart = {label_field, dates.field if dates is not None else date_field}
    changes = changes_of(new, (*old.training, *old.evaluation), facts, labels, apart)
    texts = [
        _telling(called, found)
        for called, sets in (("training", old.training), ("evaluation", old.evaluation))
        if sets and (found := distance(new, sets, facts)) is not None
    ]
    words = unseen_words(new, old.training, old.evaluation)
    trained = rows_in_training(new, old.training, facts)
    asked = rows_asked(new, old.evaluation, facts)
    findings = [
        *check_changes(new, changes),
        *(check_labels(new, mine, old.labels) if mine is not None else ()),
        *(f for t in texts if (f := _told_apart(new, t)) is not None),
        *check_words(new, words),
        *check_known(new, trained, asked),
        *check_dates(new, dates, old.training, date_field),
    ]
    return Drift(
        findings=tuple(findings),
        rows=len(new.rows),
        labelled=int((facts[new.label].answer != 0).sum()),
        changes=tuple(changes),
        texts=tuple(texts),
        words=words,
        months=months(new, old.training, old.evaluation, date_field),
        trained_on=len(trained),
        searched=min(len(new.rows), MAX_SEARCHED),
        items=len(asked),
    )


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
