"""Ways to hold a model near its base while it learns, each with a strength that can be searched.

Penalties on weights (L2-SP, EWC) need the tuned weights whole, and base weights to compare with:
full fine-tuning, ZeRO stage 2 at most. Distances between output distributions (LwF, KL on general
rows) need the base's logits on the same rows: adapters are switched off for them, and under full
fine-tuning a frozen copy of the base stands beside the model.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own convention
from torch import nn

from keepgain.core.config import STRENGTHS, TrialConfig, has_adapter
from keepgain.core.errors import UserError
from keepgain.core.identity import derive_seed
from keepgain.trainers.data import Batch, collate
from keepgain.trainers.encode import Encoded
from keepgain.trainers.methods import trainable
from keepgain.trainers.models import Numerics, plain

Weights = dict[str, torch.Tensor]


def check_retention(config: TrialConfig) -> None:
    """Refuses what cannot work, by its field.

    Raises:
        UserError: A penalty on weights without full weights, or either kind under ZeRO-3.
    """
    asked = config.retention
    where = next((n for n in STRENGTHS if getattr(asked, n) > 0), None)
    if where is None:
        return
    if config.runtime.zero_stage == 3:
        raise UserError(
            "under ZeRO-3 no process holds the weights that this compares.",
            where=f"retention.{where}",
            hint="Use zero_stage 0 to 2, or keep what the base knows by replay.",
        )
    if has_adapter(config.method) and where in ("l2_sp", "ewc"):
        raise UserError(
            f"a penalty on weights needs `method: full`; this trial's is {config.method}, and the "
            "base's weights do not move under adapters.",
            where=f"retention.{where}",
            hint="Use `retention.lwf`, `retention.kl`, weight_decay on the adapters, or replay.",
        )


class WeightAnchor:
    """strength / 2 * sum of F_i (w_i - w0_i)^2 over the trained weights: L2-SP with F = 1 (Li et
    al. 2018, arXiv 1802.01483), EWC with the diagonal Fisher information (Kirkpatrick et al. 2017,
    arXiv 1612.00796). Both may be asked for; their factors add up.

    Args:
        model: Whose weights of now are w0.
        l2_sp: Strength of the plain distance.
        ewc: Strength of the one weighed by `fisher`, which has mean 1, so that both strengths mean
            alike.
    """

    def __init__(self, model: nn.Module, l2_sp: float, ewc: float, fisher: Weights | None) -> None:
        self._start = {n: p.detach().clone() for n, p in trainable(model).items()}
        self._factors: dict[str, torch.Tensor | float] = {
            n: l2_sp + (ewc * fisher[n] if fisher is not None else 0.0) for n in self._start
        }

    def penalty(self, model: nn.Module) -> torch.Tensor:
        """A scalar with a gradient."""
        total = torch.zeros((), device=next(model.parameters()).device)
        for name, parameter in trainable(model).items():
            moved = parameter - self._start[name]
            total = total + (self._factors[name] * moved.square()).sum()
        return total / 2


def diagonal_fisher(
    model: nn.Module,
    rows: Sequence[Encoded],
    loss_of: Callable[[Batch], torch.Tensor],
    pad_id: int,
) -> Weights:
    """Mean of the squared gradient of each row's log-likelihood (the empirical Fisher information),
    divided by its own mean over all weights.

    Args:
        rows: What the base should go on knowing; one backward pass each.
        loss_of: Sum of the cross-entropy of a batch, with a gradient.
    """
    weights = trainable(model)
    squares = {n: torch.zeros_like(p) for n, p in weights.items()}
    for row in rows:
        model.zero_grad(set_to_none=True)
        loss_of(collate([row], pad_id)).backward()
        for name, parameter in weights.items():
            if parameter.grad is not None:
                squares[name] += parameter.grad.square()
    model.zero_grad(set_to_none=True)
    count = sum(s.numel() for s in squares.values())
    mean = sum(float(s.sum()) for s in squares.values()) / count
    return {n: s / mean for n, s in squares.items()}


def fisher_rows(
    config: TrialConfig, seed: int, replay: Sequence[Sequence[Encoded]]
) -> list[Encoded]:
    """The rows that the Fisher information is estimated on, a seeded draw of the replayed ones.

    Args:
        replay: Rows of each source of role replay.

    Raises:
        UserError: No source of replay is in the mixture.
    """
    if not replay:
        raise UserError(
            "EWC measures on replay rows what must not change, and the mixture has none.",
            where="retention.ewc",
            hint="Give a source of role replay a share, or use `retention.l2_sp`.",
        )
    ends = np.cumsum([len(rows) for rows in replay])
    count = min(config.retention.fisher_rows, int(ends[-1]))
    generator = np.random.default_rng(derive_seed(config.training_id, seed, "fisher"))
    drawn = generator.choice(int(ends[-1]), count, replace=False)
    sources = np.searchsorted(ends, drawn, side="right")
    return [replay[s][int(i) - int(ends[s])] for s, i in zip(sources, drawn, strict=True)]


class Teacher:
    """The base's logits on the rows that the tuned model sees.

    Args:
        model: The tuned model.
        copy: A frozen base; None where switching the adapters off gives the base.
    """

    def __init__(self, model: nn.Module, copy: nn.Module | None, numerics: Numerics) -> None:
        self._model: Any = model
        self._copy = None if copy is None else copy.eval().requires_grad_(False)
        self._numerics = numerics

    @torch.no_grad()
    def forward(self, **inputs: Any) -> Any:
        """The base's output."""
        if self._copy is not None:
            with self._numerics.autocast(next(self._copy.parameters()).dtype):
                return plain(self._copy)(**inputs)
        training = self._model.training
        self._model.eval()
        try:
            with self._model.disable_adapter():
                return plain(self._model)(**inputs)
        finally:
            self._model.train(training)


def distances(base: torch.Tensor, tuned: torch.Tensor, temperature: float) -> torch.Tensor:
    """KL(base || tuned) of each position in nats, times temperature^2 (Hinton et al. 2015, arXiv
    1503.02531, so that the strength of its gradient does not depend on the temperature).

    Args:
        base: Logits [positions, vocabulary].
        tuned: The same, with a gradient.

    Returns:
        float32 of shape [positions].
    """
    log_p = F.log_softmax(base.float() / temperature, dim=-1)
    log_q = F.log_softmax(tuned.float() / temperature, dim=-1)
    each = F.kl_div(log_q, log_p, log_target=True, reduction="none").sum(dim=-1)
    return each * temperature**2
