"""Item scores: one number per item, the material of every figure that Keepgain reports."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from keepgain.core.errors import UserError

MIN_SLICE_ITEMS = 30
"""A slice with fewer items gets no interval: the usual floor of worst-group figures."""

LOSS = "answer_loss"
"""Metric of item scores that are answer losses: in nats per token, weight in tokens."""

Floats = npt.NDArray[np.float64]
Strings = npt.NDArray[np.str_]


@dataclass(frozen=True)
class ItemScores:
    """Scores of one run on one split of one suite at one checkpoint. Arrays are of shape [n]."""

    suite: str
    split: str
    metric: str
    """Name in the metric registry, e.g. `exact_match`."""
    item_ids: Strings
    values: Floats
    """Raw item scores in the metric's unit: direction as the registry says."""
    weights: Floats
    """Weight of the item in the mean: 1 for accuracies, bytes for bits per byte."""
    tokens: int = 0
    """Training tokens seen by the scored checkpoint; 0 for a base."""
    groups: tuple[str | None, ...] = field(default=())
    clusters: tuple[str | None, ...] = field(default=())
    slices: Mapping[str, tuple[str | None, ...]] = field(default_factory=dict)
    """Field of the rows → its value for each item; None where a row lacks it."""

    def __post_init__(self) -> None:
        n = len(self.item_ids)
        assert len(self.values) == n == len(self.weights), "item columns of different lengths"

    @property
    def mean(self) -> float:
        """Weighted mean; NaN-free by construction of the scorers."""
        return float(np.average(self.values, weights=self.weights))


_SCHEMA = pa.schema(
    [
        ("run_key", pa.string()),
        ("suite", pa.string()),
        ("split", pa.string()),
        ("metric", pa.string()),
        ("tokens", pa.int64()),
        ("item_id", pa.string()),
        ("value", pa.float64()),
        ("weight", pa.float64()),
        ("group", pa.string()),
        ("cluster", pa.string()),
    ]
)
_SLICED = _SCHEMA.append(pa.field("slices", pa.map_(pa.string(), pa.string())))
"""With the slices of each item: only written where there are some, so that other files stay as they
were."""
_KEYS = ("run_key", "suite", "split", "metric")
_TEXTS = [*_KEYS, "item_id", "group", "cluster"]
_TYPES = {pa.int32(): np.int32, pa.int64(): np.int64, pa.float64(): np.float64}
_ROWS_AT_ONCE = 1 << 20
"""Written as one row group; what the writer holds in memory."""


def loss_of(name: str) -> str:
    """What the answer losses of a suite, or of the `TRAINED` rows, are called in place of a suite:
    no suite can be."""
    return f"loss/{name}"


def served_as(form: str, suite: str) -> str:
    """What the scores of a suite with weights in one form of `core.config.ServeForm` are called in
    place of it, likewise."""
    return f"served/{form}/{suite}"


def write_items(path: Path, scores: Iterable[tuple[str, ItemScores]]) -> None:
    """Writes (run key, scores) pairs to one Parquet file, atomically.

    The columns are those of `_SCHEMA` (`_SLICED` where there are slices), one row an item; strings
    are dictionary-encoded.
    """
    pairs = list(scores)
    schema = _SLICED if any(s.slices for _, s in pairs) else _SCHEMA
    temporary = path.with_suffix(path.suffix + ".tmp")
    known = _Texts()
    with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        waiting: list[pa.Table] = []
        rows = 0
        for key, s in pairs:
            waiting.append(_to_table(key, s, schema, known))
            rows += len(s.item_ids)
            if rows >= _ROWS_AT_ONCE:
                writer.write_table(pa.concat_tables(waiting), row_group_size=rows)
                waiting, rows = [], 0
        writer.write_table(pa.concat_tables([schema.empty_table(), *waiting]))
    temporary.replace(path)


def read_items(path: Path) -> list[tuple[str, ItemScores]]:
    """Reads what `write_items` wrote, in its order.

    Runs that were scored on the same items share their ids (and clusters, groups and slices), and
    all of them one array of values, so that these arrays cannot be written to.

    Raises:
        UserError: The file is missing or not such a table.
    """
    try:
        with pq.ParquetFile(path, read_dictionary=_TEXTS) as file:
            return _pairs(_Columns(file))
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"item scores cannot be read ({error}).", where=str(path)) from None


