"""Training rows and suite items, read and encoded once per process."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch

from keepgain.core.config import SourceRef, SuiteRef, TrialConfig
from keepgain.core.errors import UserError
from keepgain.core.identity import derive_seed, file_digest, fingerprint, folder_digest
from keepgain.core.rows import Row, read_rows
from keepgain.trainers.encode import Encoded, encode_rows
from keepgain.trainers.token_store import CHUNK, TokenRows, stored_tokens
from keepgain.trainers.tokens import Codec

IGNORED = -100
"""Label of a position without loss (PyTorch's convention)."""

K = TypeVar("K")
V = TypeVar("V")

KEPT = 16
"""Files that a process keeps open, or items in memory."""

TOKENS = "tokens"
"""Folder beside the sources: their rows as token ids."""
_TOKENIZER = (
    "tokenizer*", "special_tokens*", "added_tokens*", "chat_template*", "vocab*", "merges*", "*.py",
)  # fmt: skip
"""Files of a model folder that decide which tokens a row has; base models may share them."""
_ENCODING = 1
"""Raised when rows are encoded otherwise than before."""


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
        for gap in row.gaps:
            labels[i, slice(*gap)] = IGNORED
    return Batch(torch.from_numpy(ids), torch.from_numpy(mask), torch.from_numpy(labels))


class DataCache:
    """Rows and encodings by content digest; the oldest goes first."""

    def __init__(self) -> None:
        self._encoded: OrderedDict[tuple[str, ...], TokenRows] = OrderedDict()
        self._items: OrderedDict[tuple[str, str], list[Row]] = OrderedDict()

    def sources(self, config: TrialConfig, codec: Codec) -> dict[str, TokenRows]:
        """Encoded rows of every source with a share.

        Raises:
            UserError: The mixture names a source that is not there, or a file was changed.
        """
        refs = {ref.name: ref for ref in config.sources}
        wanted = [name for name, share in config.mixture.items() if share > 0]
        for name in wanted:
            if name not in refs:
                raise UserError(
                    f"the mixture names '{name}', the sources are: {', '.join(refs)}.",
                    where="mixture",
                )
        found = {n: self._source(refs[n], config, codec) for n in wanted}
        if config.rows is None:
            return found
        return {
            name: rows.where(nested_subset(len(rows), refs[name].digest, config.rows))
            if refs[name].role == "task"
            else rows
            for name, rows in found.items()
        }

    def items(self, suite: SuiteRef) -> list[Row]:
        """The items of a suite.

        Raises:
            UserError: The file was changed, or has not as many items as the suite says.
        """
        key = (suite.path, suite.digest)
        if key not in self._items:
            _refuse_changed(suite)
            _put(self._items, key, list(read_rows(Path(suite.path))))
        rows = self._items[key]
        if len(rows) != suite.items:
            raise UserError(
                f"suite '{suite.name}' should have {suite.items} items and has {len(rows)}.",
                where=suite.path,
            )
        return rows

    def _source(self, ref: SourceRef, config: TrialConfig, codec: Codec) -> TokenRows:
        model, length, loss = config.model, config.max_length, config.loss
        key = (ref.path, ref.digest, ref.role, model.path, model.digest, str(length), loss)
        if key not in self._encoded:
            _refuse_changed(ref)

            def encoded() -> Iterator[list[Encoded]]:
                rows, count = read_rows(Path(ref.path)), 0
                while chunk := list(islice(rows, CHUNK)):
                    count += len(chunk)
                    yield encode_rows(codec, chunk, length, loss)
                if count != ref.rows:
                    raise UserError(
                        f"source '{ref.name}' should have {ref.rows} rows and has {count}.",
                        where=ref.path,
                    )

            name = _store_name(ref, config, codec)
            stored = stored_tokens(Path(ref.path).parent / TOKENS / name, encoded)
            _put(self._encoded, key, replace(stored, replay=ref.role == "replay"))
        return self._encoded[key]


def _refuse_changed(ref: SourceRef | SuiteRef) -> None:
    """Trials of one sweep must not differ in their data."""
    if file_digest(Path(ref.path)) != ref.digest:
        raise UserError(
            f"the rows of '{ref.name}' are not those that the sweep began with (SHA-256 differs).",
            where=ref.path,
            hint="Run the sweep's command again: it writes them anew.",
        )


def _store_name(ref: SourceRef, config: TrialConfig, codec: Codec) -> str:
    """Follows from everything that the token ids and their loss follow from."""
    facts = replace(codec, tokenizer=type(codec.tokenizer).__name__, name="", pad_id=0)
    return fingerprint(
        {
            "encoding": _ENCODING,
            "libraries": [version("tokenizers"), version("transformers")],
            "source": ref.digest,
            "tokenizer": folder_digest(Path(config.model.path), _TOKENIZER),
            "codec": repr(facts),
            "max_length": config.max_length,
            "loss": config.loss,
        }
    )


def nested_subset(total: int, digest: str, count: int) -> npt.NDArray[np.int64]:
    """The first `count` of `total` rows in an order that the content fixes, as they stand in the
    file.

    Args:
        total: Rows of a source.
        digest: Of its content.
        count: How many; a smaller set lies within a larger one.

    Returns:
        Ascending indices.

    Raises:
        UserError: There are not so many.
    """
    if count > total:
        raise UserError(f"{count} rows are asked for, and there are {total}.", where="rows")
    order = np.random.default_rng(derive_seed("rows", digest)).permutation(total)
    return np.sort(order[:count])


def _put(cache: OrderedDict[K, V], key: K, value: V) -> None:
    cache[key] = value
    while len(cache) > KEPT:
        cache.popitem(last=False)
