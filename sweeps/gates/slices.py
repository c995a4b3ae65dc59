"""Slices whose figures will have no interval, because too few items have their value."""

from collections import Counter
from collections.abc import Sequence

from keepgain.core.items import MIN_SLICE_ITEMS
from keepgain.sweeps.gates.findings import Finding
from keepgain.sweeps.gates.material import RowSet

_NAMED = 3


def check_slices(sets: Sequence[RowSet]) -> list[Finding]:
    """One warning a suite and field with test items in too small a slice; the largest ones are
    named."""
    findings = []
    for suite in sets:
        if suite.measures is None or suite.part != "test":
            continue
        counts = Counter(part for row in suite.rows for part in row.slices)
        for field in dict.fromkeys(field for field, _ in counts):
            values = [(v, n) for (f, v), n in counts.most_common() if f == field]
            small = [(v, n) for v, n in values if n < MIN_SLICE_ITEMS]
            if small:
                named = ", ".join(f"{v!r:.40} {n}" for v, n in small[:_NAMED])
                named += ", ..." if len(small) > _NAMED else ""
                findings.append(
                    Finding(
                        code="small_slices",
                        severity="warning",
                        where=suite.label,
                        message=f"{len(small)} of {len(values)} values of the slice '{field}' have "
                        f"fewer than {MIN_SLICE_ITEMS} items and get no interval ({named}).",
                        hint="Add items, or slice by a field with fewer values.",
                    )
                )
    return findings