class _Columns:
    """The columns of a file, one at a time, so that what is not needed any more can go."""

    def __init__(self, file: pq.ParquetFile) -> None:
        self._file = file
        self.rows = file.metadata.num_rows
        self.names = file.schema_arrow.names

    def numbers(self, name: str) -> npt.NDArray[Any]:
        """Shape [rows], of the type in the schema."""
        column, wanted = self._column(name), _SCHEMA.field(name).type
        if column.type != wanted:
            column = column.cast(wanted)
        if column.null_count:
            raise pa.ArrowInvalid(f"a row without {name}")
        numbers = np.concatenate([_raw(chunk) for chunk in column.chunks])
        numbers.flags.writeable = False
        return numbers

    def codes(self, name: str) -> tuple[npt.NDArray[np.int32], list[str | None]]:
        """Positions in a list of texts, shape [rows]; the last one, None, is of absent values."""
        return _coded(self._column(name).chunks)

    def maps(self) -> list[pa.MapArray]:
        """The slices of the items, in parts; none where the file has no slices."""
        return list(self._column("slices").chunks) if "slices" in self.names else []

    def _column(self, name: str) -> pa.ChunkedArray:
        if name not in self.names:
            raise pa.ArrowInvalid(f"no column {name}")
        return self._file.read(columns=[name]).column(name)


def _pairs(columns: _Columns) -> list[tuple[str, ItemScores]]:
    if columns.rows == 0:
        return []
    keys: list[tuple[npt.NDArray[Any], list[str | None]]] = []
    changed = np.zeros(columns.rows, dtype=bool)
    changed[0] = True
    for name in _KEYS:
        codes, words = columns.codes(name)
        changed[1:] |= codes[1:] != codes[:-1]
        keys.append((codes, words))
    tokens = columns.numbers("tokens")
    changed[1:] |= tokens[1:] != tokens[:-1]
    starts = np.flatnonzero(changed)
    bounds = [*starts.tolist(), columns.rows]
    texts = [[words[c] for c in codes[starts].tolist()] for codes, words in keys]
    at = tokens[starts].tolist()
    del keys, tokens, changed
    ids, groups, clusters = (_labels(columns, n, bounds) for n in ("item_id", "group", "cluster"))
    shared: dict[int, Strings] = {}
    for labels in ids:
        if not labels or None in labels:
            raise pa.ArrowInvalid("a row without item_id")
        if id(labels) not in shared:
            names = np.array(labels, dtype=np.str_)
            names.flags.writeable = False
            shared[id(labels)] = names
    sliced = _slices(columns.maps(), bounds)
    values, weights = columns.numbers("value"), columns.numbers("weight")
    return [
        (
            key,
            ItemScores(
                suite=suite,
                split=split,
                metric=metric,
                tokens=at[n],
                item_ids=shared[id(ids[n])],
                values=values[a:b],
                weights=weights[a:b],
                groups=groups[n],
                clusters=clusters[n],
                slices=sliced[n],
            ),
        )
        for n, (key, suite, split, metric, a, b) in enumerate(
            zip(*texts, bounds[:-1], bounds[1:], strict=True)
        )
    ]


def _labels(columns: _Columns, name: str, bounds: Sequence[int]) -> list[tuple[str | None, ...]]:
    """The texts of each run of rows, equal ones once; empty where none has any."""
    codes, words = columns.codes(name)
    absent = len(words) - 1
    found: dict[bytes, tuple[str | None, ...]] = {}
    labels = []
    for a, b in pairwise(bounds):
        part = codes[a:b]
        key = part.tobytes()
        if key not in found:
            none = bool((part == absent).all())
            found[key] = () if none else tuple([words[c] for c in part.tolist()])
        labels.append(found[key])
    return labels


