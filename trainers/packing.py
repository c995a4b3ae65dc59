"""Short rows side by side in one sequence, so that less is computed over padding.

Rows of a pack do not see one another: positions start anew at each row, and Transformers builds the
attention mask from that. How rows are packed changes nothing that is trained: the loss is the same
sum over the same tokens. `check_rows_stay_apart` measures it on the model itself, since an
architecture that carries a state from token to token would mix them.
"""

from collections.abc import Sequence

import numpy as np
import torch

from keepgain.core.errors import UserError
from keepgain.trainers.data import IGNORED, Batch
from keepgain.trainers.encode import Encoded
from keepgain.trainers.engine import Engine

LEAKS = 0.01
"""Of what plain concatenation changes in the logits, the share that packing may change. Rows that
are apart differ by rounding alone: below 1e-5 of it in float32, below 1e-2 in bfloat16."""


def bins_of(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Places of rows that share a sequence: best fit, the longest first (Johnson 1974).

    Args:
        lengths: Tokens of each row, at most `capacity`.
        capacity: Tokens of a sequence.

    Returns:
        Indices of `lengths` by bin; every index once.
    """
    bins: list[list[int]] = []
    room: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        length = lengths[index]
        fits = [b for b, left in enumerate(room) if left >= length]
        if fits:
            best = min(fits, key=lambda b: room[b])
        else:
            best = len(bins)
            bins.append([])
            room.append(capacity)
        bins[best].append(index)
        room[best] -= length
    return bins


def pack(rows: Sequence[Encoded], pad_id: int) -> Batch:
    """Packs rows into as few sequences of the longest row's length as best fit finds.

    A longer sequence would save little more padding, and attention costs its square.
    """
    bins = bins_of([len(r.ids) for r in rows], max(len(r.ids) for r in rows))
    length = max(sum(len(rows[i].ids) for i in places) for places in bins)
    ids = np.full((len(bins), length), pad_id, dtype=np.int64)
    labels = np.full((len(bins), length), IGNORED, dtype=np.int64)
    # A position of 0 begins a row of its own: so does every padding token.
    positions = np.zeros((len(bins), length), dtype=np.int64)
    places_of = np.full((len(bins), length), -1, dtype=np.int64)
    for b, places in enumerate(bins):
        at = 0
        for i in places:
            row, n = rows[i], len(rows[i].ids)
            ids[b, at : at + n] = row.ids
            positions[b, at : at + n] = np.arange(n)
            places_of[b, at : at + n] = i
            # The first token of a row would be predicted from the row before it.
            first = max(row.start, 1)
            labels[b, at + first : at + n] = row.ids[first:]
            for gap in row.gaps:
                labels[b, at + gap[0] : at + gap[1]] = IGNORED
            at += n
    return Batch(
        input_ids=torch.from_numpy(ids),
        attention_mask=None,
        labels=torch.from_numpy(labels),
        position_ids=torch.from_numpy(positions),
        packed=torch.from_numpy(places_of),
    )


@torch.no_grad()
def check_rows_stay_apart(engine: Engine, vocabulary: int) -> None:
    """Compares the logits of a short row behind another one in a pack with those of it alone.

    Args:
        engine: Its model is in eval mode.
        vocabulary: Ids below it have an embedding.

    Raises:
        UserError: The model lets the second row see the first.
    """
    count = min(6, vocabulary)
    device = next(engine.model.parameters()).device
    rows = [
        torch.arange(count, device=device)[None],
        torch.arange(count, device=device).flip(0)[None],
    ]
    joined = torch.cat(rows, dim=1)
    apart = torch.cat([torch.arange(r.shape[1], device=device) for r in rows])[None]

    def logits(ids: torch.Tensor, **inputs: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = engine.forward(input_ids=ids, use_cache=False, **inputs).logits
        return found.float()

    alone = logits(rows[1])[0]
    packed = logits(joined, position_ids=apart)[0, count:]
    mixed = logits(joined)[0, count:]
    leak = float((packed - alone).abs().max())
    if leak > LEAKS * float((mixed - alone).abs().max()):
        raise UserError(
            f"this model cannot be trained on packed rows: a row changes the logits of the next "
            f"one by up to {leak:.3g}.",
            where="training.packing",
            hint="Leave `packing` out.",
        )
