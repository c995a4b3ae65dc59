"""Noise while training: dropout inside the base, and noise on its input embeddings."""

from typing import Any

import torch
from torch import nn

from keepgain.core.errors import UserError
from keepgain.trainers.models import plain


def set_dropout(model: nn.Module, share: float) -> None:
    """Sets every dropout of a freshly loaded base, those of attention included.

    Raises:
        UserError: The architecture has none.
    """
    places = 0
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p, places = share, places + 1
        # Attention keeps its rate as a number, for the fused kernels.
        elif isinstance(getattr(module, "attention_dropout", None), float | int):
            own: Any = module
            own.attention_dropout, places = share, places + 1
    if not places:
        raise UserError(
            "this architecture has no dropout to set.",
            where="dropout",
            hint="Leave it out; adapters have their own (`lora.dropout`).",
        )


class EmbeddingNoise:
    """NEFTune (Jain et al. 2023, arXiv 2310.05914): uniform noise of at most alpha / sqrt(L d) on
    the input embeddings, L being the tokens of the row and d the width.

    It acts while the model is in training mode, and after `rows` has told it the lengths.
    """

    def __init__(self, model: nn.Module, alpha: float) -> None:
        self._alpha = alpha
        self._lengths: torch.Tensor | None = None
        self._handle = plain(model).get_input_embeddings().register_forward_hook(self._add)

    def rows(self, lengths: torch.Tensor) -> None:
        """Tokens of the row at each position of the next batch, of shape [sequences, length]."""
        self._lengths = lengths

    def close(self) -> None:
        """Takes the noise away."""
        self._handle.remove()

    def _add(self, module: nn.Module, inputs: Any, embedded: torch.Tensor) -> torch.Tensor:
        if not module.training or self._lengths is None:
            return embedded
        lengths = self._lengths.to(embedded.device)[..., None]
        bound = self._alpha / torch.sqrt(lengths * embedded.shape[-1])
        noise = torch.empty_like(embedded).uniform_(-1, 1) * bound.to(embedded.dtype)
        return embedded + noise
