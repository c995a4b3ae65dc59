"""Rows that stand on both sides of a split: what is scored must not have been trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from keepgain.core.rows import Row
from keepgain.sweeps.gates.findings import Finding
from keepgain.sweeps.gates.material import RowSet
from keepgain.sweeps.gates.row_list import RowList, found_in
from keepgain.sweeps.gates.scan import Array, Arrays, scan_sets
from keepgain.sweeps.gates.shingles import Hashes, Ints, normal, text_hash


def check_splits(
    sets: Sequence[RowSet], measured: Mapping[str, Arrays] | None = None
) -> list[Finding]:
    """Training rows against items of both splits, and validation against test items.

    Rows are the same if what comes before the answer is. An exact copy is an error, a copy up to
    white space and case a warning.

    Args:
        sets: All of them.
        measured: Label → what `QuestionProbe` measured; None: it is asked here.
    """
    train = [s for s in sets if s.part == "train"]
    validation = [s for s in sets if s.part == "validation"]
    test = [s for s in sets if s.part == "test"]
    pairs = [(a, b) for a in train for b in (*validation, *test)]
    pairs += [(a, b) for a in validation for b in test]
    asked = _asked(sets, measured)
    findings = []
    for a, b in pairs:
        (exact_a, rough_a), (exact_b, rough_b) = asked[a.label], asked[b.label]
        in_a, in_b = _common(exact_a, exact_b)
        near_a, near_b = _common(rough_a, rough_b)
        new = ~np.isin(near_b, in_b)
        findings += _finding(a, b, in_a, in_b, len(exact_b.keys), exact=True)
        findings += _finding(a, b, near_a[new], near_b[new], len(rough_b.keys), exact=False)
    return findings


def check_duplicates(
    sets: Sequence[RowSet], measured: Mapping[str, Arrays] | None = None
) -> list[Finding]:
    """Items that a suite asks twice: they count as one piece of evidence, not as two. Arguments as
    of `check_splits`."""
    findings = []
    suites = [s for s in sets if s.part != "train"]
    of_label = _asked(suites, measured)
    for items in suites:
        asked, _ = of_label[items.label]
        surplus = len(items.rows) - len(asked.keys)
        if surplus:
            findings.append(
                Finding(
                    code="duplicate_items",
                    severity="warning",
                    where=items.label,
                    message=f"{surplus} of {len(items.rows)} items ask what another one asks.",
                    all_rows=_repeats(items, asked),
                    hint="Remove them: intervals come out too narrow.",
                    count=surplus,
                    of=len(items.rows),
                    figures={"share": surplus / len(items.rows)},
                )
            )
    return findings


@dataclass(frozen=True)
class QuestionProbe:
    """Hashes of each row's question: 16 bytes a row, where the texts may not fit into memory."""

    name: str = "questions"

    def measure(self, rows: Sequence[Row]) -> Mapping[str, Array]:
        """`exact`: of the question as it is; `rough`: up to the form of characters, white space and
        case."""
        asked = [row.question() for row in rows]
        return {
            "exact": np.array([text_hash(q) for q in asked], dtype=np.uint64),
            "rough": np.array([text_hash(normal(q)) for q in asked], dtype=np.uint64),
        }


@dataclass(frozen=True)
class _Questions:
    """Each question once."""

    keys: Hashes
    """Ascending, of shape [questions]."""
    first: Ints
    """Position of the first row that asks it."""
    of_row: Ints
    """Place in `keys` of each row's question, of shape [rows]."""


def _asked(
    sets: Sequence[RowSet], measured: Mapping[str, Arrays] | None
) -> dict[str, tuple[_Questions, _Questions]]:
    """Label → the questions as they are, and up to white space and case."""
    if measured is None:
        probe = QuestionProbe()
        measured = {label: m[probe.name] for label, m in scan_sets(sets, [probe]).items()}
    return {
        s.label: (_distinct(measured[s.label]["exact"]), _distinct(measured[s.label]["rough"]))
        for s in sets
    }


def _distinct(keys: Hashes) -> _Questions:
    return _Questions(*np.unique(keys, return_index=True, return_inverse=True))


def _common(a: _Questions, b: _Questions) -> tuple[Ints, Ints]:
    """Positions in both of each question that both ask, in the order of the first."""
    _, of_a, of_b = np.intersect1d(a.keys, b.keys, assume_unique=True, return_indices=True)
    in_a, in_b = a.first[of_a], b.first[of_b]
    order = np.argsort(in_a)
    return in_a[order], in_b[order]


def _repeats(items: RowSet, asked: _Questions) -> tuple[RowList, ...]:
    first = asked.first[asked.of_row]
    again = np.flatnonzero(first != np.arange(len(first)))
    return found_in(items, again, beside=(items, first[again]), form="{row} asks as {other}")


def _finding(
    a: RowSet, b: RowSet, in_a: Ints, in_b: Ints, total: int, *, exact: bool
) -> list[Finding]:
    if not len(in_b):
        return []
    replayed = a.role == "replay" and b.measures == "forgetting"
    code = "replay_overlap" if replayed else "split_overlap"
    how = "" if exact else " up to white space and case"
    allowed = f", or allow it with `allow: [{code}]`" if exact else ""
    count = len(in_b)
    return [
        Finding(
            code=code if exact else f"near_{code}",
            severity="error" if exact else "warning",
            where=f"{a.label} and {b.label}",
            message=f"{count} of {total} questions of {b.label} are in {a.label} too{how}.",
            all_rows=found_in(b, in_b, beside=(a, in_a), form="{other} = {row}"),
            hint=f"Remove them from one of the two{allowed}; scores would be too good.",
            count=count,
            of=total,
            figures={"share": count / total},
        )
    ]
