"""Rows that were made from other rows: what became of them when their source was read."""

from collections.abc import Mapping
from dataclasses import dataclass

from keepgain.sweeps.gates.findings import Finding
from keepgain.sweeps.gates.row_list import RowList


@dataclass(frozen=True)
class Lineage:
    """Of a source whose rows were made from those of another one."""

    parent: str
    """That source."""
    asked: int
    """Copies to be made, or rows of the file."""
    unchanged: int = 0
    """Copies that could not be made: nothing in the row may be changed, or in too few ways."""
    of_items: tuple[RowList, ...] = ()
    """Rows whose parent is scored: left out."""
    of_nobody: tuple[RowList, ...] = ()
    """Rows whose parent is not in the source: left out."""

    @property
    def left_out(self) -> tuple[int, int]:
        """How many of either kind."""
        return sum(map(len, self.of_items)), sum(map(len, self.of_nobody))


def check_lineage(lineages: Mapping[str, Lineage]) -> list[Finding]:
    """What was left out of sources that were made from others.

    Args:
        lineages: Source → its lineage.
    """
    findings = []
    for name, lineage in lineages.items():
        counts = {"asked": float(lineage.asked)}
        if lineage.unchanged:
            findings.append(
                Finding(
                    code="unchanged_copies",
                    severity="note",
                    where=f"data.{name}",
                    message=f"{lineage.unchanged} of {lineage.asked} copies of rows of "
                    f"'{lineage.parent}' are not made: nothing, or too little, of them may be "
                    "changed.",
                    hint="Other kinds in `by` change more.",
                    count=lineage.unchanged,
                    of=lineage.asked,
                    figures=counts,
                )
            )
        of_items, of_nobody = lineage.left_out
        findings += _left_out(name, lineage, "parent_is_item", lineage.of_items, of_items)
        findings += _left_out(name, lineage, "parent_unknown", lineage.of_nobody, of_nobody)
    return findings


def _left_out(
    name: str, lineage: Lineage, code: str, rows: tuple[RowList, ...], count: int
) -> list[Finding]:
    if not count:
        return []
    says, hint = {
        "parent_is_item": (
            f"were made from validation or test rows of '{lineage.parent}' and are left out",
            "Make rows from training rows only, as `sweep augment` does with the same spec.",
        ),
        "parent_unknown": (
            f"name a `parent` that '{lineage.parent}' does not have, and are left out",
            "Has the source changed since? Ids without a field `id` follow from the content.",
        ),
    }[code]
    return [
        Finding(
            code=code,
            severity="warning",
            where=f"data.{name}",
            message=f"{count} of {lineage.asked} rows {says}.",
            all_rows=rows,
            hint=hint,
            count=count,
            of=lineage.asked,
        )
    ]
