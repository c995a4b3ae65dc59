"""What people said of rewritten rows, taken back: only accepted ones are written."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keepgain.core.errors import UserError
from keepgain.core.jsonl import json_name
from keepgain.core.row_files import iterate_rows, records
from keepgain.sweeps.augment.questions import asked_text

_YES = ("true", "yes", "y", "1", "x")
_NO = ("false", "no", "n", "0")


@dataclass(frozen=True)
class Reviewed:
    """The rows that were accepted, and how many were not."""

    rows: tuple[Mapping[str, Any], ...]
    rejected: int
    open: int
    """Rows that nobody has decided on."""


def apply_review(review: Path, rows: Path) -> Reviewed:
    """Accepted rows, as reviewed.

    Args:
        review: The review file, or a table (CSV, ...) with its columns `id` and `accept`.
        rows: What `sweep augment` wrote with it.

    Raises:
        UserError: A row that the other file lacks, one decided twice or in no known word, a text
            that was edited, or nothing accepted.
    """
    texts = {f.row.id: asked_text(f.row) for f in iterate_rows(rows)}
    decided: dict[str, bool | None] = {}
    for number, record in records(review):
        where = f"{review}:{number}"
        if "id" not in record or "accept" not in record:
            raise UserError("a row of a review has `id` and `accept`.", where=where)
        name = str(record["id"])
        if name not in texts:
            raise UserError(f"no row of {rows} has the id '{name}'.", where=where)
        if name in decided:
            raise UserError(f"'{name}' is decided twice.", where=where)
        new = record.get("new")
        if new is not None and str(new).split() != texts[name].split():
            raise UserError(
                f"the text of '{name}' is not that of {rows}.",
                where=where,
                hint="A review accepts or rejects; put another wording into a file of your own.",
            )
        decided[name] = _decision(record["accept"], where)
    accepted = [
        {**record, "reviewed": True}
        for _, record in records(rows)
        if decided.get(str(record.get("id")))
    ]
    if not accepted:
        raise UserError(
            "no row is accepted.",
            where=str(review),
            hint='Set `"accept": true` where a row is good.',
        )
    rejected = sum(d is False for d in decided.values())
    return Reviewed(tuple(accepted), rejected, len(texts) - len(accepted) - rejected)


def _decision(value: Any, where: str) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in _YES or text in _NO or not text:
        return text in _YES if text else None
    raise UserError(
        f"`accept` is {json_name(value)}.", where=where, hint="true, false, or null for undecided."
    )
