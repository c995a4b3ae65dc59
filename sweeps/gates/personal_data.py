"""Personal data and secrets in rows: how many a source has, shown masked.

What counts is in `core.personal`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from keepgain.core.personal.find import KINDS, SECRETS, Span, find_personal, masked_spans
from keepgain.core.rows import Row
from keepgain.sweeps.gates.findings import MAX_EXAMPLES, Finding
from keepgain.sweeps.gates.material import RowSet
from keepgain.sweeps.gates.row_list import found_in
from keepgain.sweeps.gates.scan import Arrays, scan_sets

PROBE = "personal_data"


def content(row: Row) -> str:
    """All that a row teaches, as one text."""
    return f"{row.question()}\n{row.answer}" if row.answer else row.question()


@dataclass(frozen=True)
class PersonalProbe:
    """How often each kind is in each row."""

    name: str = PROBE

    def measure(self, rows: Sequence[Row]) -> Arrays:
        """`counts`: uint16 of shape [rows, kinds], in the order of `KINDS`; at most 65,535."""
        counts = np.zeros((len(rows), len(KINDS)), dtype=np.uint16)
        place = {kind: k for k, kind in enumerate(KINDS)}
        for i, row in enumerate(rows):
            for span in find_personal(content(row)):
                k = place[span.kind]
                counts[i, k] = min(65_535, int(counts[i, k]) + 1)
        return {"counts": counts}


def check_personal_data(
    sets: Sequence[RowSet],
    measured: Mapping[str, Arrays] | None = None,
) -> list[Finding]:
    """One warning a set and kind.

    Args:
        sets: The rows.
        measured: Label → what `PersonalProbe` measured; None: measured here.
    """
    if measured is None:
        measured = {k: v[PROBE] for k, v in scan_sets(sets, [PersonalProbe()]).items()}
    return [
        _finding(rows, kind, counts[:, k])
        for rows in sets
        for counts in [measured[rows.label]["counts"]]
        for k, kind in enumerate(KINDS)
        if counts[:, k].any()
    ]


def _finding(rows: RowSet, kind: str, counts: npt.NDArray[np.uint16]) -> Finding:
    having = np.flatnonzero(counts)
    total = int(counts.sum(dtype=np.int64))
    shown = []
    for i in having[:MAX_EXAMPLES].tolist():
        text = content(rows.rows[i])
        shown += [
            masked_spans(text[s.start : s.end], [Span(0, s.end - s.start, s.kind, s.kept)])
            for s in find_personal(text)
            if s.kind == kind
        ][:1]
    return Finding(
        code="secrets_in_rows" if kind in SECRETS else "personal_data",
        severity="warning",
        where=rows.label,
        message=f"{kind}: {total:,} in {len(having):,} of {len(rows.rows):,} rows, "
        f"e.g. {', '.join(shown)}.",
        all_rows=found_in(rows, having),
        hint="`sweep clean` masks them; waive the finding with a reason if they are meant.",
        count=len(having),
        of=len(rows.rows),
        figures={"found": float(total), "share": len(having) / len(rows.rows)},
    )
