"""Rows that break what `data_spec` says of them, by file and line."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from keepgain.core.row_files import records
from keepgain.core.rows import Row
from keepgain.sweeps.gates.findings import Finding
from keepgain.sweeps.gates.material import RowSet
from keepgain.sweeps.gates.patterns import PATTERN_SECONDS, stopped_after
from keepgain.sweeps.gates.row_list import RowList, found_in
from keepgain.sweeps.gates.rules import Check
from keepgain.sweeps.gates.scan import CHUNK, Arrays, scan

Broken = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ContentProbe:
    """Which rows break which check on question and answer."""

    checks: tuple[Check, ...]
    name: str = "conformance"

    @staticmethod
    def of(checks: Sequence[Check]) -> "list[ContentProbe]":
        """One, or none where no check is on content."""
        content = tuple(c for c in checks if c.part != "field")
        return [ContentProbe(content)] if content else []

    def measure(self, rows: Sequence[Row]) -> dict[str, Broken]:
        """`broken`, of shape [rows, checks].

        Raises:
            UserError: A pattern that does not come to an end.
        """
        broken = np.zeros((len(rows), len(self.checks)), dtype=np.bool_)
        texts = {"answer": [r.answer if r.kind != "text" else r.text for r in rows]}
        texts["question"] = [asked(r) for r in rows]
        for i, check in enumerate(self.checks):
            with stopped_after(PATTERN_SECONDS, check.key):
                for j, text in enumerate(texts[check.part]):
                    skipped = check.part == "question" and rows[j].kind == "text"
                    broken[j, i] = not skipped and check.broken(text)
        return {"broken": broken}


def check_conformance(
    sets: Sequence[RowSet],
    checks: Sequence[Check],
    measured: Mapping[str, Arrays] | None = None,
) -> list[Finding]:
    """One finding for each rule that rows break: errors for fields, forms, values, labels and
    entities, warnings for lengths and style.

    Fields are looked at in the files themselves, which are read once more for them.

    Args:
        sets: The rows that the rules are for.
        checks: Of `gates.rules`.
        measured: Label → what `ContentProbe.of(checks)` gives; None: it is measured here.
    """
    fields = [c for c in checks if c.part == "field"]
    found = {check.key: _Tally(check) for check in checks}
    for rows in sets:
        for probe in ContentProbe.of(checks):
            arrays = measured[rows.label] if measured else scan(rows.rows, [probe])[probe.name]
            _count(found, probe.checks, rows, arrays["broken"])
        if fields and len(rows.rows):
            of_fields = _fields_broken(rows, fields)
            if of_fields is not None:
                _count(found, fields, rows, of_fields)
    return [tally.finding() for tally in found.values() if tally.count]


def asked(row: Row) -> str:
    """All that comes before the answer, without the names of roles, which nobody wrote."""
    if row.kind == "chat":
        return "\n".join(m["content"] for m in row.messages[:-1])
    return row.prompt


def check_declared(licences: Mapping[str, str | None], sources: Sequence[str]) -> list[Finding]:
    """Sources without a licence, where the spec gives that of others.

    Args:
        licences: Source → licence, as `data_spec.sources` has them.
        sources: All of the sweep.
    """
    return [
        Finding(
            code="source_undeclared",
            severity="warning",
            where=f"data.{name}",
            message=f"under which licence the rows of '{name}' may be used is not said.",
            hint=f"Add `data_spec.sources.{name}.licence`.",
        )
        for name in sources
        if licences.get(name) is None
    ]


@dataclass
class _Tally:
    check: Check
    count: int = 0
    of: int = 0
    found: tuple[RowList, ...] = ()
    sets: tuple[str, ...] = ()

    def finding(self) -> Finding:
        check = self.check
        listed = f" In {', '.join(self.sets)}." if self.sets else ""
        return Finding(
            code=check.code,
            severity=check.severity,
            where=check.key,
            message=f"{self.count} of {self.of} rows {check.says}.{listed}",
            all_rows=self.found,
            hint="Correct the rows, or the rule.",
            count=self.count,
            of=self.of,
            figures={"share": self.count / self.of},
        )


def _count(
    found: Mapping[str, _Tally], checks: Sequence[Check], rows: RowSet, broken: Broken
) -> None:
    for i, check in enumerate(checks):
        tally, where = found[check.key], np.flatnonzero(broken[:, i])
        tally.of += len(broken)
        if not len(where):
            continue
        tally.count += len(where)
        tally.found += found_in(rows, where)
        tally.sets += (f"{rows.label} {len(where)}",)


def _fields_broken(rows: RowSet, checks: Sequence[Check]) -> Broken | None:
    """Of shape [rows, checks]; None where the rows are of no file (a task of the harness, or pairs
    that the spec itself holds)."""
    path, lines = _lines(rows.places)
    if not path.exists() or path.suffix in (".yaml", ".yml"):
        return None
    broken = np.zeros((len(lines), len(checks)), dtype=np.bool_)
    wanted = _wanted(path, lines)
    while chunk := list(islice(wanted, CHUNK)):
        for i, check in enumerate(checks):
            with stopped_after(PATTERN_SECONDS, check.key):
                for j, record in chunk:
                    broken[j, i] = check.broken(record.get(check.field))
    return broken


def _wanted(path: Path, lines: npt.NDArray[np.int64]) -> Iterator[tuple[int, Mapping[str, object]]]:
    """(index of a row, record on its line of the file). Copies of a row are of one line."""
    order = np.argsort(lines, kind="stable")
    at = 0
    for number, record in records(path):
        while lines[order[at]] == number:
            yield int(order[at]), record
            at += 1
            if at == len(order):
                return


def _lines(places: Sequence[str]) -> tuple[Path, npt.NDArray[np.int64]]:
    """The file of a row set, and the line of each row."""
    path = places[0].rpartition(":")[0]
    numbers = (int(place.rpartition(":")[2]) for place in places)
    return Path(path), np.fromiter(numbers, dtype=np.int64, count=len(places))
