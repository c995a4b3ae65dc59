"""What models answered, and the items' texts: for reading, never for figures.

They stay in the sweep's folder. Nothing here is sent to a store: rows may be private.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

import pyarrow as pa
import pyarrow.parquet as pq

from keepgain.core.errors import UserError
from keepgain.core.inside import inside
from keepgain.core.rows import Row

TEXTS = "texts"
"""Folder below a sweep's."""


@dataclass(frozen=True)
class Answers:
    """Answers of one run to the items of a suite and split, in the order of its item scores."""

    suite: str
    split: str
    digest: str
    """Of the suite's items: their texts are kept under it."""
    item_ids: tuple[str, ...]
    given: tuple[str, ...]
    """The generated text, or the choice that was likeliest."""


@dataclass(frozen=True)
class Text:
    """An item as a person reads it."""

    question: str
    reference: str
    """Empty where plain text is scored."""


_ANSWERS = pa.schema([(n, pa.string()) for n in ("suite", "split", "digest", "item_id", "answer")])
_TEXTS = pa.schema([(n, pa.string()) for n in ("item_id", "question", "reference")])


def write_answers(path: Path, answers: Iterable[Answers]) -> None:
    """Writes one Parquet file, atomically; one row an item."""
    parts = [
        pa.table(
            [
                [a.suite] * len(a.given),
                [a.split] * len(a.given),
                [a.digest] * len(a.given),
                list(a.item_ids),
                list(a.given),
            ],
            schema=_ANSWERS,
        )
        for a in answers
    ]
    _write(path, pa.concat_tables([_ANSWERS.empty_table(), *parts]))


def read_answers(path: Path) -> list[Answers]:
    """Reads what `write_answers` wrote, a suite and split after the other.

    Raises:
        UserError: The file is missing or not such a table.
    """
    found: dict[tuple[str, str, str], tuple[list[str], list[str]]] = {}
    table = _read(path, _ANSWERS)
    for suite, split, digest, item_id, answer in zip(
        *(table.column(name).to_pylist() for name in _ANSWERS.names), strict=True
    ):
        ids, given = found.setdefault((suite, split, digest), ([], []))
        ids.append(item_id)
        given.append(answer)
    return [Answers(*key, tuple(ids), tuple(given)) for key, (ids, given) in found.items()]


def keep_texts(sweep_folder: Path, digest: str, rows: Sequence[Row]) -> None:
    """Keeps the texts of a suite's items, once a sweep; any number of processes may try."""
    path = texts_path(sweep_folder, digest)
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = [[r.id for r in rows], [r.question() for r in rows], [r.answer for r in rows]]
    _write(path, pa.table(columns, schema=_TEXTS))


def read_texts(sweep_folder: Path, digest: str) -> Mapping[str, Text]:
    """Item id → its text.

    Raises:
        UserError: The file is missing or not such a table.
    """
    table = _read(texts_path(sweep_folder, digest), _TEXTS)
    columns = (table.column(name).to_pylist() for name in _TEXTS.names)
    return {i: Text(question, reference) for i, question, reference in zip(*columns, strict=True)}


def texts_path(sweep_folder: Path, digest: str) -> Path:
    """Where the texts of a suite's items lie.

    Raises:
        UserError: Outside the folder: `digest` may come from a file.
    """
    return inside(sweep_folder, f"{TEXTS}/{digest}.parquet")


def _write(path: Path, table: pa.Table) -> None:
    # Several trials may write the same texts at once: each its own file, and the last one stays.
    with NamedTemporaryFile(dir=path.parent, prefix=f"{path.name}.", delete=False) as file:
        pq.write_table(table, file, compression="zstd")
    Path(file.name).replace(path)


def _read(path: Path, schema: pa.Schema) -> pa.Table:
    try:
        return pq.read_table(path, schema=schema)
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"answers cannot be read ({error}).", where=str(path)) from None
