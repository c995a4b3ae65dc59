"""Rows that a person looks at: written to `review.jsonl`, taken back with `--apply`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keepgain.core.errors import UserError
from keepgain.core.formats import key_of
from keepgain.core.identity import fingerprint
from keepgain.core.jsonl import read_records
from keepgain.core.row_files import FoundRow
from keepgain.core.rows import Row
from keepgain.core.schema import StrictModel, parse
from keepgain.sweeps.clean.edits import unpacked
from keepgain.sweeps.clean.inputs import Input, Inputs
from keepgain.sweeps.clean.verdicts import Verdict


class ReviewRow(StrictModel):
    """One line of `review.jsonl`. A person fills in `new_answer`, or sets `drop`."""

    file: str
    line: int
    id: str | None = None
    """The row's own id."""
    hash: str
    """Of question and answer as they were read."""
    reason: str
    question: str
    answer: str
    """As given; of a field that holds the label, its value."""
    suggested: str | None = None
    probability: float | None = None
    field: str | None = None
    """That holds the label; None: the answer does."""
    new_answer: str | None = None
    """What is right, the old answer included; None: not looked at yet."""
    drop: bool = False


@dataclass(frozen=True)
class Correction:
    """What a person has decided of a row."""

    answer: str | None
    """None: the row is dropped."""
    field: str | None
    place: str
    """In the reviewed file."""


Corrections = Mapping[str, Correction]
"""`file:line` → what was decided."""


def row_hash(row: Row) -> str:
    """Changes with question and answer."""
    return fingerprint([row.question(), row.answer or row.text], 16)


def review_row(
    file: Input,
    found: FoundRow,
    record: Mapping[str, Any],
    verdict: Verdict,
    label_field: str | None,
) -> ReviewRow:
    """A row for a person to look at.

    Args:
        file: That it is in.
        found: The row, as it was read.
        record: As the file has it.
        verdict: Why.
        label_field: That holds the label; None: the answer does.
    """
    row, field = found.row, label_field if label_field in record else None
    return ReviewRow(
        file=str(file.path),
        line=found.line,
        id=own_id(file, record),
        hash=row_hash(row),
        reason=verdict.reason,
        question=row.question(),
        answer=str(record[field]) if field is not None else row.answer,
        suggested=verdict.suggested,
        probability=verdict.probability,
        field=field,
    )


def read_reviewed(path: Path, inputs: Inputs) -> Corrections:
    """What was decided of rows of the inputs; those without a decision are left out.

    A row is found by its id, else by file and line, and must be as it was when it was set aside.

    Raises:
        UserError: The first line that names an unknown or a changed row, or an answer that it
            cannot have.
    """
    decided: list[tuple[str, ReviewRow]] = []
    for number, record in read_records(path):
        place = f"{path}:{number}"
        entry = parse(ReviewRow, record, source=place)
        if entry.drop and entry.new_answer is not None:
            raise UserError("has both `drop` and `new_answer`.", where=place, hint="Leave one out.")
        if entry.drop or entry.new_answer is not None:
            decided.append((place, entry))
    by_file: dict[Path, list[tuple[str, ReviewRow]]] = {}
    for place, entry in decided:
        file = inputs.named(entry.file)
        if file is None:
            known = ", ".join(str(f.path) for f in inputs.files)
            raise UserError(
                f"no file '{entry.file}' is cleaned.", where=place, hint=f"These are: {known}."
            )
        by_file.setdefault(file.path, []).append((place, entry))
    found: dict[str, Correction] = {}
    for file in inputs.files:
        found |= _located(file, by_file.get(file.path, []))
    return found


def correct(file: Input, found: FoundRow, record: dict[str, Any], correction: Correction) -> None:
    """Puts a person's answer into a record; `drop` is the caller's."""
    assert correction.answer is not None
    if correction.field is not None:
        record[correction.field] = correction.answer
        return
    kind = found.format
    if kind in ("messages", "sharegpt"):
        name = "messages" if kind == "messages" else "conversations"
        key = key_of(record, file.fields, name)
        turns = unpacked(record[key]) if key is not None else None
        if isinstance(turns, list) and key is not None:
            text = "content" if kind == "messages" else "value"
            record[key] = [*turns[:-1], {**turns[-1], text: correction.answer}]
            return
    key = key_of(record, file.fields, "output" if kind == "alpaca" else "answer")
    if kind == "text" or key is None:
        raise UserError("the row has no answer to correct.", where=correction.place)
    record[key] = correction.answer


def _located(file: Input, entries: list[tuple[str, ReviewRow]]) -> dict[str, Correction]:
    """Corrections of one file; reads it if there are any."""
    if not entries:
        return {}
    by_id: dict[str, tuple[str, ReviewRow]] = {}
    by_line: dict[int, tuple[str, ReviewRow]] = {}
    for place, entry in entries:
        first = (
            by_line.setdefault(entry.line, (place, entry))
            if entry.id is None
            else by_id.setdefault(entry.id, (place, entry))
        )
        if first[0] != place:
            raise UserError(
                f"the row is decided on at {first[0]} already.",
                where=place,
                hint="Keep one of the two.",
            )
    found: dict[str, Correction] = {}
    for one, record in file.rows():
        own = own_id(file, record)
        hit = by_id.pop(own, None) if own is not None else None
        hit = hit or by_line.pop(one.line, None)
        if hit is None:
            continue
        place, entry = hit
        _refuse_stale(place, entry, one, file)
        answer = None if entry.drop else entry.new_answer
        found[f"{file.path}:{one.line}"] = Correction(answer, entry.field, place)
    for place, entry in (*by_id.values(), *by_line.values()):
        what = f"row with the id '{entry.id}'" if entry.id is not None else f"row {entry.line}"
        raise UserError(f"there is no {what} in {file.path}.", where=place)
    return found


def _refuse_stale(place: str, entry: ReviewRow, found: FoundRow, file: Input) -> None:
    if entry.hash != row_hash(found.row):
        raise UserError(
            f"the row at {file.path}:{found.line} is another one than was set aside: the file has "
            "changed.",
            where=place,
            hint="Clean it again, and review what that sets aside.",
        )
    if entry.drop or entry.new_answer is None:
        return
    if not entry.new_answer.strip():
        raise UserError("`new_answer` is empty.", where=place, hint="Set `drop` to leave it out.")
    labels = file.rules.labels if file.rules else ()
    known = found.row.choices or labels
    if known and entry.new_answer.strip() not in known:
        raise UserError(
            f"`new_answer` {entry.new_answer!r:.60} is none of the {len(known)} labels or choices.",
            where=place,
            hint=f"Known: {', '.join(known)}.",
        )


def own_id(file: Input, record: Mapping[str, Any]) -> str | None:
    """The id that a row has in its file; None: it has none, and its content stands for it."""
    key = key_of(record, file.fields, "id")
    value = record.get(key) if key is not None else None
    return None if value in (None, "") else str(value)
