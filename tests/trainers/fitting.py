"""Tiny models fitted to a few rows in seconds, and their item scores: for constructed proofs."""

import copy
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own convention
from torch import nn

from keepgain.core.items import ItemScores
from keepgain.core.rows import Row
from keepgain.trainers.data import IGNORED, collate
from keepgain.trainers.encode import encode_rows
from keepgain.trainers.models import Base
from keepgain.trainers.reference import Prompting
from keepgain.trainers.scoring import score_suite
from keepgain.trainers.suites import prepare_suite
from tests.trainers import tiny


def fitted(base: Base, rows: Sequence[Row], steps: int, rate: float = 3e-3, seed: int = 0) -> Base:
    """A copy trained on batches of 64 rows, with AdamW and a warm-up; always the same."""
    model = copy.deepcopy(base.model)
    model.train()
    encoded = encode_rows(base.codec, rows, 64)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: min(1.0, (s + 1) / 20))
    order = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        picked = torch.randperm(len(encoded), generator=order)[:64].tolist()
        batch = collate([encoded[i] for i in picked], base.codec.pad_id)
        logits = model(**batch.inputs(torch.device("cpu"))).logits[:, :-1]
        loss = F.cross_entropy(
            logits.flatten(0, 1), batch.labels[:, 1:].flatten(), ignore_index=IGNORED
        )
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    model.eval()
    return Base(model, base.codec)


def answered(base: Base, folder: Path, name: str, rows: list[Row]) -> ItemScores:
    """Exact match of greedy answers, item by item."""
    suite = tiny.suite(folder, name, rows, "exact_match", max_new_tokens=4)
    items = prepare_suite(base.codec, suite, rows, Prompting(), 256)
    return score_suite(base.model, base.codec, items, 64, 0).scores
