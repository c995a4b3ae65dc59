"""The training loop: draw a batch, take a step, until the rung's budget is spent.

Batches are always whole, so a rung only observes a run: whoever trains to the end in one go sees
the same batches. The last batch may pass the rung by up to its own size.

The randomness of step n (dropout) follows from trial, seed and n alone. A resumed run therefore
needs no generator state, and dropout is the same whether or not scoring happened in between.
"""

import inspect
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own convention

from keepgain.core.config import TrialConfig
from keepgain.core.errors import TrialFailure
from keepgain.core.identity import derive_seed
from keepgain.trainers.data import IGNORED, Batch, collate
from keepgain.trainers.encode import Encoded
from keepgain.trainers.engine import Engine, micro_batch_size
from keepgain.trainers.mixture import Mixture
from keepgain.trainers.models import plain
from keepgain.trainers.progress import Progress
from keepgain.trainers.schedule import learning_rate

log = logging.getLogger(__name__)

CURVE_POINTS = 200
"""At most about so many points of each curve over the full budget."""

OnPoint = Callable[[int, Mapping[str, float]], None]
"""Called with training tokens and values at each point of the curves."""


@dataclass
class Curve:
    """Means of the steps since the last point."""

    loss: float = 0.0
    norm: float = 0.0
    steps: int = 0

    def add(self, loss: float, norm: float) -> None:
        """One step."""
        self.loss += loss
        self.norm += norm
        self.steps += 1


def train_to(
    target: int,
    config: TrialConfig,
    seed: int,
    engine: Engine,
    mixture: Mixture,
    rows: Mapping[str, list[Encoded]],
    pad_id: int,
    progress: Progress,
    on_point: OnPoint,
) -> None:
    """Trains until `target` (in the budget's unit) is spent; changes `progress` in place.

    Args:
        rows: Encoded rows per source, which `mixture` indexes.

    Raises:
        TrialFailure: `nan`, if a loss or a gradient is not finite.
    """
    micro = micro_batch_size(config)
    device = next(engine.model.parameters()).device
    engine.model.train()
    curve = Curve()
    began = time.perf_counter()
    while (spent := progress.spent(config)) < target:
        drawn = [rows[name][index] for name, index in mixture.rows(config.batch_size)]
        tokens = sum(len(r.ids) for r in drawn)
        size = tokens if config.budget_unit == "tokens" else len(drawn)
        # The middle of the step: see schedule.learning_rate.
        rate = learning_rate(config, (spent + size / 2) / config.budget)
        torch.manual_seed(derive_seed(config.trial_id, seed, "step", progress.step))
        loss = _accumulate(engine, drawn, micro, pad_id, device)
        norm = engine.step(rate)
        _check_finite(loss, norm, progress.step, rate)

        progress.step += 1
        progress.tokens += tokens
        progress.examples += len(drawn)
        progress.loss_tokens += sum(r.loss_tokens for r in drawn)
        progress.truncated += sum(r.truncated for r in drawn)
        curve.add(loss, norm)
        now = progress.spent(config)
        if now >= target or _passes_point(spent, now, config.budget):
            progress.last_loss = curve.loss / curve.steps
            on_point(
                progress.tokens,
                {
                    "train/loss": progress.last_loss,
                    "train/learning_rate": rate,
                    "train/grad_norm": curve.norm / curve.steps,
                },
            )
            curve = Curve()
    progress.train_seconds += time.perf_counter() - began
    engine.model.eval()


def _accumulate(
    engine: Engine, drawn: list[Encoded], micro: int, pad_id: int, device: torch.device
) -> float:
    """Gradient of the mean loss over all loss tokens of the batch, in micro-batches.

    Every micro-batch's sum is divided by the loss tokens of the whole batch, so how it is cut does
    not weigh rows differently.

    Returns:
        The mean loss in nats per token.
    """
    if micro < len(drawn):
        # Neighbours of like length need less padding; the gradient does not depend on the order.
        drawn = sorted(drawn, key=lambda r: len(r.ids))
    total = sum(r.loss_tokens for r in drawn)
    loss = 0.0
    for first in range(0, len(drawn), micro):
        batch = collate(drawn[first : first + micro], pad_id)
        part = answer_loss(engine, batch, device) / total
        engine.backward(part)
        loss += float(part.detach())
    return loss


def answer_loss(engine: Engine, batch: Batch, device: torch.device) -> torch.Tensor:
    """Sum of the cross-entropy in nats over the loss tokens of a batch; a scalar."""
    targets = batch.labels[:, 1:]
    # Logits are computed only in the columns where some row has loss.
    columns = (targets != IGNORED).any(dim=0).nonzero()[:, 0]
    targets = targets[:, columns].to(device)
    logits = logits_at(
        engine.forward,
        keeps_logits(engine.model),
        batch.input_ids.to(device),
        batch.attention_mask.to(device),
        columns.to(device),
    )
    wanted = targets != IGNORED
    return F.cross_entropy(logits[wanted].float(), targets[wanted], reduction="sum")


def logits_at(
    forward: Callable[..., Any],
    keeps: bool,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    columns: torch.Tensor,
) -> torch.Tensor:
    """Logits [rows, columns, vocabulary] at the given positions (int64 [columns])."""
    inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "use_cache": False}
    if keeps:
        logits: torch.Tensor = forward(**inputs, logits_to_keep=columns).logits
        return logits
    everywhere: torch.Tensor = forward(**inputs).logits
    return everywhere[:, columns]


def keeps_logits(model: torch.nn.Module) -> bool:
    """True if the model can compute logits at some positions only."""
    return "logits_to_keep" in inspect.signature(plain(model).forward).parameters


def _check_finite(loss: float, norm: float, step: int, rate: float) -> None:
    for name, value in (("loss", loss), ("gradient norm", norm)):
        if not math.isfinite(value):
            raise TrialFailure(
                "nan", f"the {name} is {value} at step {step}, learning rate {rate:.3g}"
            )


def _passes_point(before: int, after: int, budget: int) -> bool:
    return before * CURVE_POINTS // budget != after * CURVE_POINTS // budget
