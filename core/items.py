"""Item scores: one number per item, the material of every figure that Keepgain reports."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

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
    table = pa.concat_tables([schema.empty_table(), *(_to_table(k, s, schema) for k, s in pairs)])
    temporary = path.with_suffix(path.suffix + ".tmp")
    pq.write_table(table, temporary, compression="zstd")
    temporary.replace(path)


def read_items(path: Path) -> list[tuple[str, ItemScores]]:
    """Reads what `write_items` wrote, in its order.

    Raises:
        UserError: The file is missing or not such a table.
    """
    try:
        table = pq.read_table(path, schema=_SLICED)
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"item scores cannot be read ({error}).", where=str(path)) from None
    if table.num_rows == 0:
        return []
    keys = [table.column(n).to_numpy(zero_copy_only=False) for n in _SCHEMA.names[:5]]
    changed = np.zeros(table.num_rows, dtype=bool)
    changed[0] = True
    for column in keys:
        changed[1:] |= column[1:] != column[:-1]
    starts = np.flatnonzero(changed)
    ends = np.append(starts[1:], table.num_rows)
    return [_from_table(table.slice(int(a), int(b - a))) for a, b in zip(starts, ends, strict=True)]


def _to_table(key: str, s: ItemScores, schema: pa.Schema) -> pa.Table:
    n = len(s.item_ids)
    none: Sequence[str | None] = [None] * n
    columns = [
        pa.array([key] * n),
        pa.array([s.suite] * n),
        pa.array([s.split] * n),
        pa.array([s.metric] * n),
        pa.array([s.tokens] * n, pa.int64()),
        pa.array([str(i) for i in s.item_ids]),
        pa.array(s.values, pa.float64()),
        pa.array(s.weights, pa.float64()),
        pa.array(list(s.groups) or none, pa.string()),
        pa.array(list(s.clusters) or none, pa.string()),
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


def _by_field(column: pa.ChunkedArray) -> dict[str, tuple[str | None, ...]]:
    """The reverse of `_by_item`."""
    if column.null_count == len(column):
        return {}
    items = [dict(pairs or ()) for pairs in column.to_pylist()]
    names = dict.fromkeys(name for item in items for name in item)
    return {name: tuple(item.get(name) for item in items) for name in names}


def _from_table(table: pa.Table) -> tuple[str, ItemScores]:
    first = table.slice(0, 1).to_pylist()[0]
    groups = tuple(table.column("group").to_pylist())
    clusters = tuple(table.column("cluster").to_pylist())
    scores = ItemScores(
        suite=first["suite"],
        split=first["split"],
        metric=first["metric"],
        tokens=first["tokens"],
        item_ids=np.array(table.column("item_id").to_pylist(), dtype=np.str_),
        values=table.column("value").to_numpy(),
        weights=table.column("weight").to_numpy(),
        groups=groups if any(g is not None for g in groups) else (),
        clusters=clusters if any(c is not None for c in clusters) else (),
        slices=_by_field(table.column("slices")),
    )
    return first["run_key"], scores
