"""Rows that a program or a model wrote: how many, by what, how far from real data, and where.

They are known by the role of their source and by the fields of their file. Whether a text only
looks like a machine's is not guessed.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from keepgain.sweeps.gates.columns import Column
from keepgain.sweeps.gates.findings import Finding
from keepgain.sweeps.gates.material import RowSet
from keepgain.sweeps.gates.row_list import found_in

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class SyntheticFields:
    """Names of fields, each tried in order; the spec may give others."""

    synthetic: Sequence[str] = (
        "synthetic",
        "is_synthetic",
        "generated",
        "is_generated",
        "augmented",
    )
    """Yes or no."""
    origin: Sequence[str] = ("source", "origin", "provenance", "source_type")
    """Synthetic where it says so in one of `_MACHINE`'s words."""
    generator: Sequence[str] = ("generator", "generated_by", "generator_model", "synthesizer")
    """Who wrote it."""
    model: Sequence[str] = ("model", "generation_model", "model_name")
    """Who wrote it, of rows that are synthetic anyway: it may be a field of the task."""
    depth: Sequence[str] = ("generation_depth", "generation", "depth")
    """1: of a model trained on real data, 2: of one trained on the output of such a model, ..."""
    parent: Sequence[str] = ("parent", "parent_id", "augmented_from")
    """Row that it was made from."""
    reviewed: Sequence[str] = ("reviewed", "is_reviewed", "human_reviewed", "verified", "reviewer")
    """Yes, no, or by whom."""

    def named(
        self, synthetic: str | None, reviewed: str | None, parent: str | None
    ) -> "SyntheticFields":
        """With the names that a spec gives, where it does."""
        given = {"synthetic": synthetic, "reviewed": reviewed, "parent": parent}
        return replace(self, **{key: (name,) for key, name in given.items() if name is not None})


_NO = {
    "",
    "0",
    "0.0",
    "false",
    "no",
    "n",
    "f",
    "none",
    "null",
    "nan",
    "human",
    "real",
    "manual",
    "-",
}
_MACHINE = re.compile(
    r"(?i)\s*(?:(?:synthetic|synthesi[sz]ed|(?:\w+[-_ ])?generated|llm|augment(?:ed|ation)|"
    r"paraphrased?|back[-_ ]?translat(?:ed|ion)|distilled)\b.*|model|machine|ai|bot)\s*"
)
MAX_DEPTH = 1


@dataclass(frozen=True)
class _Look:
    """A set's rows and who made them."""

    rows: RowSet
    synthetic: Mask
    fields: SyntheticFields = field(default_factory=SyntheticFields)

    def column(self, names: Sequence[str]) -> Column | None:
        return _column(self.rows, names)


def synthetic_rows(
    rows: RowSet, role: str | None = None, fields: SyntheticFields | None = None
) -> Mask:
    """Which rows are synthetic, of shape [rows].

    Args:
        rows: Of a set.
        role: Of the source that the rows come from; None: the set's own.
        fields: To look in; None: the usual names.
    """
    fields = fields or SyntheticFields()
    if (role or rows.role) == "synthetic":
        return np.ones(len(rows.rows), dtype=np.bool_)
    found = np.zeros(len(rows.rows), dtype=np.bool_)
    for names in (fields.synthetic, fields.generator):
        if (column := _column(rows, names)) is not None:
            found |= _where(column, [value.strip().lower() not in _NO for value in column.values])
    if (column := _column(rows, fields.origin)) is not None:
        found |= _where(column, [_MACHINE.fullmatch(value) is not None for value in column.values])
    return found


def _column(rows: RowSet, names: Sequence[str]) -> Column | None:
    return next((rows.columns[name] for name in names if name in rows.columns), None)


def _where(column: Column, said: Sequence[bool]) -> Mask:
    """Rows whose value is one of those said to be; a row without the field is none."""
    return np.append(np.array(said, dtype=np.bool_), False)[column.codes]


def check_synthetic(
    sets: Sequence[RowSet],
    fields: SyntheticFields | None = None,
    generators: Mapping[str, str] | None = None,
    reviewed: Mapping[str, bool] | None = None,
) -> list[Finding]:
    """Share and provenance (notes), synthetic items (errors), depth and review (warnings).

    Args:
        sets: All sets of the sweep: the role of a source is that of its training rows.
        fields: Names of fields; None: the usual ones.
        generators: Source → what wrote it, of sources that the spec says are synthetic.
        reviewed: Source → whether the spec says that people have looked at its synthetic rows, of
            the sources where they are to; a field goes before it.
    """
    generators, reviewed, findings = generators or {}, reviewed or {}, []
    masks = synthetic_sets(sets, fields, generators)
    for rows in sets:
        if (mask := masks.get(rows.label)) is None:
            continue
        look, source = _Look(rows, mask, fields or SyntheticFields()), rows.source or ""
        if rows.part != "train":
            findings.append(_evaluated(look))
            continue
        findings += [_share(look, generators.get(source)), *_depth(look)]
        if source in reviewed:
            findings += _unreviewed(look, reviewed[source])
    return findings


