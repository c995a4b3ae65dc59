"""The plain engine: one process, AdamW, gradients clipped by their norm.

Its checkpoint is one safetensors file of named tensors: weights, both moments and the step count
of each parameter. Nothing is pickled.
"""

import os
import shutil
import sysconfig
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from keepgain.core.config import TrialConfig, has_adapter
from keepgain.core.errors import UserError
from keepgain.trainers.engine import adamw
from keepgain.trainers.methods import trainable
from keepgain.trainers.models import Numerics, plain

FILE = "state.safetensors"

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


def compiled(model: nn.Module) -> Any:
    """The model's forward pass by TorchInductor, for any length of a batch; compiled when it is
    first called.

    Raises:
        UserError: There is no compiler for it on this machine.
    """
    from torch.utils._triton import has_triton

    device = next(model.parameters()).device
    if device.type == "cuda":
        missing = None if has_triton() else "Triton"
    else:
        compiler = os.environ.get("CXX", "g++")
        header = Path(sysconfig.get_path("include")) / "Python.h"
        absent = [
            n
            for n, there in ((compiler, shutil.which(compiler)), (str(header), header.is_file()))
            if not there
        ]
        missing = absent[0] if absent else None
    if missing is not None:
        raise UserError(
            f"torch.compile has no compiler here: {missing} is missing.",
            where="training.compile",
            hint="Install it (a C++ compiler and the headers of Python), or leave `compile` out.",
        )
    return torch.compile(model, dynamic=True)


class TorchEngine:
    """See `engine.Engine`."""

    def __init__(self, model: nn.Module, config: TrialConfig, numerics: Numerics) -> None:
        self.model = model
        self._forward = compiled(plain(model)) if config.runtime.compile else plain(model)
        self._parameters = trainable(model)
        self._optimizer = adamw(self._parameters, config)
        self._max_norm = config.max_grad_norm
        self._numerics = numerics
        # Adapters cast their own inputs; only full weights held in float32 need autocast.
        self._held = numerics.dtype if has_adapter(config.method) else torch.float32

    def forward(self, **inputs: Any) -> Any:
        """See `engine.Engine.forward`."""
        with self._numerics.autocast(self._held):
            return self._forward(**inputs)

    def backward(self, loss: torch.Tensor) -> None:
        """See `engine.Engine.backward`."""
        loss.backward()

    def step(self, learning_rate: float) -> float:
        """See `engine.Engine.step`."""
        norm = torch.nn.utils.clip_grad_norm_(list(self._parameters.values()), self._max_norm)
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return float(norm)

    def save(self, folder: Path) -> None:
        """See `engine.Engine.save`."""
        tensors: dict[str, torch.Tensor] = {}
        for name, parameter in self._parameters.items():
            tensors[f"weight.{name}"] = parameter.detach().cpu().contiguous()
            state = self._optimizer.state.get(parameter, {})
            for key in _MOMENTS if state else ():
                tensors[f"{key}.{name}"] = state[key].detach().cpu().contiguous()
        save_file(tensors, folder / FILE)

    def load(self, folder: Path) -> None:
        """See `engine.Engine.load`."""
        tensors = load_file(folder / FILE)
        weights = {n[7:]: t for n, t in tensors.items() if n.startswith("weight.")}
        check_fit(weights, self._parameters, folder)
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(weights[name])
                if f"exp_avg.{name}" in tensors:
                    self._optimizer.state[parameter] = {
                        # The fused kernel wants its step count beside the parameter.
                        key: tensors[f"{key}.{name}"].to(parameter.device)
                        for key in _MOMENTS
                    }

    def whole(self) -> AbstractContextManager[Any]:
        """Weights are always whole here."""
        return nullcontext()

    def close(self) -> None:
        """Nothing outlives the object."""


def check_fit(
    found: dict[str, torch.Tensor], wanted: dict[str, nn.Parameter], folder: Path
) -> None:
    """Refuses a checkpoint of another model or of another adapter rank, before it is used.

    Raises:
        UserError: Names or shapes differ.
    """
    shapes = {n: tuple(t.shape) for n, t in found.items()}
    expected = {n: tuple(p.shape) for n, p in wanted.items()}
    odd = sorted(n for n in shapes.keys() | expected if shapes.get(n) != expected.get(n))
    if odd:
        raise UserError(
            f"this checkpoint belongs to another model: '{odd[0]}' has shape "
            f"{shapes.get(odd[0])} there and {expected.get(odd[0])} here ({len(odd)} differ).",
            where=str(folder),
        )
