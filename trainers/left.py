"""What a trainer of the user's own left in its folder: a whole model, or an adapter of PEFT.

Libraries fill weights that a folder lacks with random ones and leave out those that do not fit,
with a warning at most. Here both end the trial: its scores would be those of another model. Weights
are read from safetensors alone, and the tokenizer is the base's own.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from keepgain.core.config import Method, ModelRef, TrialConfig, has_adapter
from keepgain.core.errors import TrialFailure, UserError
from keepgain.core.publish import publish, write_json
from keepgain.core.status import FailureCause
from keepgain.trainers.cost import training_flops
from keepgain.trainers.methods import count_parameters, is_wrapped, load_adapter, load_base
from keepgain.trainers.models import BaseCache, Numerics, load_model, plain
from keepgain.trainers.tokens import Codec

ADAPTER = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
KEPT = (
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "generation_config.json",
    ADAPTER,
    "*.py",
)
"""Files of the folder that are kept; checkpoints, optimizer states and logs are not. Code is read
only where the spec trusts the model's."""

_MISFITS = (
    RuntimeError,  # sizes that are not those of the configuration
    SafetensorError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    OSError,
)
"""What the libraries raise for a folder that is damaged, or does not fit the base."""


@dataclass(frozen=True)
class Left:
    """The tuned model, ready to be scored."""

    model: nn.Module
    codec: Codec
    method: Method
    """As its folder is read: the trial's own where that fits, else `full` or `peft`."""
    counts: Mapping[str, int]
    """`parameters`, `trainable`, `non_embedding`, as of `methods.count_parameters`."""

    def cost(self, seconds: float, tokens: int) -> dict[str, float]:
        """Costs as `core.record.RungReport.cost` names them.

        Args:
            seconds: Of training, wall-clock.
        """
        adapters = self.counts["trainable"] if has_adapter(self.method) else None
        return {
            "train_seconds": seconds,
            "train_flops": training_flops(self.counts["non_embedding"], tokens, adapters),
            "parameters": float(self.counts["parameters"]),
            "trainable_parameters": float(self.counts["trainable"]),
        }

    def warnings(self, config: TrialConfig) -> list[str]:
        """What the reader of the run should know."""
        if has_adapter(self.method) == has_adapter(config.method):
            return []
        found = "an adapter" if has_adapter(self.method) else "a whole model"
        return [f"the method is {config.method}, and the trainer left {found}"]


def load_left(folder: Path, config: TrialConfig, bases: BaseCache, numerics: Numerics) -> Left:
    """Loads the model that a trainer left.

    Raises:
        TrialFailure: There is none, or it is not one of the trial's base.
    """
    try:
        if (folder / ADAPTER).is_file():
            return _adapter(folder, config, bases, numerics)
        if (folder / "config.json").is_file():
            return _whole(folder, config, bases, numerics)
    except UserError as error:
        raise _unusable(error.problem) from None
    found = ", ".join(sorted(p.name for p in folder.iterdir())[:8])
    raise _unusable(f"neither config.json nor {ADAPTER} is in its folder, but {found or 'nothing'}")


def keep_left(folder: Path, target: Path, left: Left, card: Mapping[str, Any], name: str) -> None:
    """Publishes the model with the base's tokenizer and a card; `folder` is used up.

    Args:
        card: What `Run.export` writes of a run.
        name: Of the card's file.
    """

    def write(into: Path) -> None:
        for path in {p for pattern in KEPT for p in folder.glob(pattern)}:
            # A link may lead to weights that others use.
            (shutil.copy if path.is_symlink() else shutil.move)(str(path), into / path.name)
        left.codec.tokenizer.save_pretrained(into)
        write_json(into / name, {**card, "method": left.method})

    publish(target, write)


def _whole(folder: Path, config: TrialConfig, bases: BaseCache, numerics: Numerics) -> Left:
    ref = config.model
    try:
        model = load_model(folder, numerics.dtype, numerics.attention, ref.trust_remote_code)
    except _MISFITS as error:
        raise _unusable(_first_line(error)) from None
    _refuse_other_shape(model, ref)
    model = model.to(numerics.device)
    return Left(model, bases.codec(ref, model), "full", count_parameters(model))


def _refuse_other_shape(model: nn.Module, ref: ModelRef) -> None:
    """Parameters must be those of the base; embeddings may have got more rows."""
    from transformers import AutoConfig, AutoModelForCausalLM

    options: dict[str, Any] = {"trust_remote_code": ref.trust_remote_code}
    with torch.device("meta"):
        empty = AutoModelForCausalLM.from_config(
            AutoConfig.from_pretrained(ref.path, local_files_only=True, **options), **options
        )
    wanted, found = (dict(m.named_parameters()) for m in (empty, model))
    differ = sorted(wanted.keys() ^ found.keys())
    if differ:
        where = "its model" if differ[0] in found else "the base"
        raise _unusable(f"only {where} has '{differ[0]}': it is no model of {ref.name}")
    tables = {
        id(m.weight)
        for m in (plain(model).get_input_embeddings(), plain(model).get_output_embeddings())
        if m is not None
    }
    for name, given in found.items():
        here, there = tuple(given.shape), tuple(wanted[name].shape)
        grown = id(given) in tables and here[1:] == there[1:] and here[0] >= there[0]
        if here != there and not grown:
            raise _unusable(f"'{name}' has the shape {list(here)}, in {ref.name} {list(there)}")


def _adapter(folder: Path, config: TrialConfig, bases: BaseCache, numerics: Numerics) -> Left:
    if not (folder / ADAPTER_WEIGHTS).is_file():
        raise _unusable(f"{ADAPTER_WEIGHTS} is not beside {ADAPTER}")
    method: Method = config.method if has_adapter(config.method) else "peft"
    base = load_base(bases, config.model, method, numerics)
    try:
        model = load_adapter(base.model, str(folder))
    except _MISFITS as error:
        raise _unusable(
            f"the adapter does not fit {config.model.name} ({_first_line(error)})"
        ) from None
    assert is_wrapped(model)
    size = _read_whole(folder / ADAPTER_WEIGHTS, model, config.model)
    counts = count_parameters(model)
    own = {"trainable": size, "non_embedding": counts["non_embedding"] - size}
    return Left(model, base.codec, method, counts | own)


def _read_whole(weights: Path, model: nn.Module, ref: ModelRef) -> int:
    """Parameters of the adapter, all of which came from the file, as all of the file went in."""
    from peft import get_peft_model_state_dict

    wanted = get_peft_model_state_dict(model, save_embedding_layers=False)
    with safe_open(str(weights), framework="pt") as file:
        found = set(file.keys())
    beyond = sorted(found - wanted.keys() - model.state_dict().keys())
    missing = sorted(wanted.keys() - found)
    if missing or beyond:
        what = f"its file lacks '{missing[0]}'" if missing else f"it has no '{beyond[0]}'"
        raise _unusable(f"the adapter does not fit {ref.name} ({what})")
    return sum(t.numel() for t in wanted.values())


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _unusable(why: str) -> TrialFailure:
    return TrialFailure(
        FailureCause.EXCEPTION,
        f"the trainer ended well, and what it left cannot be used: {why.rstrip('.')}",
    )
