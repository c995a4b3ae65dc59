"""What is trained: all weights, or low-rank adapters on frozen ones.

Full fine-tuning holds float32 weights whatever the folder's dtype: an update of AdamW at a usual
learning rate is often smaller than half a bfloat16 step and would be rounded away. Where the run
computes in bfloat16, the forward pass casts them (autocast), and scoring sees the weights rounded
to bfloat16, as they are saved and served. The frozen weights under adapters are held in the dtype
of computation; the adapters are float32.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from keepgain.core.config import LoraSettings, TrialConfig
from keepgain.core.errors import UserError
from keepgain.core.identity import derive_seed
from keepgain.trainers.models import Numerics, plain


def held_dtype(config: TrialConfig, numerics: Numerics) -> torch.dtype:
    """The dtype in which the base's weights are loaded for training; see the module's text."""
    return torch.float32 if config.method == "full" else numerics.dtype


def prepare(model: nn.Module, config: TrialConfig, seed: int) -> nn.Module:
    """Makes a freshly loaded base trainable by the configured method.

    Args:
        seed: The run's seed; adapters are initialised from it and the trial's id.

    Raises:
        UserError: `lora.targets` names no module of this model.
    """
    if config.method == "full":
        for parameter in model.parameters():
            parameter.requires_grad_(True)
        return model
    torch.manual_seed(derive_seed(config.trial_id, seed, "adapter"))
    return add_adapter(model, config.lora or LoraSettings())


def add_adapter(model: nn.Module, settings: LoraSettings) -> nn.Module:
    """Wraps the model in LoRA adapters (B = 0, so that nothing changes before the first step)."""
    from peft import LoraConfig, get_peft_model

    targets: Any = settings.targets
    lora = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha if settings.alpha is not None else 2 * settings.rank,
        lora_dropout=settings.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        task_type="CAUSAL_LM",
    )
    try:
        wrapped: nn.Module = get_peft_model(model, lora)
    except ValueError as error:
        raise UserError(
            f"no adapter can be put on this model ({str(error).splitlines()[0]}).",
            where="lora.targets",
        ) from None
    return wrapped


def load_adapter(model: nn.Module, folder: str) -> nn.Module:
    """Puts a saved adapter on a freshly loaded base, for scoring."""
    from peft import PeftModel

    wrapped: nn.Module = PeftModel.from_pretrained(model, folder, is_trainable=False)
    return wrapped.eval()


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that training changes, by name; tied ones once."""
    return {n: p for n, p in model.named_parameters() if p.requires_grad}


def count_parameters(model: nn.Module) -> dict[str, int]:
    """`parameters` (all that would be served), `trainable`, `non_embedding`.

    `non_embedding` leaves out the input embedding and the output head, tied or not, and adapters:
    the N of 6*N*T (Kaplan et al. 2020, arXiv 2001.08361).
    """
    numel = _numel
    tables = {id(p): numel(p) for p in _tables(plain(model))}
    adapters = sum(numel(p) for n, p in model.named_parameters() if "lora_" in n)
    total = sum(numel(p) for p in model.parameters())
    return {
        "parameters": total,
        "trainable": sum(numel(p) for p in trainable(model).values()),
        "non_embedding": total - sum(tables.values()) - adapters,
    }


def _numel(parameter: nn.Parameter) -> int:
    # ZeRO-3 leaves an empty tensor in the module and keeps the true size aside.
    return int(getattr(parameter, "ds_numel", parameter.numel()))


def _tables(model: Any) -> list[nn.Parameter]:
    modules = (model.get_input_embeddings(), model.get_output_embeddings())
    return [m.weight for m in modules if m is not None]


@contextmanager
def as_served(model: nn.Module, dtype: torch.dtype) -> Iterator[None]:
    """For the time of the context, full weights held in float32 are rounded to `dtype`.

    Scores then belong to the model that is saved and served; at a learning rate of 0 they are
    exactly the base's. Adapters stay in float32, as they are saved.
    """
    held = {n: p for n, p in model.named_parameters() if p.dtype != dtype and "lora_" not in n}
    originals = {n: p.data for n, p in held.items()}
    training = model.training
    model.eval()
    try:
        for parameter in held.values():
            parameter.data = parameter.data.to(dtype)
        yield
    finally:
        for name, parameter in held.items():
            parameter.data = originals[name]
        model.train(training)
