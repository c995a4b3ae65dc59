"""`sweep clean`: one pass over each file that keeps, changes, drops or sets aside every row.

Nothing is written in place. All files are written beside the target and moved there together.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keepgain.core.row_files import FoundRow
from keepgain.core.rows import Row
from keepgain.core.schema import StrictModel
from keepgain.sweeps.clean.edits import Edits, edit_record, plain_value
from keepgain.sweeps.clean.folder import Target, open_target
from keepgain.sweeps.clean.inputs import Input, Inputs
from keepgain.sweeps.clean.review import Corrections, correct, own_id, review_row
from keepgain.sweeps.clean.verdicts import Verdict, Verdicts
from keepgain.sweeps.gates.shingles import normal

TICK = 1_000


class FileCounts(StrictModel):
    """What became of the rows of a file."""

    file: str
    written: str
    rows: int
    kept: int
    changed: int
    """Of those kept."""
    reasons: dict[str, int]
    """Rows by what was done with them."""


class Summary(StrictModel):
    """`clean.json`: what was done."""

    files: tuple[FileCounts, ...]
    review: int
    """Rows in `review.jsonl`."""
    canaries: int = 0
    """Rows in `canaries.jsonl`."""
    names: tuple[str, ...] = ()
    """All files of the folder."""

    def to_json(self) -> dict[str, Any]:
        """As the file and `--json` have it."""
        return {"schema": 1, **self.model_dump(mode="json")}


@dataclass(frozen=True)
class Options:
    """What is asked for."""

    personal: bool = False
    corrections: Corrections = field(default_factory=dict)
    verdicts: Verdicts = field(default_factory=dict)


def clean(
    inputs: Inputs,
    options: Options,
    target: Path | None,
    *,
    force: bool = False,
    beside: Callable[[Target], int] | None = None,
    tick: Callable[[int], None] = lambda _: None,
) -> Summary:
    """Writes cleaned files, `log.jsonl`, `review.jsonl` and `clean.json` into a folder.

    Args:
        inputs: The files.
        options: What to do.
        target: The folder; None: nothing is written.
        force: Replace what an earlier cleaning wrote there.
        beside: Writes further files, and returns their number of rows.
        tick: Called with the number of rows done since the last call.

    Raises:
        UserError: The folder may not be written, or a row cannot be read; nothing was written.
    """
    with open_target(target, force, [f.path for f in inputs.files]) as made:
        for name in ("log.jsonl", "review.jsonl"):
            made.begin(name)
        seen: dict[tuple[str, bytes], str] = {}
        counts = tuple(
            _clean_file(file, inputs, options, made, seen, tick) for file in inputs.files
        )
        planted = beside(made) if beside is not None else 0
        review = sum(c.reasons.get("conflict", 0) for c in counts)
        review += sum(c.reasons.get("probable_label_error", 0) for c in counts)
        names = (*made.names, "clean.json")
        summary = Summary(files=counts, review=review, canaries=planted, names=names)
        made.write("clean.json", summary.to_json(), indent=2)
    return summary


def _clean_file(
    file: Input,
    inputs: Inputs,
    options: Options,
    made: Target,
    seen: dict[tuple[str, bytes], str],
    tick: Callable[[int], None],
) -> FileCounts:
    reasons: Counter[str] = Counter()
    rows = kept = changed = 0
    made.begin(file.name)
    for found, record in file.rows():
        rows += 1
        place = f"{file.path}:{found.line}"
        for entry in _row(file, inputs, options, found, record, place, seen):
            if isinstance(entry, _Kept):
                kept += 1
                changed += entry.changed
                made.write(file.name, entry.record, default=plain_value)
            elif isinstance(entry, _Logged):
                reasons.update(entry.reasons)
                made.write("log.jsonl", entry.line(file, found))
            else:
                made.write("review.jsonl", entry)
        if rows % TICK == 0:
            tick(TICK)
    tick(rows % TICK)
    return FileCounts(
        file=str(file.path),
        written=file.name,
        rows=rows,
        kept=kept,
        changed=changed,
        reasons=dict(sorted(reasons.items())),
    )


@dataclass(frozen=True)
class _Kept:
    record: dict[str, Any]
    changed: bool


@dataclass(frozen=True)
class _Logged:
    action: str
    reasons: tuple[str, ...]
    of: str = ""
    changes: dict[str, Any] = field(default_factory=dict)

    def line(self, file: Input, found: FoundRow) -> dict[str, Any]:
        """Of `log.jsonl`."""
        entry: dict[str, Any] = {"file": str(file.path), "line": found.line}
        entry |= {"action": self.action, "reason": ", ".join(self.reasons)}
        entry |= {"of": self.of} if self.of else {}
        return entry | ({"changes": self.changes} if self.changes else {})


def _row(
    file: Input,
    inputs: Inputs,
    options: Options,
    found: FoundRow,
    record: dict[str, Any],
    place: str,
    seen: dict[tuple[str, bytes], str],
) -> Iterator[_Kept | _Logged | dict[str, Any]]:
    """What is written of one row."""
    decided = options.corrections.get(place)
    verdict = options.verdicts.get(place)
    row = found.row
    if verdict is not None and verdict.reason == "leaked":
        yield _Logged("dropped", (verdict.reason,), verdict.of)
        return
    # As it was read, whatever becomes of it: what a person says of a row is true of its copies.
    first = seen.setdefault((file.scope, _content(row)), place)
    if decided is not None and decided.answer is None:
        yield _Logged("dropped", ("reviewed",))
        return
    before = None
    if decided is not None:
        before = row.answer if decided.field is None else record.get(decided.field)
        correct(file, found, record, decided)
        if decided.field is None:
            first = seen.setdefault(
                (file.scope, _content(row.answered(decided.answer or ""))), place
            )
    if first != place:
        yield _Logged("dropped", ("duplicate",), first)
        return
    corrected = decided is not None and before != decided.answer
    if decided is not None and corrected:
        edits = Edits()
        edits.note("reviewed", decided.field or "answer", before, decided.answer)
        yield _Logged("corrected", ("reviewed",), changes=_masked(edits, options))
    if verdict is not None and decided is None:
        yield _Logged(verdict.action, (verdict.reason,), verdict.of)
        if verdict.action == "set_aside":
            yield _for_review(file, inputs, options, found, record, verdict)
        return
    new, edits = edit_record(record, found.format, file.fields, file.rules, options.personal)
    if _is_empty(edits):
        yield _Logged("dropped", ("empty",), changes=edits.safe())
        return
    if edits.reasons:
        yield _Logged("changed", tuple(edits.reasons), changes=edits.safe())
    if edits.reasons or corrected:
        _keep_id(new, file, row, edits)
    yield _Kept(new, bool(edits.reasons))


def _keep_id(new: dict[str, Any], file: Input, row: Row, edits: Edits) -> None:
    """Where its content stood for its id: rows that were made from it name that. Not of a text
    that was masked, which a hash would let one guess."""
    if own_id(file, new) is None and "personal" not in edits.reasons:
        new[file.fields.get("id", "id")] = row.id


def _for_review(
    file: Input,
    inputs: Inputs,
    options: Options,
    found: FoundRow,
    record: dict[str, Any],
    verdict: Verdict,
) -> dict[str, Any]:
    entry = review_row(file, found, record, verdict, inputs.label_field).model_dump(mode="json")
    if options.personal:
        from keepgain.core.personal.find import mask

        entry |= {name: mask(entry[name]) for name in ("question", "answer")}
    return entry


def _masked(edits: Edits, options: Options) -> dict[str, dict[str, Any]]:
    if options.personal:
        edits.reasons.append("personal")
    return edits.safe()


def _is_empty(edits: Edits) -> bool:
    """White space and characters that do not show were all that there was."""
    afters = (change["after"] for change in edits.changes.values())
    return any(isinstance(after, str) and not after.strip() for after in afters)


def _content(row: Row) -> bytes:
    """Equal for rows that say the same, the form of characters, case and white space apart."""
    parts = [row.kind, normal(row.question()), normal(row.answer or row.text), *row.choices]
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).digest()
