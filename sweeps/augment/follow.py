"""Splits of a file of rows that were made from another source's: rows go where their parents go."""

from dataclasses import replace

import numpy as np

from keepgain.core.errors import UserError
from keepgain.sweeps.gates.columns import MAX_DISTINCT
from keepgain.sweeps.gates.lineage import Lineage
from keepgain.sweeps.gates.row_list import found_in
from keepgain.sweeps.located import Located

PARENT = "parent"
"""Field of the file that holds the parent's id."""


def following_rows(
    rows: Located, parents: tuple[Located, Located, Located], parent: str, where: str
) -> tuple[Located, Lineage]:
    """Rows whose parent is trained on; the others are left out and counted.

    Args:
        rows: Of the file.
        parents: Training, validation and test rows of the source that it follows.
        parent: Name of that source.
        where: Key of the spec, for messages.

    Raises:
        UserError: The file does not say whose rows its rows were made from, or none is left.
    """
    column = rows.columns.get(PARENT)
    if column is None:
        raise UserError(
            f"the file has no field '{PARENT}'.",
            where=where,
            hint=f"Each row names the id of the row of '{parent}' that it was made from, as "
            "`sweep augment` writes it.",
        )
    train, validation, test = parents
    wanted = set(column.values)
    trained = _ids(train, wanted)
    scored = _ids(validation, wanted) | _ids(test, wanted)
    # By value, not by row; the last entry is that of rows without the field.
    is_item = np.array([v in scored for v in column.values] + [False], dtype=np.bool_)[column.codes]
    known = np.array([v in trained for v in column.values] + [False], dtype=np.bool_)[column.codes]
    placed = replace(rows, columns={})  # the places of what is left out, without its fields
    lineage = Lineage(
        parent,
        len(rows.rows),
        of_items=found_in(placed, np.flatnonzero(is_item)),
        of_nobody=found_in(placed, np.flatnonzero(~known & ~is_item)),
    )
    # A column of more values groups nothing: the gates are spared it.
    few = {n: c for n, c in rows.columns.items() if len(c.values) <= MAX_DISTINCT}
    left = replace(rows, columns=few).where(known & ~is_item)
    if not left.rows:
        raise UserError(
            f"none of its {len(rows.rows)} rows was made from a training row of '{parent}'.",
            where=where,
            hint=f"Fields '{PARENT}' name ids of rows; does '{parent}' have those?",
        )
    return left, lineage


def _ids(rows: Located, wanted: set[str]) -> set[str]:
    return {row.id for row in rows.rows if row.id in wanted}
