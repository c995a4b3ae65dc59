"""Rows that say the same, exactly or nearly: in a source, in two sources, in a suite."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from keepgain.sweeps.gates.findings import Finding
from keepgain.sweeps.gates.material import RowSet
from keepgain.sweeps.gates.row_list import found_in
from keepgain.sweeps.gates.scan import Arrays, scan_sets
from keepgain.sweeps.gates.shingles import HashSet, Ints, hash_words, normal, row_text
from keepgain.sweeps.gates.sketches import (
    Content,
    SketchProbe,
    are_near,
    candidates,
    content,
    phrases,
)

MAX_PAIRS = 200_000
"""Candidates that are looked at, those that resemble most: two minutes."""


@dataclass(frozen=True)
class Duplicates:
    """Which rows say the same. Rows of all training sources are compared with one another; those of
    each split of a suite among themselves."""

    exact: Mapping[str, Ints]
    """Label → number of each row's cluster, of shape [rows]: question and answer are the same but
    for the form of characters, case and white space."""
    near: Mapping[str, Ints]
    """The same with near copies; a cluster of `exact` is part of one."""
    candidates: int
    looked_at: int
    """Of the candidates; the others resemble each other less."""


def sketch_probe(sets: Sequence[RowSet]) -> SketchProbe:
    """What `find_duplicates` needs of every row; looks at a sample for phrases."""
    learnt = [phrases(s.rows) for s in sets]
    return SketchProbe(HashSet(np.concatenate([np.empty(0, dtype=np.uint64), *learnt])))


def find_duplicates(
    sets: Sequence[RowSet],
    measured: Mapping[str, Arrays] | None = None,
    probe: SketchProbe | None = None,
    processes: int = 1,
) -> Duplicates:
    """Clusters of rows that say the same.

    Args:
        sets: All of them.
        measured: Label → what the probe measured; None: it is asked here.
        probe: Of `sketch_probe`.
        processes: For asking it.
    """
    probe = probe or sketch_probe(sets)
    if measured is None:
        scanned = scan_sets(sets, [probe], processes)
        measured = {label: found[probe.name] for label, found in scanned.items()}
    exact: dict[str, Ints] = {}
    near: dict[str, Ints] = {}
    found = looked_at = 0
    for group in _compared(sets):
        parts = [measured[s.label] for s in group]
        _, first, cluster = np.unique(
            np.concatenate([p["text"] for p in parts]), return_index=True, return_inverse=True
        )
        exact_of = first[cluster]
        once = exact_of == np.arange(len(exact_of))
        pairs, total = candidates(parts, once, MAX_PAIRS)
        found, looked_at = found + total, looked_at + len(pairs.first)
        root = _joined(group, pairs.first, pairs.second, probe.ignored, len(once))
        near_of = root[exact_of]
        begin = 0
        for one in group:
            here = slice(begin, begin + len(one.rows))
            exact[one.label], near[one.label] = exact_of[here], near_of[here]
            begin = here.stop
    return Duplicates(exact, near, found, looked_at)


def _compared(sets: Sequence[RowSet]) -> list[list[RowSet]]:
    train = [s for s in sets if s.part == "train"]
    return [g for g in (train, *([s] for s in sets if s.part != "train")) if g]


def _joined(
    group: Sequence[RowSet], first: Ints, second: Ints, ignored: HashSet, rows: int
) -> Ints:
    """First row of each row's cluster, of shape [rows], after a look at each pair."""
    parent = np.arange(rows)

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = row = int(parent[parent[row]])
        return row

    begins = np.cumsum([0, *(len(s.rows) for s in group)])

    @lru_cache(maxsize=4096)  # neighbours are in many pairs
    def of_row(row: int) -> Content:
        k = int(np.searchsorted(begins, row, side="right")) - 1
        text = row_text(group[k].rows[row - int(begins[k])])
        return content(hash_words([normal(text)]), ignored)

    for a, b in zip(first.tolist(), second.tolist(), strict=True):
        root_a, root_b = root(a), root(b)
        if root_a != root_b and are_near(of_row(a), of_row(b)):
            parent[max(root_a, root_b)] = min(root_a, root_b)
    for row in np.flatnonzero(parent != np.arange(rows)).tolist():
        parent[row] = root(row)
    return parent


