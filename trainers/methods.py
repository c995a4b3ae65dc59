"""What is trained: all weights, or adapters on frozen ones.

Full fine-tuning holds float32 weights whatever the folder's dtype: an update of AdamW at a usual
learning rate is often smaller than half a bfloat16 step and would be rounded away. Where the run
computes in bfloat16, the forward pass casts them (autocast), and scoring sees the weights rounded
to bfloat16, as they are saved and served. The frozen weights under adapters are held in the dtype
of computation (QLoRA: their linear layers in 4 bits); the adapters are float32.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from keepgain.core.config import (
    LORA_FAMILY,
    LoraSettings,
    Method,
    ModelRef,
    PeftSettings,
    TrialConfig,
    has_adapter,
)
from keepgain.core.errors import UserError
from keepgain.core.identity import derive_seed
from keepgain.trainers.models import Base, BaseCache, Numerics, plain
from keepgain.trainers.peft_options import check_peft
from keepgain.trainers.shape import idle_experts

log = logging.getLogger(__name__)

_MISFITS = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, AssertionError)
"""What tuners raise for options that they cannot use, or not on this model."""


def load_base(bases: BaseCache, ref: ModelRef, method: Method, numerics: Numerics) -> Base:
    """The base as `method` trains it, and as an adapter of that method is served on it.

    Raises:
        UserError: It cannot be read, or not in 4 bits here.
    """
    if method == "qlora":
        return bases.load_quantized(ref, numerics)
    dtype = numerics.dtype if has_adapter(method) else torch.float32
    return bases.load(ref, dtype, numerics.device, numerics.attention)


def prepare(model: nn.Module, config: TrialConfig, seed: int) -> nn.Module:
    """Makes a freshly loaded base trainable by the configured method.

    Args:
        seed: The run's seed; adapters are initialised from it and the trial's id.

    Raises:
        UserError: No adapter as configured can be put on this model.
    """
    if not has_adapter(config.method):
        for parameter in model.parameters():
            parameter.requires_grad_(True)
        return model
    torch.manual_seed(derive_seed(config.training_id, seed, "adapter"))
    if config.method in LORA_FAMILY:
        return add_adapter(model, config.lora or LoraSettings(), config.method)
    assert config.peft is not None, "the spec asks for it"
    return add_tuner(model, config.peft)


def add_adapter(model: nn.Module, settings: LoraSettings, method: Method = "lora") -> nn.Module:
    """Wraps the model in adapters of the LoRA family.

    B = 0, so that nothing changes before the first step.

    Raises:
        UserError: `lora.targets` names no module of this model.
    """
    from peft import LoraConfig

    targets: Any = settings.targets
    lora = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha if settings.alpha is not None else 2 * settings.rank,
        lora_dropout=settings.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        use_rslora=method == "rslora",
        use_dora=method == "dora",
        task_type="CAUSAL_LM",
    )
    return _wrap(model, lora, "lora.targets")


def add_tuner(model: nn.Module, settings: PeftSettings) -> nn.Module:
    """Wraps the model in any other tuner of PEFT.

    Raises:
        UserError: The tuner or an option is not known or not usable, or does not fit this model;
            or it would train weights in 16 bits, where small updates are rounded away.
    """
    from peft import PeftType
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    check_peft(settings, "peft")
    try:
        make = PEFT_TYPE_TO_CONFIG_MAPPING[PeftType(settings.type)]
        config = make(task_type="CAUSAL_LM", **settings.options)
    except _MISFITS as error:
        raise _misfit(error, "peft") from None
    wrapped = _wrap(model, config, "peft")
    rounded = [n for n, p in trainable(wrapped).items() if p.dtype != torch.float32]
    if rounded:
        raise UserError(
            f"{settings.type} trains '{rounded[0]}' in 16 bits, where small updates are rounded "
            "away.",
            where="peft.type",
            hint="Add `training: {dtype: float32}`, or use another tuner.",
        )
    return wrapped


def _wrap(model: nn.Module, config: Any, where: str) -> nn.Module:
    from peft import get_peft_model

    try:
        with _without_notice():
            wrapped: Any = get_peft_model(model, config)
    except _MISFITS as error:
        raise _misfit(error, where) from None
    names = getattr(wrapped.base_model, "targeted_module_names", [])
    kinds = sorted({n.rpartition(".")[2] for n in names})
    log.info("adapters on %d modules: %s", len(names), ", ".join(kinds) or "see the tuner")
    made: nn.Module = wrapped
    return made


def _misfit(error: Exception, where: str) -> UserError:
    said = (str(error).splitlines() or [type(error).__name__])[0]
    return UserError(f"no adapter can be put on this model ({said}).", where=where)


@contextmanager
def _without_notice() -> Iterator[None]:
    """PEFT asks a model whether it `is_gradient_checkpointing`, a name that is to go; the notice
    of it says nothing to the reader of a run's log."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is", FutureWarning)
        yield


