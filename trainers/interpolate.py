"""Models between a base and what was made of it: base + alpha * (tuned - base).

Final weights often lie beyond the best compromise, and a point before them keeps more of the base
for little of the gain (WiSE-FT; Wortsman et al. 2022, arXiv 2109.01903). Whether it does is
measured, not assumed: such a model is scored beside the tuned one.

Full weights are interpolated against a fresh copy of the base. Adapters of the LoRA family add a
product B A to frozen weights, so B is scaled: the saved adapter needs nothing but PEFT.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from keepgain.core.config import LINEAR, TrialConfig
from keepgain.core.errors import UserError
from keepgain.trainers.methods import is_wrapped

_SECOND = (".lora_B.", ".lora_embedding_B.")
"""The factor that is 0 before the first step."""


def check_interpolation(config: TrialConfig, alphas: tuple[float, ...]) -> None:
    """Refuses what has no point between base and tuned model, by its field.

    Raises:
        UserError: Another method than those of `core.config.LINEAR`, ZeRO-3, or a trainer of the
            user's own.
    """
    if config.interpolation == 1 and not alphas:
        return
    if config.trainer is not None:
        problem = "a trainer of your own leaves a model, which is scored as it is."
    elif config.method not in LINEAR:
        problem = f"the method {config.method} is not linear in its weights."
    elif config.runtime.zero_stage == 3:
        problem = "under ZeRO-3 no process holds the weights that are interpolated."
    else:
        return
    raise UserError(problem, where="interpolation", hint="Score the tuned model alone.")


@contextmanager
def interpolated(
    model: nn.Module, alpha: float, load_base: Callable[[], nn.Module]
) -> Iterator[None]:
    """For the time of the context, `model` is base + alpha * (tuned - base); afterwards it has its
    own tensors again, to train on exactly.

    Args:
        model: Tuned, with all weights or an adapter of the LoRA family.
        alpha: In (0, 1]; at 1 nothing is done.
        load_base: Gives a copy of the base that nothing else holds; not called for adapters.
    """
    if alpha == 1:
        yield
        return
    weights = dict(model.named_parameters())
    if is_wrapped(model):
        moved = {n: alpha * p.detach() for n, p in weights.items() if any(s in n for s in _SECOND)}
    else:
        moved = _between(load_base(), weights, alpha)
    originals = {n: weights[n].data for n in moved}
    try:
        for name, data in moved.items():
            weights[name].data = data
        yield
    finally:
        for name, data in originals.items():
            weights[name].data = data


def _between(
    base: nn.Module, tuned: dict[str, nn.Parameter], alpha: float
) -> dict[str, torch.Tensor]:
    """In the base's own memory and precision: no third copy of the weights."""
    found = {n: p.detach() for n, p in base.named_parameters()}
    for name, start in found.items():
        start.lerp_(tuned[name].detach().to(start.dtype), alpha)
    return found