def check_near_duplicates(sets: Sequence[RowSet], found: Duplicates) -> list[Finding]:
    """Findings on each set and on each two training sources.

    Exact copies within a suite are left to `check_duplicates`, where the question alone counts.
    """
    findings = []
    for one in sets:
        exact, near = found.exact[one.label], found.near[one.label]
        if one.part == "train":
            findings += _within(one, exact, exact, found)
        findings += _within(one, near, exact, found)
    train = [s for s in sets if s.part == "train"]
    for i, one in enumerate(train):
        for other in train[i + 1 :]:
            findings += _across(one, other, found)
    return findings


def _within(one: RowSet, clusters: Ints, exact: Ints, found: Duplicates) -> list[Finding]:
    """On copies, where `clusters` is `exact`; else on near ones, exact copies counted once."""
    near = clusters is not exact
    rows = np.unique(exact, return_index=True)[1] if near else np.arange(len(exact))
    _, first, of_row, sizes = np.unique(
        clusters[rows], return_index=True, return_inverse=True, return_counts=True
    )
    surplus = len(rows) - len(sizes)
    if not surplus:
        return []
    again = np.flatnonzero(first[of_row] != np.arange(len(rows)))
    train = one.part == "train"
    code = (
        "duplicate_rows" if not near else "near_duplicate_rows" if train else "near_duplicate_items"
    )
    more = (
        f"; the largest of {int((sizes > 1).sum())} clusters has {sizes.max()}"
        if surplus > 1
        else ""
    )
    how = "nearly say" if near else "say"
    return [
        Finding(
            code=code,
            severity="warning",
            where=one.label,
            message=f"{surplus} of {len(exact)} {'rows' if train else 'items'} {how} what an "
            f"earlier one says{more}.{_not_all(found) if near else ''}",
            all_rows=found_in(one, rows[again], beside=(one, rows[first[of_row[again]]])),
            hint="Keep one of each: `sweep clean` writes a file without the others."
            if train
            else "Remove them, or name the field that they share as `cluster`.",
            count=surplus,
            of=len(exact),
            figures={
                "share": surplus / len(exact),
                "clusters": float((sizes > 1).sum()),
                "largest_cluster": float(sizes.max()),
            },
        )
    ]


def _across(one: RowSet, other: RowSet, found: Duplicates) -> Iterator[Finding]:
    """Rows of `other` that `one` has as well."""
    for code, clusters in (("shared_rows", found.exact), ("near_shared_rows", found.near)):
        mine, theirs = clusters[one.label], clusters[other.label]
        shared = np.isin(theirs, mine)
        if code == "near_shared_rows":
            shared &= ~np.isin(found.exact[other.label], found.exact[one.label])
        if not (count := int(shared.sum())):
            continue
        again = np.flatnonzero(shared)
        known, first = np.unique(mine, return_index=True)
        near = "nearly " if code == "near_shared_rows" else ""
        yield Finding(
            code=code,
            severity="warning",
            where=f"{one.label} and {other.label}",
            message=f"{count} of {len(theirs)} rows of {other.label} {near}say what a row of "
            f"{one.label} says.{_not_all(found) if near else ''}",
            all_rows=found_in(
                other, again, beside=(one, first[np.searchsorted(known, theirs[again])])
            ),
            hint="Remove them from one of the two: their shares cannot be told apart otherwise.",
            count=count,
            of=len(theirs),
            figures={"share": count / len(theirs)},
        )


def _not_all(found: Duplicates) -> str:
    if found.looked_at == found.candidates:
        return ""
    return f" Of {found.candidates:,} pairs the {found.looked_at:,} most alike were looked at."
