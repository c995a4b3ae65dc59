"""Rows that stand on both sides of a split: what is scored must not have been trained on."""

from collections.abc import Sequence

from keepgain.sweeps.gates.findings import MAX_EXAMPLES, Finding
from keepgain.sweeps.gates.material import RowSet, normalised


def check_splits(sets: Sequence[RowSet]) -> list[Finding]:
    """Training rows against items of both splits, and validation against test items.

    Rows are the same if what comes before the answer is. An exact copy is an error, a copy up to
    white space and case a warning.
    """
    train = [s for s in sets if s.part == "train"]
    validation = [s for s in sets if s.part == "validation"]
    test = [s for s in sets if s.part == "test"]
    pairs = [(a, b) for a in train for b in (*validation, *test)]
    pairs += [(a, b) for a in validation for b in test]
    exact = {s.label: _positions(s, exact=True) for s in sets}
    rough = {s.label: _positions(s, exact=False) for s in sets}
    findings = []
    for a, b in pairs:
        same = _common(exact[a.label], exact[b.label])
        near = _common(rough[a.label], rough[b.label])
        if same:
            findings.append(_finding(a, b, same, len(exact[b.label]), exact=True))
        elif near:
            findings.append(_finding(a, b, near, len(rough[b.label]), exact=False))
    return findings


def check_duplicates(sets: Sequence[RowSet]) -> list[Finding]:
    """Items that a suite asks twice: they count as one piece of evidence, not as two."""
    findings = []
    for items in sets:
        if items.part == "train":
            continue
        surplus = len(items.rows) - len(_positions(items, exact=True))
        if surplus:
            findings.append(
                Finding(
                    code="duplicate_items",
                    severity="warning",
                    where=items.label,
                    message=f"{surplus} of {len(items.rows)} items ask what another one asks.",
                    rows=_repeats(items),
                    hint="Remove them: intervals come out too narrow.",
                )
            )
    return findings


def _positions(rows: RowSet, *, exact: bool) -> dict[str, int]:
    """Question → position of the first row that asks it."""
    found: dict[str, int] = {}
    for position, row in enumerate(rows.rows):
        question = row.question()
        found.setdefault(question if exact else normalised(question), position)
    return found


def _common(a: dict[str, int], b: dict[str, int]) -> list[tuple[int, int]]:
    return sorted((a[key], b[key]) for key in a.keys() & b.keys())


def _repeats(items: RowSet) -> tuple[str, ...]:
    first = _positions(items, exact=True)
    again = (
        f"{items.places[i]} asks as {items.places[first[row.question()]]}"
        for i, row in enumerate(items.rows)
        if first[row.question()] != i
    )
    return tuple(text for text, _ in zip(again, range(MAX_EXAMPLES), strict=False))


def _finding(
    a: RowSet, b: RowSet, common: list[tuple[int, int]], total: int, *, exact: bool
) -> Finding:
    replayed = a.role == "replay" and b.measures == "forgetting"
    code = "replay_overlap" if replayed else "split_overlap"
    how = "" if exact else " up to white space and case"
    allowed = f", or allow it with `allow: [{code}]`" if exact else ""
    return Finding(
        code=code if exact else f"near_{code}",
        severity="error" if exact else "warning",
        where=f"{a.label} and {b.label}",
        message=f"{len(common)} of {total} questions of {b.label} are in {a.label} too{how}.",
        rows=tuple(f"{a.places[i]} = {b.places[j]}" for i, j in common[:MAX_EXAMPLES]),
        hint=f"Remove them from one of the two{allowed}; scores would be too good.",
    )