def _slices(
    maps: Sequence[pa.MapArray], bounds: Sequence[int]
) -> list[Mapping[str, tuple[str | None, ...]]]:
    """The slices of each run of rows, by field; equal ones once. The reverse of `_by_item`."""
    found: dict[tuple[bytes, ...], Mapping[str, tuple[str | None, ...]]] = {}
    counts = _joined([np.diff(_raw(part.offsets)) for part in maps])
    if not counts.any():
        return [{}] * (len(bounds) - 1)
    ends = np.append(0, np.cumsum(counts))
    fields, names = _coded([part.keys for part in maps])
    values, words = _coded([part.items for part in maps])
    sliced = []
    for a, b in pairwise(bounds):
        pairs = slice(ends[a], ends[b])
        key = tuple(codes.tobytes() for codes in (counts[a:b], fields[pairs], values[pairs]))
        if key not in found:
            items = np.repeat(np.arange(b - a), counts[a:b]).tolist()
            by_field: dict[str | None, list[str | None]] = {}
            for item, f, v in zip(
                items, fields[pairs].tolist(), values[pairs].tolist(), strict=True
            ):
                by_field.setdefault(names[f], [None] * (b - a))[item] = words[v]
            found[key] = {str(name): tuple(column) for name, column in by_field.items()}
        sliced.append(found[key])
    return sliced


def _coded(chunks: Sequence[pa.Array]) -> tuple[npt.NDArray[np.int32], list[str | None]]:
    """Positions in a list of texts; the last one, None, is of absent values."""
    column = pa.chunked_array(chunks)
    if not pa.types.is_dictionary(column.type):
        column = column.cast(pa.string()).dictionary_encode()
    parts = column.unify_dictionaries().chunks
    words = parts[0].dictionary.to_pylist() if parts else []
    return _joined([_filled(p.indices, len(words)) for p in parts]), [*words, None]


def _filled(indices: pa.Array, absent: int) -> npt.NDArray[np.int32]:
    if indices.null_count == len(indices):
        return np.full(len(indices), absent, dtype=np.int32)
    codes: npt.NDArray[np.int32] = _raw(indices)
    if indices.null_count == 0:
        return codes
    bits = np.frombuffer(indices.buffers()[0], dtype=np.uint8)
    present = np.unpackbits(bits, bitorder="little").astype(bool)
    return np.where(present[indices.offset :][: len(indices)], codes, np.int32(absent))


def _raw(array: pa.Array) -> npt.NDArray[Any]:
    """The numbers of an array where they lie, anything where one is absent.

    Arrow's own `to_numpy` imports pandas, which takes half a second.
    """
    typed = np.frombuffer(array.buffers()[1], dtype=_TYPES[array.type])
    return typed[array.offset :][: len(array)]


def _joined(parts: Sequence[npt.NDArray[np.int32]]) -> npt.NDArray[np.int32]:
    return np.concatenate([np.zeros(0, dtype=np.int32), *parts])


class _Texts:
    """Texts as Arrow columns; those that a suite's last scores had as well are made once."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, ...], tuple[Strings | tuple[str | None, ...], pa.Array]] = {}

    def column(self, place: tuple[str, ...], texts: Strings | tuple[str | None, ...]) -> pa.Array:
        """Shape [n]; `place` names the column of a suite."""
        last = self._last.get(place)
        if last is None or not _same(last[0], texts):
            column = pa.array(
                texts.tolist() if isinstance(texts, np.ndarray) else texts, pa.string()
            )
            self._last[place] = last = (texts, column)
        return last[1]


def _same(a: Strings | tuple[str | None, ...], b: Strings | tuple[str | None, ...]) -> bool:
    if isinstance(a, tuple) and isinstance(b, tuple):
        return a == b
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a is b or np.array_equal(a, b)
    return False


def _to_table(key: str, s: ItemScores, schema: pa.Schema, known: _Texts) -> pa.Table:
    n = len(s.item_ids)
    place = (s.suite, s.split)
    columns = [
        *(pa.repeat(pa.scalar(text, pa.string()), n) for text in (key, *place, s.metric)),
        pa.repeat(pa.scalar(s.tokens, pa.int64()), n),
        known.column((*place, "item_id"), s.item_ids),
        pa.array(s.values, pa.float64()),
        pa.array(s.weights, pa.float64()),
        known.column((*place, "group"), s.groups or (None,) * n),
        known.column((*place, "cluster"), s.clusters or (None,) * n),
    ]
    if len(schema) > len(columns):
        columns.append(pa.array(_by_item(s), schema.field("slices").type))
    return pa.table(columns, schema=schema)


def _by_item(s: ItemScores) -> list[list[tuple[str, str]] | None]:
    """The slices of each item as (field, value) pairs; None where it has none."""
    found = [
        [(name, v) for name, values in s.slices.items() if (v := values[i]) is not None]
        for i in range(len(s.item_ids))
    ]
    return [pairs or None for pairs in found]
