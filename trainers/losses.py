"""The training loss: cross-entropy on the answers, as it is or smoothed, of rows alike or weighed,
and where asked the distance to the base on the same tokens.

What is reported is always the plain cross-entropy, so that curves of unlike settings compare.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own convention

from keepgain.trainers.data import IGNORED, Batch
from keepgain.trainers.engine import Engine
from keepgain.trainers.models import plain


@dataclass(frozen=True)
class Distil:
    """How far each row may not move away from the base."""

    forward: Callable[..., Any]
    """The base's."""
    distance: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    """(base's logits, tuned logits), each [positions, vocabulary] -> [positions]."""
    strengths: torch.Tensor
    """Of each row, float32 of shape [rows]; 0: not at all."""


@dataclass(frozen=True)
class AnswerLoss:
    """Losses of a batch in nats; scalars unless said."""

    objective: torch.Tensor
    """To be differentiated: the sum over the loss tokens, smoothed and weighed as asked."""
    plain: torch.Tensor
    """Sum of the cross-entropy over the loss tokens, without a gradient."""
    by_row: torch.Tensor | None = None
    """The same of each row, float32 of shape [rows]; only of weighed rows."""
    distance: torch.Tensor | None = None
    """To be differentiated too: strength times distance, summed over the loss tokens."""


def answer_loss(
    engine: Engine,
    batch: Batch,
    device: torch.device,
    smoothing: float = 0.0,
    weights: torch.Tensor | None = None,
    distil: Distil | None = None,
) -> AnswerLoss:
    """The loss of a batch over its loss tokens.

    Args:
        smoothing: Share of a uniform distribution in the targets (Szegedy et al. 2016, arXiv
            1512.00567).
        weights: Of each row, float32 of shape [rows]; None: 1.
    """
    targets = batch.labels[:, 1:]
    # Logits are computed only in the columns where some row has loss.
    columns = (targets != IGNORED).any(dim=0).nonzero()[:, 0]
    targets = targets[:, columns].to(device)
    inputs, keeps = batch.inputs(device), keeps_logits(engine.model)
    wanted = targets != IGNORED
    on_device = columns.to(device)
    scores = logits_at(engine.forward, keeps, inputs, on_device)[wanted].float()
    answers = targets[wanted]
    distance = None
    if distil is not None:
        base = logits_at(distil.forward, keeps, inputs, on_device)[wanted]
        strengths = distil.strengths[_rows_of_tokens(batch, columns, wanted)]
        distance = (distil.distance(base, scores) * strengths).sum()
    if not smoothing and weights is None:
        loss = F.cross_entropy(scores, answers, reduction="sum")
        return AnswerLoss(loss, loss.detach(), distance=distance)
    each = F.cross_entropy(scores, answers, reduction="none")
    asked = each
    if smoothing:
        asked = F.cross_entropy(scores, answers, reduction="none", label_smoothing=smoothing)
    total = each.detach().sum()
    if weights is None:
        return AnswerLoss(asked.sum(), total, distance=distance)
    of_row = _rows_of_tokens(batch, columns, wanted)
    by_row = torch.zeros_like(weights).index_add_(0, of_row, each.detach())
    return AnswerLoss((asked * weights[of_row]).sum(), total, by_row, distance)


def _rows_of_tokens(batch: Batch, columns: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Which row each loss token belongs to, int64 of shape [loss tokens]."""
    return batch.row_of[:, 1:][:, columns].to(wanted.device)[wanted]


def logits_at(
    forward: Callable[..., Any],
    keeps: bool,
    inputs: Mapping[str, torch.Tensor],
    columns: torch.Tensor,
) -> torch.Tensor:
    """Logits [sequences, columns, vocabulary] at the given positions (int64 [columns])."""
    if keeps:
        logits: torch.Tensor = forward(**inputs, use_cache=False, logits_to_keep=columns).logits
        return logits
    everywhere: torch.Tensor = forward(**inputs, use_cache=False).logits
    return everywhere[:, columns]


def keeps_logits(model: torch.nn.Module) -> bool:
    """True if the model can compute logits at some positions only."""
    return "logits_to_keep" in inspect.signature(plain(model).forward).parameters
