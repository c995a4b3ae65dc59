"""Whether validation and test look like the rows that are trained on, and like production.

Compared are shares: of labels, groups, lengths, origins and openings (the first words, numbers
masked: what most templates show). Meaning is not seen.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from keepgain.sweeps.gates.columns import Column
from keepgain.sweeps.gates.counts import Cell, Table, counts, odd_cells, total_variation
from keepgain.sweeps.gates.findings import Finding
from keepgain.sweeps.gates.labels import Facts, family, group_column, opening
from keepgain.sweeps.gates.material import RowSet

ORIGINS = ("source", "origin", "dataset", "channel", "domain", "language", "lang")
"""Fields, in any case, that say where a row is from, where the spec names none."""
LEVEL = 0.01
MIN_DIFFERENCE = 0.05
"""Of a share: less shifts a score by less than most suites resolve."""
LENGTH_BINS = 5
MAX_OPENINGS, MIN_TIMES = 50, 5
RARE = "(rarer ones)"
"""Not an opening: all that come back too seldom to be counted one by one."""
_CODES = {
    "label": "coverage_label",
    "group": "coverage_group",
    "opening": "coverage_opening",
    "origin": "coverage_origin",
    "length": "coverage_length",
}
_NAMED = 3
Lengths = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Aspect:
    """One category of the rows of two sets, with the same values."""

    name: str
    here: Column
    there: Column

    @property
    def table(self) -> Table:
        """Of shape [2, values]: here, there."""
        return np.stack([counts(self.here), counts(self.there)])


def check_coverage(
    sets: Sequence[RowSet],
    facts: Facts,
    labels: Mapping[str, Column],
    production: RowSet | None = None,
    origins: Sequence[str] = ORIGINS,
) -> list[Finding]:
    """Suites of the gain against the sources of the task, and both against production.

    Args:
        sets: Of the sweep.
        facts: Of each set, `production` included.
        labels: Of the classifications.
        production: Rows as they are met in use, with or without answers.
        origins: Fields that say where a row is from.
    """
    task = [s for s in sets if s.role == "task"]
    findings: list[Finding] = []
    for suite in (s for s in sets if s.measures == "gain"):
        own = [s for s in task if family(s) == family(suite)] or task
        for train in own:
            findings += _compared(suite, train, facts, labels, origins, "training")
        if production is not None:
            findings += _compared(suite, production, facts, labels, origins, "production")
    if production is not None:
        for train in task:
            findings += _compared(train, production, facts, labels, origins, "production")
    return findings


def _compared(
    rows: RowSet,
    reference: RowSet,
    facts: Facts,
    labels: Mapping[str, Column],
    origins: Sequence[str],
    called: str,
) -> Iterator[Finding]:
    """A finding for each aspect in which `rows` are unlike the reference."""
    for aspect in aspects(rows, reference, facts, labels, origins):
        table = aspect.table
        if not table.sum(axis=1).all():
            continue
        odd = [c for c in odd_cells(table, LEVEL, MIN_DIFFERENCE) if c.row == 0]
        absent = [c for c in odd_cells(table, LEVEL, 0.0) if c.row == 0 and c.count == 0]
        cells = list({c.column: c for c in (*absent, *odd)}.values())
        if cells:
            yield _finding(rows, aspect, cells, called, reference)


def _finding(
    rows: RowSet, aspect: Aspect, cells: Sequence[Cell], called: str, reference: RowSet
) -> Finding:
    distance = total_variation(*aspect.table)
    told = "; ".join(_said(c, rows, aspect, called) for c in cells[:_NAMED])
    more = f"; {len(cells) - _NAMED} more" if len(cells) > _NAMED else ""
    return Finding(
        code=_CODES[aspect.name],
        severity="warning",
        where=rows.label,
        message=f"{told}{more} ({len(rows.rows)} rows against {len(reference.rows)} of "
        f"{reference.label}; {100 * distance:.0f} % of them differ in {aspect.name}: total "
        "variation).",
        hint="Draw the split anew from all rows, or say why it should differ.",
        count=len(cells),
        of=len(aspect.here.values),
        figures={"total_variation": distance, "missing": sum(c.count == 0 for c in cells)},
    )


def _said(cell: Cell, rows: RowSet, aspect: Aspect, called: str) -> str:
    value = named(aspect.name, aspect.here.values[cell.column])
    if cell.count == 0:
        return f"{rows.part} has no row of {value}, {cell.elsewhere:.1%} of {called}"
    return f"{value} is {cell.share:.0%} of {rows.part}, {cell.elsewhere:.0%} of {called}"


def named(aspect: str, value: str) -> str:
    """`the label 'refund'`; rare openings are many, and no opening by themselves."""
    if aspect == "opening" and value == RARE:
        return "any rarer opening"
    return f"the {aspect} {value!r:.60}"


def aspects(
    rows: RowSet,
    reference: RowSet,
    facts: Facts,
    labels: Mapping[str, Column],
    origins: Sequence[str] = ORIGINS,
) -> Iterator[Aspect]:
    """What both sets have."""
    if not len(rows.rows) or not len(reference.rows):
        return
    a, b = facts[rows.label], facts[reference.label]
    pairs = [("group", group_column(rows, a), group_column(reference, b))]
    if rows.label in labels and reference.label in labels:
        pairs.append(("label", labels[rows.label], labels[reference.label]))
    for field in rows.columns:
        if field.casefold() in origins and field in reference.columns:
            pairs.append(("origin", rows.columns[field], reference.columns[field]))
    for name, here, there in pairs:
        if len(here.values) and len(there.values):
            yield shared(name, here, there)
    if (openings := _openings(rows, reference, facts)) is not None:
        yield openings
    yield _lengths(a.characters, b.characters)


def shared(name: str, here: Column, there: Column) -> Aspect:
    """Two columns with the same values."""
    values = tuple(dict.fromkeys((*there.values, *here.values)))
    code = {value: i for i, value in enumerate(values)}

    def recoded(column: Column) -> Column:
        new = np.array([*(code[v] for v in column.values), -1], dtype=np.int32)
        return Column(values, new[column.codes])

    return Aspect(name, recoded(here), recoded(there))


def _openings(rows: RowSet, reference: RowSet, facts: Facts) -> Aspect | None:
    """The most frequent ones of both together; the rest is one value, `RARE`. None if none
    comes back."""
    here, there = facts[rows.label].opening, facts[reference.label].opening
    keys, times = np.unique(np.concatenate([here, there]), return_counts=True)
    often = np.flatnonzero(times >= MIN_TIMES)
    often = np.sort(often[np.argsort(-times[often], kind="stable")][:MAX_OPENINGS])
    if not len(often):
        return None
    keys = keys[often]
    columns, names = [], dict[int, str]()
    for one, hashes in ((rows, here), (reference, there)):
        place = np.minimum(np.searchsorted(keys, hashes), len(keys) - 1)
        codes = np.where(keys[place] == hashes, place, len(keys)).astype(np.int32)
        for code, first in zip(*np.unique(codes, return_index=True), strict=True):
            names[int(code)] = opening(one.rows[int(first)].question())
        columns.append(codes)
    names[len(keys)] = RARE
    values = tuple(names[i] for i in range(len(keys) + 1))
    return Aspect("opening", Column(values, columns[0]), Column(values, columns[1]))


def _lengths(here: Lengths, there: Lengths) -> Aspect:
    """In bins that hold equal shares of the reference; shorter and longer ones than it has are two
    more."""
    inner = np.quantile(there, np.linspace(0, 1, LENGTH_BINS + 1)[1:-1]).round()
    edges = np.unique([there.min(), *inner, there.max() + 1]).astype(np.int64)
    bounds = ["0", *map(str, edges), "more"]
    names = tuple(f"from {a} to below {b}" for a, b in pairwise(bounds))
    of_here, of_there = (np.digitize(x, edges).astype(np.int32) for x in (here, there))
    return Aspect("length", Column(names, of_here), Column(names, of_there))
