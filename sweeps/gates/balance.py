"""How labels and groups are shared out, and what the rarest of them lets a test show."""

from collections.abc import Mapping, Sequence

import numpy as np

from keepgain.core.items import MIN_SLICE_ITEMS
from keepgain.core.multiplicity import holm
from keepgain.core.whole_words import whole_words
from keepgain.sweeps.gates.columns import Column
from keepgain.sweeps.gates.counts import (
    chi_squared_p,
    counts,
    cramers_v,
    crosstab,
    effective_number,
    half_width,
)
from keepgain.sweeps.gates.findings import Finding
from keepgain.sweeps.gates.labels import Facts, group_column
from keepgain.sweeps.gates.material import RowSet, normalised
from keepgain.sweeps.gates.sketches import sample

FEW_ROWS = 10
"""Of a label to train on."""
MAX_ROWS = 20_000
"""That words are looked for in."""
LEVEL = 0.01
MIN_V = 0.1
"""Less tells a model little."""
_NAMED = 3


def check_balance(
    sets: Sequence[RowSet], facts: Facts, labels: Mapping[str, Column]
) -> list[Finding]:
    """Of the sources of the task and the tests of the gain."""
    findings = []
    for rows in sets:
        if rows.role == "task" and rows.label in labels:
            findings += _to_train_on(rows, labels[rows.label])
        if rows.measures == "gain" and rows.part == "test":
            groups = group_column(rows, facts[rows.label])
            if rows.label in labels:
                findings += _to_test_on("rare_label_in_test", rows, "label", labels[rows.label])
            findings += _to_test_on("rare_group_in_test", rows, "group", groups)
    return findings


def _to_train_on(rows: RowSet, labels: Column) -> list[Finding]:
    of_label = counts(labels)
    number, effective = len(of_label), effective_number(of_label)
    rarest = int(of_label.argmin())
    few = int((of_label < FEW_ROWS).sum())
    uneven = effective < number / 2
    return [
        Finding(
            code="label_balance",
            severity="warning" if few or uneven else "note",
            where=rows.label,
            message=f"{number} labels, as diverse as {effective:.1f} equally frequent ones; "
            f"the rarest, {labels.values[rarest]!r:.40}, has {of_label[rarest]} of "
            f"{of_label.sum()} rows"
            + (f", and {few} have fewer than {FEW_ROWS}." if few > 1 else "."),
            hint="Collect rows of the rare labels, and ask for `macro_f1`; whether "
            "`balance_by: group` helps is a dimension that a sweep can measure."
            if few or uneven
            else None,
            count=few or None,
            of=number if few else None,
            figures={
                "labels": number,
                "effective_labels": effective,
                "rarest_rows": float(of_label[rarest]),
            },
        )
    ]


def _to_test_on(code: str, rows: RowSet, what: str, column: Column) -> list[Finding]:
    of_value = counts(column)
    few = np.flatnonzero(of_value < MIN_SLICE_ITEMS)
    few = few[np.argsort(of_value[few], kind="stable")]
    if len(of_value) < 2 or not len(few):
        return []
    rarest = int(few[0])
    n, figure = int(of_value[rarest]), "recall" if what == "label" else "score"
    known = f"known to ±{100 * half_width(n):.0f} points at best" if n else "not known"
    others = ", ".join(f"{column.values[i]!r:.40} {of_value[i]}" for i in few[1:_NAMED])
    return [
        Finding(
            code=code,
            severity="warning",
            where=rows.label,
            message=f"{what} {column.values[rarest]!r:.40}: {n} test items, so its {figure} is "
            f"{known}"
            + (f"; also {others}" if others else "")
            + (", ..." if len(few) > _NAMED else "")
            + f" ({len(few)} of {len(of_value)} have fewer than {MIN_SLICE_ITEMS}).",
            hint=f"Add items of it; {MIN_SLICE_ITEMS} give "
            f"±{100 * half_width(MIN_SLICE_ITEMS):.0f} points.",
            count=len(few),
            of=len(of_value),
            figures={"rarest_items": n, "half_width": half_width(n) if n else 1.0},
        )
    ]


def check_associations(
    sets: Sequence[RowSet],
    facts: Facts,
    labels: Mapping[str, Column],
    fields: Sequence[str] = (),
    terms: Mapping[str, Sequence[str]] | None = None,
) -> list[Finding]:
    """Labels that go with groups: a note on `group` of the rows, a warning on what the spec says
    that answers should not go by.

    Args:
        sets: Of the sweep; those to train on are looked at.
        facts: Of each set.
        labels: Of the classifications.
        fields: Keys of the files that should not decide.
        terms: What should not decide either → words in the question that stand for it.
    """
    findings = []
    for rows in sets:
        if rows.part != "train" or rows.label not in labels:
            continue
        column = labels[rows.label]
        findings += _of_field(rows, None, group_column(rows, facts[rows.label]), column)
        for field in fields:
            if field in rows.columns:
                findings += _of_field(rows, field, rows.columns[field], column)
        findings += _of_terms(rows, column, terms or {})
    return findings


def _of_field(rows: RowSet, field: str | None, by: Column, labels: Column) -> list[Finding]:
    table = crosstab(by, labels)
    v, p = cramers_v(table), chi_squared_p(table)
    if p >= LEVEL or v < MIN_V:
        return []
    return [
        Finding(
            code="group_label_association",
            severity="note" if field is None else "warning",
            where=rows.label,
            message=f"labels go with {(field and repr(field)) or 'groups'}: Cramér's V {v:.2f} in "
            f"{table.sum()} rows (bias-corrected, {len(by.values)} values).",
            hint="Where it should not decide, look at figures by group, and balance the rows.",
            of=int(table.sum()),
            figures={"cramers_v": v, "p": p},
        )
    ]


def _of_terms(rows: RowSet, labels: Column, terms: Mapping[str, Sequence[str]]) -> list[Finding]:
    chosen = sample(len(rows.rows), MAX_ROWS) if terms else np.zeros(0, dtype=np.int64)
    texts = [normalised(rows.rows[int(i)].question()) for i in chosen]
    told = Column(labels.values, labels.codes[chosen])
    tables = {}
    for name, words in terms.items():
        pattern = whole_words(*map(normalised, words))
        named = np.array([pattern.search(t) is not None for t in texts], dtype=np.int32)
        tables[name] = crosstab(Column(("others", name), named), told)
    adjusted = holm([chi_squared_p(t) for t in tables.values()])
    findings = []
    for (name, table), p in zip(tables.items(), adjusted, strict=True):
        v = cramers_v(table)
        if p >= LEVEL or v < MIN_V:
            continue
        of = table.sum(axis=1)
        off = table[1] / of[1] - table[0] / of[0]
        k = int(off.argmax())
        findings.append(
            Finding(
                code="term_label_association",
                severity="warning",
                where=rows.label,
                message=f"{table[1, k] / of[1]:.0%} of {of[1]} rows that name '{name}' are "
                f"labelled {labels.values[k]!r:.40}, of the {of[0]} others "
                f"{table[0, k] / of[0]:.0%} (Cramér's V {v:.2f}).",
                hint="Balance such rows, or add ones that break the rule; look at figures "
                "by group.",
                count=int(of[1]),
                of=int(of.sum()),
                figures={"cramers_v": v, "p": float(p), "difference": float(off[k])},
            )
        )
    return findings