def load_adapter(model: nn.Module, folder: str) -> nn.Module:
    """Puts a saved adapter on a freshly loaded base, for scoring."""
    from peft import PeftModel

    with _without_notice():
        wrapped: nn.Module = PeftModel.from_pretrained(model, folder, is_trainable=False)
    return wrapped.eval()


def merge_adapter(model: nn.Module) -> nn.Module:
    """The plain model with what its adapter adds in its weights; the wrapper is used up.

    Raises:
        UserError: The tuner computes what no weight can hold.
    """
    wrapped: Any = model
    try:
        merged: nn.Module = wrapped.merge_and_unload()
    except (NotImplementedError, AttributeError, ValueError) as error:
        raise UserError(
            f"this adapter cannot be merged ({(str(error).splitlines() or ['not supported'])[0]})",
            hint="Serve it beside its base.",
        ) from None
    return merged


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that training changes, by name; tied ones once."""
    return {n: p for n, p in model.named_parameters() if p.requires_grad}


def count_parameters(model: nn.Module) -> dict[str, int]:
    """`parameters` (all that would be served), `trainable`, `non_embedding`.

    `non_embedding` leaves out the input embedding and the output head, tied or not, adapters that
    train, and of a mixture of experts those that a token does not go through: the N of 6*N*T
    (Kaplan et al. 2020, arXiv 2001.08361).
    """
    tables = {id(p): _numel(p) for p in _tables(plain(model))}
    total = sum(_numel(p) for p in model.parameters())
    trained = sum(_numel(p) for p in trainable(model).values())
    adapters = trained if is_wrapped(model) else 0
    return {
        "parameters": total,
        "trainable": trained,
        "non_embedding": total
        - sum(tables.values())
        - adapters
        - idle_experts(plain(model).config.to_dict()),
    }


def is_wrapped(model: nn.Module) -> bool:
    """True for a model with an adapter of PEFT on it."""
    return plain(model) is not model


def _numel(parameter: nn.Parameter) -> int:
    # ZeRO-3 leaves an empty tensor in the module and keeps the true size aside; 4-bit weights
    # are packed, and remember their shape.
    if hasattr(parameter, "quant_state"):
        return int(parameter.quant_state.shape.numel())
    return int(getattr(parameter, "ds_numel", parameter.numel()))


def _tables(model: Any) -> list[nn.Parameter]:
    modules = (model.get_input_embeddings(), model.get_output_embeddings())
    return [m.weight for m in modules if m is not None]


@contextmanager
def as_served(model: nn.Module, dtype: torch.dtype) -> Iterator[None]:
    """For the time of the context, full weights held in float32 are rounded to `dtype`.

    Scores then belong to the model that is saved and served; at a learning rate of 0 they are
    exactly the base's. Adapters stay in float32, as they are saved, and what they are on is held
    as it is served.
    """
    whole = [] if is_wrapped(model) else model.named_parameters()
    held = {n: p for n, p in whole if p.dtype != dtype}
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
