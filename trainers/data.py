"""Training rows and suite items, read and encoded once per process."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from keepgain.core.config import ModelRef, SourceRef, SuiteRef, TrialConfig
from keepgain.core.errors import UserError
from keepgain.core.identity import derive_seed
from keepgain.core.rows import Row, read_rows
from keepgain.trainers.encode import Encoded, encode_rows
from keepgain.trainers.tokens import Codec

IGNORED = -100
"""Label of a position without loss (PyTorch's convention)."""

K = TypeVar("K")
V = TypeVar("V")

KEPT = 16
"""Encoded files that a process keeps."""


@dataclass(frozen=True)
class Batch:
    """Rows padded at the right, one or (see `packing`) several in a sequence; tensors are int64 of
    shape [sequences, length]."""

    input_ids: torch.Tensor
    attention_mask: torch.Tensor | None
    """None of packed rows, whose mask follows from their positions."""
    labels: torch.Tensor
    """The id itself where the loss is on it, else `IGNORED`; not shifted."""
    position_ids: torch.Tensor | None = None
    """Of packed rows: from 0 in each."""
    packed: torch.Tensor | None = None
    """Of packed rows: see `row_of`."""

    @property
    def row_of(self) -> torch.Tensor:
        """Which of the given rows a position belongs to; -1 where it is padding."""
        if self.packed is not None:
            return self.packed
        assert self.attention_mask is not None
        rows = torch.arange(len(self.input_ids))[:, None]
        return torch.where(self.attention_mask == 1, rows, -1)

    @property
    def row_lengths(self) -> torch.Tensor:
        """Tokens of the row that a position belongs to; 1 where it is padding."""
        rows = self.row_of
        counts = torch.bincount(rows[rows >= 0])
        return torch.where(rows >= 0, counts[rows], 1)

    @property
    def loss_tokens(self) -> int:
        """Predicted tokens with loss: position 0 is never predicted."""
        return int((self.labels[:, 1:] != IGNORED).sum())

    def inputs(self, device: torch.device) -> dict[str, torch.Tensor]:
        """What the model's forward takes, by name."""
        named = {
            "input_ids": self.input_ids,
            "attention_mask": self.attention_mask,
            "position_ids": self.position_ids,
        }
        return {name: value.to(device) for name, value in named.items() if value is not None}


def collate(rows: Sequence[Encoded], pad_id: int) -> Batch:
    """Pads rows at the right to the longest of them."""
    length = max(len(r.ids) for r in rows)
    ids = np.full((len(rows), length), pad_id, dtype=np.int64)
    mask = np.zeros((len(rows), length), dtype=np.int64)
    labels = np.full((len(rows), length), IGNORED, dtype=np.int64)
    for i, row in enumerate(rows):
        n = len(row.ids)
        ids[i, :n] = row.ids
        mask[i, :n] = 1
        labels[i, row.start : n] = row.ids[row.start :]
    return Batch(torch.from_numpy(ids), torch.from_numpy(mask), torch.from_numpy(labels))


class DataCache:
    """Rows and encodings by content digest; the oldest goes first."""

    def __init__(self) -> None:
        self._encoded: OrderedDict[tuple[str, ...], list[Encoded]] = OrderedDict()
        self._items: OrderedDict[tuple[str, str], list[Row]] = OrderedDict()

    def sources(self, config: TrialConfig, codec: Codec) -> dict[str, list[Encoded]]:
        """Encoded rows of every source with a share.

        Raises:
            UserError: The mixture names a source that is not there, or a file is empty.
        """
        refs = {ref.name: ref for ref in config.sources}
        wanted = [name for name, share in config.mixture.items() if share > 0]
        for name in wanted:
            if name not in refs:
                raise UserError(
                    f"the mixture names '{name}', the sources are: {', '.join(refs)}.",
                    where="mixture",
                )
        found = {n: self._source(refs[n], config.model, codec, config.max_length) for n in wanted}
        if config.rows is None:
            return found
        return {
            name: nested_subset(rows, refs[name].digest, config.rows)
            if refs[name].role == "task"
            else rows
            for name, rows in found.items()
        }

    def items(self, suite: SuiteRef) -> list[Row]:
        """The items of a suite.

        Raises:
            UserError: The file has no items, or not as many as the suite says.
        """
        key = (suite.path, suite.digest)
        if key not in self._items:
            _put(self._items, key, list(read_rows(Path(suite.path))))
        rows = self._items[key]
        if len(rows) != suite.items:
            raise UserError(
                f"suite '{suite.name}' should have {suite.items} items and has {len(rows)}.",
                where=suite.path,
            )
        return rows

    def _source(
        self, ref: SourceRef, model: ModelRef, codec: Codec, max_length: int
    ) -> list[Encoded]:
        key = (ref.path, ref.digest, ref.role, model.path, model.digest, str(max_length))
        if key not in self._encoded:
            rows = list(read_rows(Path(ref.path)))
            if len(rows) != ref.rows:
                raise UserError(
                    f"source '{ref.name}' should have {ref.rows} rows and has {len(rows)}.",
                    where=ref.path,
                )
            encoded = encode_rows(codec, rows, max_length)
            if ref.role == "replay":
                encoded = [replace(r, replay=True) for r in encoded]
            _put(self._encoded, key, encoded)
        return self._encoded[key]


def nested_subset(rows: Sequence[V], digest: str, count: int) -> list[V]:
    """The first `count` rows of an order that the content fixes, as they stand in the file.

    Args:
        rows: All rows of a source.
        digest: Of its content.
        count: How many; a smaller set lies within a larger one.

    Raises:
        UserError: There are not so many.
    """
    if count > len(rows):
        raise UserError(f"{count} rows are asked for, and there are {len(rows)}.", where="rows")
    order = np.random.default_rng(derive_seed("rows", digest)).permutation(len(rows))
    return [rows[i] for i in sorted(order[:count])]


def _put(cache: OrderedDict[K, V], key: K, value: V) -> None:
    cache[key] = value
    while len(cache) > KEPT:
        cache.popitem(last=False)
