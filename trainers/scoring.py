"""Scores of a model on a suite, item by item: exact match or bits per byte."""

import math
import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own convention
from torch import nn

from keepgain.core.errors import TrialFailure
from keepgain.core.items import ItemScores
from keepgain.trainers.data import IGNORED, collate
from keepgain.trainers.encode import Encoded
from keepgain.trainers.generate import batches_by_length, generate
from keepgain.trainers.loop import keeps_logits, logits_at
from keepgain.trainers.models import plain
from keepgain.trainers.suites import SuiteItems
from keepgain.trainers.tokens import Codec


@dataclass(frozen=True)
class SuiteResult:
    """Item scores with what else was seen while scoring."""

    scores: ItemScores
    seconds: float
    prompted: int
    """Items with a prompt: all but plain texts."""
    prompt_tokens: int
    """Over those items."""
    generated_tokens: int = 0
    generation_seconds: float = 0.0
    answer_tokens: float = 0.0
    """Mean length of the generated answers, without stop tokens."""
    empty: int = 0
    """Answers with nothing but white space."""
    truncated: int = 0
    """Answers that reached the limit."""


def score_suite(
    model: nn.Module, codec: Codec, items: SuiteItems, batch_size: int, tokens: int
) -> SuiteResult:
    """Scores all items of a suite.

    Args:
        model: In eval mode, in the dtype in which it is served.
        tokens: Training tokens that the model has seen, for the record.

    Raises:
        TrialFailure: `incomplete_scores`, if a score is not finite.
    """
    if items.suite.scorer == "exact_match":
        return _exact_match(model, codec, items, batch_size, tokens)
    return _bits_per_byte(model, codec, items, batch_size, tokens)


def _exact_match(
    model: nn.Module, codec: Codec, items: SuiteItems, batch_size: int, tokens: int
) -> SuiteResult:
    began = time.perf_counter()
    made = generate(model, codec, items.prompts, items.max_new_tokens, batch_size)
    texts = [codec.text(a).strip() for a in made.answers]
    hits = [float(t == row.answer.strip()) for t, row in zip(texts, items.rows, strict=True)]
    return SuiteResult(
        scores=_item_scores(items, np.array(hits), np.ones(len(hits)), tokens),
        seconds=time.perf_counter() - began,
        prompted=len(items.rows),
        prompt_tokens=sum(len(p) for p in items.prompts),
        generated_tokens=made.tokens,
        generation_seconds=made.seconds,
        answer_tokens=float(np.mean([len(a) for a in made.answers])),
        empty=sum(not t for t in texts),
        truncated=sum(made.truncated),
    )


def _bits_per_byte(
    model: nn.Module, codec: Codec, items: SuiteItems, batch_size: int, tokens: int
) -> SuiteResult:
    """Bits of the scored tokens over the bytes they cover; the end token is not scored.

    The items' mean weighs each by its full length in bytes. Where a tokenizer has no BOS, the first
    token of a text is not scored: that changes the item's own ratio, but not its weight, so sizes
    with different tokenizers are compared on the same mixture of items.
    """
    began = time.perf_counter()
    bits = np.zeros(len(items.rows))
    for places in batches_by_length(_lengths(items), batch_size):
        rows = [_row(items, i) for i in places]
        bits[places] = log_losses(model, codec, rows) / math.log(2)
    sizes = np.array(items.bytes, dtype=np.float64)
    asked = [p for p, row in zip(items.prompts, items.rows, strict=True) if row.kind != "text"]
    return SuiteResult(
        scores=_item_scores(items, bits / sizes, np.array(items.weights, dtype=np.float64), tokens),
        seconds=time.perf_counter() - began,
        prompted=len(asked),
        prompt_tokens=sum(len(p) for p in asked),
    )


def log_losses(model: nn.Module, codec: Codec, rows: list[Encoded]) -> npt.NDArray[np.float64]:
    """Sum of -ln p over each row's predicted tokens, in nats; float64 of shape [rows]."""
    logits, targets = scored_logits(model, codec, rows)
    wanted = targets != IGNORED
    losses = torch.zeros(targets.shape, dtype=torch.float64, device=targets.device)
    each = F.cross_entropy(logits[wanted].float(), targets[wanted], reduction="none")
    losses[wanted] = each.double()
    return losses.sum(dim=1).cpu().numpy()


@torch.inference_mode()
def scored_logits(
    model: nn.Module, codec: Codec, rows: list[Encoded]
) -> tuple[torch.Tensor, torch.Tensor]:
    """(logits [rows, columns, vocabulary], targets [rows, columns]) where rows are scored."""
    device = next(model.parameters()).device
    batch = collate(rows, codec.pad_id)
    targets = batch.labels[:, 1:]
    columns = (targets != IGNORED).any(dim=0).nonzero()[:, 0]
    logits = logits_at(
        plain(model),
        keeps_logits(model),
        batch.input_ids.to(device),
        batch.attention_mask.to(device),
        columns.to(device),
    )
    return logits, targets[:, columns].to(device)


def kl_to_base(
    base: nn.Module, tuned: nn.Module, codec: Codec, items: SuiteItems, batch_size: int = 16
) -> float:
    """Forward KL(base || tuned) in nats per token, over the scored tokens of all items.

    The prompts and continuations are fixed (those of the items), so this is the off-policy form.
    Exactly 0 for equal weights.
    """
    total, count = 0.0, 0
    for places in batches_by_length(_lengths(items), batch_size):
        rows = [_row(items, i) for i in places]
        of_base, targets = scored_logits(base, codec, rows)
        of_tuned, _ = scored_logits(tuned, codec, rows)
        wanted = targets != IGNORED
        p = F.log_softmax(of_base[wanted].double(), dim=-1)
        q = F.log_softmax(of_tuned[wanted].double(), dim=-1)
        total += float((p.exp() * (p - q)).sum())
        count += int(wanted.sum())
    return total / count


def _row(items: SuiteItems, index: int) -> Encoded:
    prompt, answer = items.prompts[index], items.answers[index]
    return Encoded(np.array(prompt + answer, dtype=np.int32), len(prompt), False)


def _lengths(items: SuiteItems) -> list[int]:
    return [len(p) + len(a) for p, a in zip(items.prompts, items.answers, strict=True)]


def _item_scores(
    items: SuiteItems,
    values: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float64],
    tokens: int,
) -> ItemScores:
    suite, rows = items.suite, items.rows
    finite = np.isfinite(values)
    if not finite.all():
        first = rows[int(np.flatnonzero(~finite)[0])].id
        raise TrialFailure(
            "incomplete_scores",
            f"{int((~finite).sum())} of {len(rows)} scores of suite '{suite.name}' are not "
            f"finite, first item '{first}'",
        )
    groups = tuple(r.group for r in rows)
    clusters = tuple(r.cluster for r in rows)
    return ItemScores(
        suite=suite.name,
        split=suite.split,
        metric=suite.scorer,
        item_ids=np.array([r.id for r in rows], dtype=np.str_),
        values=values,
        weights=weights,
        tokens=tokens,
        groups=groups if any(g is not None for g in groups) else (),
        clusters=clusters if any(c is not None for c in clusters) else (),
    )
