"""Who labelled, and when: labels that depend on it, conflicts that come from one person, agreement
of several."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from keepgain.core.agreement import Agreement, krippendorff_alpha
from keepgain.sweeps.gates.columns import Column
from keepgain.sweeps.gates.counts import chi_squared_p, cramers_v, crosstab, odd_rows
from keepgain.sweeps.gates.findings import Finding
from keepgain.sweeps.gates.labels import NOTHING, Facts, RowFacts
from keepgain.sweeps.gates.material import RowSet
from keepgain.sweeps.gates.row_list import found_in
from keepgain.sweeps.gates.values import epoch_day

ANNOTATORS = (
    "annotator", "annotator_id", "annotator_name", "labeler", "labeller", "labeled_by",
    "labelled_by", "worker", "worker_id", "rater", "rater_id",
)  # fmt: skip
DATES = (
    "date", "created", "created_at", "timestamp", "time", "month", "labeled_at", "labelled_at",
    "annotated_at", "updated_at",
)  # fmt: skip
"""Fields that are looked for, in any case, where the spec names none."""
LEVEL = 0.01
MIN_DIFFERENCE = 0.1
"""Of the share of a label, to that among the others: less changes little, however sure it is."""
MIN_V = 0.1
MIN_ALPHA = 0.667
"""Below it Krippendorff (Content Analysis, 2004, chapter 11) would draw no conclusions."""
_NAMED = 3
_MONTH = re.compile(r"((?:19|20)\d\d)[-/.]?(0[1-9]|1[0-2])(?:\D|\d\d(?:\D|$)|$)")


def month_of(value: str) -> str | None:
    """`2024-03` of a date that begins with year and month, or of seconds since 1970 or thousandths
    of them; None of anything else: 03/04/2024 is one date here and another one there."""
    if (found := _MONTH.match(value.strip())) is not None:
        return f"{found[1]}-{found[2]}"
    day = epoch_day(value.strip())
    return f"{day:%Y-%m}" if day is not None else None


def months(column: Column) -> Column:
    """The months of dates, in order."""
    of_value = [month_of(v) for v in column.values]
    names = tuple(sorted({m for m in of_value if m is not None}))
    code = {name: i for i, name in enumerate(names)}
    new = np.array([*(code[m] if m is not None else -1 for m in of_value), -1], dtype=np.int32)
    return Column(names, new[column.codes])


def check_annotators(
    sets: Sequence[RowSet],
    facts: Facts,
    labels: Mapping[str, Column],
    annotator: str | None = None,
    date: str | None = None,
) -> list[Finding]:
    """Of every set with a field that names annotators or dates.

    Args:
        sets: Of the sweep.
        facts: Of each set.
        labels: Of the classifications: without labels, nothing is compared.
        annotator: The field, where the spec names it.
        date: The same.
    """
    findings = []
    for rows in sets:
        if rows.label not in labels:
            continue
        if (field := _field(rows, annotator, ANNOTATORS)) is not None:
            column = rows.columns[field]
            findings += _shares("labels_by_annotator", rows, field, column, labels[rows.label])
            findings += _conflicts(rows, field, column, facts)
            findings += _agreement(rows, field, column, facts, labels[rows.label])
        if (field := _field(rows, date, DATES)) is not None:
            by_month = months(rows.columns[field])
            findings += _shares("labels_by_month", rows, field, by_month, labels[rows.label])
    return findings


def _field(rows: RowSet, named: str | None, usual: Sequence[str]) -> str | None:
    if named is not None:
        return named if named in rows.columns else None
    return next((f for f in rows.columns if f.casefold() in usual), None)


def _shares(code: str, rows: RowSet, field: str, by: Column, labels: Column) -> list[Finding]:
    """One finding where the labels depend on the field."""
    table = crosstab(by, labels)
    v, p = cramers_v(table), chi_squared_p(table)
    if v < MIN_V or p >= LEVEL:
        return []
    odd = odd_rows(table, LEVEL, MIN_DIFFERENCE)
    if not odd:
        return []
    named = "; ".join(
        f"{by.values[c.row]!r:.40} gives {labels.values[c.column]!r:.40} to {c.share:.0%} of "
        f"{table[c.row].sum()} rows, the others to {c.elsewhere:.0%}"
        for c in odd[:_NAMED]
    )
    more = f"; {len(odd) - _NAMED} more" if len(odd) > _NAMED else ""
    n = int(table.sum())
    return [
        Finding(
            code=code,
            severity="warning",
            where=rows.label,
            message=f"labels depend on '{field}' (Cramér's V {v:.2f}, {n} rows): {named}{more}.",
            hint="See whether they had other rows or another rule.",
            count=int(sum(table[c.row].sum() for c in odd)),
            of=n,
            figures={"cramers_v": v, "p": p, "odd": len(odd)},
        )
    ]


def _conflicts(rows: RowSet, field: str, by: Column, facts: Facts) -> list[Finding]:
    """Annotators who are outvoted more than the others, on questions that stand more than once."""
    voted = Column(("no", "yes"), outvoted(facts[rows.label]))
    table = crosstab(by, voted)
    odd = [
        c for c in odd_rows(table, LEVEL, MIN_DIFFERENCE) if (c.column == 1) == (c.difference > 0)
    ]
    if not odd:
        return []
    named = "; ".join(
        f"{by.values[c.row]!r:.40} {table[c.row, 1]} of {table[c.row].sum()}" for c in odd[:_NAMED]
    )
    theirs = np.isin(by.codes, [c.row for c in odd]) & (voted.codes == 1)
    return [
        Finding(
            code="conflicts_by_annotator",
            severity="warning",
            where=rows.label,
            message=f"on questions that stand more than once, some of '{field}' are outvoted by "
            f"the other rows more often than the others: {named}.",
            all_rows=found_in(rows, np.flatnonzero(theirs)),
            hint="Have their rows looked at first.",
            count=int(theirs.sum()),
            of=int(table[:, 1].sum()),
        )
    ]


def outvoted(facts: RowFacts) -> npt.NDArray[np.int32]:
    """1 for rows whose question more other rows answer otherwise than alike, 0 for the others, -1
    for rows that are alone with their question or have no answer; shape [rows]."""
    answered = facts.answer != NOTHING
    question = facts.question[answered]
    _, of_question, asked = np.unique(question, return_inverse=True, return_counts=True)
    _, of_answer = np.unique(facts.answer[answered], return_inverse=True)
    pair = of_question.astype(np.int64) * (of_answer.max(initial=0) + 1) + of_answer
    _, of_pair, alike = np.unique(pair, return_inverse=True, return_counts=True)
    all_rows, same = asked[of_question], alike[of_pair]
    found = np.full(len(answered), -1, dtype=np.int32)
    found[answered] = np.where(all_rows > 1, all_rows - same > same - 1, -1)
    return found


def agreement_of(by: Column, questions: Sequence[int], labels: Column) -> Agreement | None:
    """Of the annotators on the questions that several of them labelled: the first label that each
    gave to each; None where there are none."""
    known = np.flatnonzero((by.codes >= 0) & (labels.codes >= 0))
    if not len(known):
        return None
    _, unit = np.unique(np.asarray(questions)[known], return_inverse=True)
    pair = unit.astype(np.int64) * len(by.values) + by.codes[known]
    _, first = np.unique(pair, return_index=True)
    return krippendorff_alpha(unit[first], labels.codes[known[first]].astype(np.int64))


def _agreement(rows: RowSet, field: str, by: Column, facts: Facts, labels: Column) -> list[Finding]:
    found = agreement_of(by, facts[rows.label].question, labels)  # type: ignore[arg-type]
    if found is None:
        return []
    low = found.alpha < MIN_ALPHA
    return [
        Finding(
            code="annotator_agreement",
            severity="warning" if low else "note",
            where=rows.label,
            message=f"on {found.units} questions that several of '{field}' labelled they agree "
            f"with Krippendorff's alpha {found.alpha:.2f} ({found.values} labels; 1: always, 0: as "
            "by chance).",
            hint=f"Below {MIN_ALPHA:g} the rule is not clear enough to learn: write it down, and "
            "label such rows again."
            if low
            else None,
            count=found.units,
            figures={"alpha": found.alpha, "questions": found.units, "labels": found.values},
        )
    ]