def synthetic_sets(
    sets: Sequence[RowSet],
    fields: SyntheticFields | None = None,
    generators: Mapping[str, str] | None = None,
) -> dict[str, Mask]:
    """Label → which rows are synthetic, of the sets that have such rows; arguments as of
    `check_synthetic`."""
    roles = {s.source: s.role for s in sets if s.role is not None and s.source is not None}
    roles |= dict.fromkeys(generators or {}, "synthetic")
    masks = {s.label: synthetic_rows(s, roles.get(s.source or ""), fields) for s in sets}
    return {label: mask for label, mask in masks.items() if mask.any()}


def _share(look: _Look, generator: str | None) -> Finding:
    """How many, and by which generators."""
    count, of = int(look.synthetic.sum()), len(look.synthetic)
    column = look.column(look.fields.generator) or look.column(look.fields.model)
    makers = Counter[str]()
    if column is not None:
        codes = column.codes[look.synthetic]
        counts = np.bincount(codes[codes >= 0], minlength=len(column.values))
        makers.update({v: int(n) for v, n in zip(column.values, counts, strict=True) if n})
    elif generator is not None:
        makers[generator] = count
    without = count - makers.total()
    named = ", ".join(f"{name} {n:,}" for name, n in makers.most_common(3))
    by = f"by {named}; {without:,} do not say" if makers else "none says what made it"
    parents = look.column(look.fields.parent)
    with_parent = 0 if parents is None else int((parents.codes[look.synthetic] >= 0).sum())
    return Finding(
        code="synthetic_rows",
        severity="note",
        where=look.rows.label,
        message=f"{count:,} of {of:,} rows are synthetic ({by}; {with_parent:,} name a parent).",
        count=count,
        of=of,
        figures={
            "share": count / of,
            "without_generator": without / count,
            "with_parent": with_parent / count,
        },
    )


def _evaluated(look: _Look) -> Finding:
    count, of = int(look.synthetic.sum()), len(look.synthetic)
    return Finding(
        code="synthetic_evaluation",
        severity="error",
        where=look.rows.label,
        message=f"{count:,} of {of:,} items are synthetic.",
        all_rows=found_in(look.rows, np.flatnonzero(look.synthetic)),
        hint="Score on real items. If they are allowed, scores of real ones are shown apart, and "
        "the decision goes by those.",
        count=count,
        of=of,
        figures={"share": count / of},
    )


def _depth(look: _Look) -> list[Finding]:
    column = look.column(look.fields.depth)
    if column is None:
        return []
    values = np.array([_whole(value) for value in column.values] + [0])
    depths = np.where(look.synthetic, values[column.codes], 0)
    deep = depths > MAX_DEPTH
    count, of = int(deep.sum()), int(look.synthetic.sum())
    if not count:
        return []
    return [
        Finding(
            code="deep_generations",
            severity="warning",
            where=look.rows.label,
            message=f"{count:,} of {of:,} synthetic rows are the output of a model that was itself "
            f"trained on such output (depth up to {depths.max()}).",
            all_rows=found_in(look.rows, np.flatnonzero(deep)),
            hint="Generate from real rows, and keep real rows in the mixture (Shumailov et al. "
            "2024, doi:10.1038/s41586-024-07566-y).",
            count=count,
            of=of,
            figures={"share": count / of, "depth": float(depths.max())},
        )
    ]


def _unreviewed(look: _Look, said: bool) -> list[Finding]:
    column = look.column(look.fields.reviewed)
    reviewed = np.full(len(look.synthetic), said, dtype=np.bool_)
    if column is not None:
        reviewed = _where(column, [value.strip().lower() not in _NO for value in column.values])
    missing = look.synthetic & ~reviewed
    count, of = int(missing.sum()), int(look.synthetic.sum())
    if not count:
        return []
    return [
        Finding(
            code="unreviewed_synthetic",
            severity="warning",
            where=look.rows.label,
            message=f"{count:,} of {of:,} synthetic rows are not marked as reviewed, as the spec "
            "asks.",
            all_rows=found_in(look.rows, np.flatnonzero(missing)),
            hint="Review them and say so in a field `reviewed`.",
            count=count,
            of=of,
            figures={"share": count / of},
        )
    ]


def _whole(text: str) -> int:
    found = re.fullmatch(r"\s*(\d{1,4})(?:\.0)?\s*", text)
    return int(found[1]) if found else 0
