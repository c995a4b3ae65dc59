"""Answer losses of a model that does not train: on the validation items of the task, and on as many
training rows, so that the two can be subtracted.

Both are measured alike: rows encoded and masked as in training, in eval mode (no dropout, no
noise), neither smoothed nor weighed, on the weights as they are served. The running loss of
training is none of that, and is of a model that changes from row to row.

What counts as validation: the items of every suite that measures gain. An item is encoded as if it
were a training row, whatever its scorer asks the model for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from keepgain.core.config import SourceRef, TrialConfig
from keepgain.core.identity import derive_seed
from keepgain.core.items import LOSS, ItemScores, loss_of
from keepgain.trainers.data import DataCache
from keepgain.trainers.encode import Encoded
from keepgain.trainers.engine import micro_batch_size
from keepgain.trainers.generate import batches_by_length
from keepgain.trainers.scoring import log_losses
from keepgain.trainers.tokens import Codec

TRAINED = "task"
"""Name of the sample of training rows; its split is `train`."""
ROWS_PER_MICRO_BATCH = 4
"""So many times the rows of a training step's forward pass fit without gradients and moments."""


@dataclass(frozen=True)
class Measured:
    """Rows whose losses belong together."""

    name: str
    split: str
    ids: Sequence[str]
    rows: Sequence[Encoded]
    clusters: tuple[str | None, ...] = ()


def validation_items(config: TrialConfig, data: DataCache, codec: Codec) -> list[Measured]:
    """The items of every validation suite that measures gain, as the trial would train on them."""
    suites = [s for s in config.suites if s.measures == "gain" and s.split == "validation"]
    refs = tuple(
        SourceRef(name=s.name, role="task", path=s.path, digest=s.digest, rows=s.items)
        for s in suites
    )
    # As sources they go the way of training rows, whatever is on it, and are kept like them.
    asked: dict[str, Any] = {"sources": refs, "mixture": {r.name: 1.0 for r in refs}, "rows": None}
    encoded = data.sources(config.model_copy(update=asked), codec)
    found = []
    for suite in suites:
        rows = data.items(suite)
        clusters = tuple(r.cluster for r in rows)
        found.append(
            Measured(
                suite.name,
                suite.split,
                [r.id for r in rows],
                encoded[suite.name],
                clusters if any(c is not None for c in clusters) else (),
            )
        )
    return found


def training_sample(
    config: TrialConfig, rows: Mapping[str, Sequence[Encoded]], count: int
) -> Measured | None:
    """`count` rows of the task sources that the trial draws from, or all if there are fewer.

    Which ones follows from the sources alone: trials that train on the same rows have the same
    sample.

    Args:
        rows: Of every source with a share.

    Returns:
        None without a task source.
    """
    tasks = [s for s in config.sources if s.role == "task" and s.name in rows]
    ends = np.cumsum([len(rows[s.name]) for s in tasks])
    if not tasks:
        return None
    draw = np.random.default_rng(derive_seed("training sample", *(s.digest for s in tasks)))
    places = np.sort(draw.choice(ends[-1], min(count, ends[-1]), replace=False))
    of_task = np.searchsorted(ends, places, side="right")
    firsts = np.concatenate([[0], ends[:-1]])
    chosen = [(tasks[t].name, int(p - firsts[t])) for t, p in zip(of_task, places, strict=True)]
    ids = [f"{name}:{i}" for name, i in chosen]
    return Measured(TRAINED, "train", ids, [rows[name][i] for name, i in chosen])


class AnswerLosses:
    """Measures one trial's losses, as often as asked; rows are encoded at the first time."""

    def __init__(
        self,
        config: TrialConfig,
        rows: Mapping[str, Sequence[Encoded]],
        data: DataCache,
        codec: Codec,
    ) -> None:
        self._config, self._rows, self._data, self._codec = config, rows, data, codec
        most = ROWS_PER_MICRO_BATCH * micro_batch_size(config)
        self._batch = min(config.runtime.scoring_batch_size, most)
        self._items: list[Measured] | None = None
        self._sample: Measured | None = None

    def _validation(self) -> list[Measured]:
        if self._items is None:
            self._items = validation_items(self._config, self._data, self._codec)
            count = sum(len(m.rows) for m in self._items)
            self._sample = training_sample(self._config, self._rows, count)
        return self._items

    def validation(self, model: nn.Module) -> float:
        """The mean over all tokens of all validation items, in nats; 0 without any.

        Args:
            model: In eval mode, as it is served; every rank holds it and gives the same figure.
        """
        found = [self._losses(model, m, 0) for m in self._validation()]
        total = sum(float(s.weights.sum()) for s in found)
        return sum(s.mean * float(s.weights.sum()) for s in found) / total if total else 0.0

    def all(self, model: nn.Module, tokens: int, *, trained: bool) -> list[ItemScores]:
        """Item by item: nats per token, weight in tokens.

        Args:
            model: As for `validation`.
            tokens: Trained so far, for the record.
            trained: Of the sample of training rows, too.

        Returns:
            One for each suite and, as the last, one for the training rows; empty without a suite
            that measures gain.
        """
        measured = [*self._validation()]
        if trained and measured and self._sample is not None:
            measured.append(self._sample)
        return [self._losses(model, m, tokens) for m in measured]

    def _losses(self, model: nn.Module, measured: Measured, tokens: int) -> ItemScores:
        nats, counts = losses_of(model, self._codec, measured.rows, self._batch)
        return ItemScores(
            suite=loss_of(measured.name),
            split=measured.split,
            metric=LOSS,
            item_ids=np.array(measured.ids, dtype=np.str_),
            values=nats / counts,
            weights=counts,
            tokens=tokens,
            clusters=measured.clusters,
        )


def losses_of(
    model: nn.Module, codec: Codec, rows: Sequence[Encoded], batch_size: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(nats summed over the loss tokens, loss tokens) of each row; float64 of shape [rows]."""
    nats = np.zeros(len(rows))
    for places in batches_by_length([len(r.ids) for r in rows], batch_size):
        nats[places] = log_losses(model, codec, [rows[i] for i in places])
    return nats, np.array([r.loss_tokens for r in rows], dtype=np.float64)
