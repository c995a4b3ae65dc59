"""Base models from folders on this machine, and the numerics they run in.

Weights are read with an explicit dtype, because the library's default follows the folder's. Small
bases stay in memory, so that a worker's next run starts from a copy instead of from disk.
"""

import copy
import logging
from collections import OrderedDict
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from keepgain.core.config import ModelRef, Runtime
from keepgain.core.errors import UserError
from keepgain.trainers.tokens import Codec, load_codec

log = logging.getLogger(__name__)

CACHE_BYTES = 2 << 30
"""Larger bases are read from disk for each run."""
CACHE_MODELS = 4


@dataclass(frozen=True)
class Numerics:
    """Where and in which precision a run computes."""

    device: torch.device
    dtype: torch.dtype
    """Of matrix products and of the model as it is scored and served."""
    reason: str

    def autocast(self, weights: torch.dtype) -> AbstractContextManager[Any]:
        """The context of a forward pass over weights of dtype `weights`."""
        if weights == self.dtype:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)


def numerics_of(runtime: Runtime) -> Numerics:
    """Resolves `auto`: bfloat16 on a GPU that has it, float32 elsewhere.

    Raises:
        UserError: A GPU is asked for and there is none.
    """
    has_gpu = torch.cuda.is_available()
    if runtime.device == "cuda" and not has_gpu:
        raise UserError("device 'cuda' is asked for, and torch sees no GPU.", where="runtime")
    device = torch.device("cuda" if has_gpu and runtime.device != "cpu" else "cpu")
    if runtime.dtype != "auto":
        return Numerics(device, getattr(torch, runtime.dtype), "as configured")
    if device.type == "cuda" and torch.cuda.is_bf16_supported():
        return Numerics(device, torch.bfloat16, "the GPU has bfloat16")
    reason = "the GPU lacks bfloat16" if device.type == "cuda" else "no GPU: float32 is faster"
    return Numerics(device, torch.float32, reason)


@dataclass(frozen=True)
class Base:
    """A model that nothing else holds: to be trained or scored, and thrown away."""

    model: nn.Module
    codec: Codec


class BaseCache:
    """Loads base models; keeps the last few small ones to copy from."""

    def __init__(self) -> None:
        self._models: OrderedDict[tuple[str, str, torch.dtype], nn.Module] = OrderedDict()
        self._codecs: dict[tuple[str, str], Codec] = {}

    def load(self, ref: ModelRef, dtype: torch.dtype, device: torch.device) -> Base:
        """A fresh copy of the base on `device`, in `dtype`."""
        key = (ref.path, ref.digest, dtype)
        model = self._models.get(key)
        if model is None:
            model = load_model(ref.path, dtype)
            self._keep(key, model)
        else:
            self._models.move_to_end(key)
        held = key in self._models
        own = copy.deepcopy(model) if held else model
        return Base(own.to(device), self.codec(ref, model))

    def codec(self, ref: ModelRef, model: nn.Module) -> Codec:
        """The tokenizer that belongs to `ref`; read once per process."""
        key = (ref.path, ref.digest)
        if key not in self._codecs:
            self._codecs[key] = load_codec(ref.path, ref.name, embedding_rows(model))
        return self._codecs[key]

    def _keep(self, key: tuple[str, str, torch.dtype], model: nn.Module) -> None:
        if _bytes(model) > CACHE_BYTES:
            return
        self._models[key] = model
        while (
            len(self._models) > CACHE_MODELS
            or sum(_bytes(m) for m in self._models.values()) > CACHE_BYTES
        ):
            self._models.popitem(last=False)


def load_model(folder: str | Path, dtype: torch.dtype) -> nn.Module:
    """Reads a causal language model from its folder, on the CPU, in eval mode.

    Raises:
        UserError: The folder holds no causal language model that the library can read.
    """
    from transformers import AutoModelForCausalLM, GenerationConfig

    options: dict[str, Any] = {
        "dtype": dtype,
        "trust_remote_code": False,
        "local_files_only": True,
    }
    try:
        try:
            model = AutoModelForCausalLM.from_pretrained(
                folder, attn_implementation="sdpa", **options
            )
        except ValueError as error:
            if "scaled_dot_product_attention" not in str(error):
                raise
            log.info("%s: this architecture has no SDPA; eager attention is used", folder)
            model = AutoModelForCausalLM.from_pretrained(folder, **options)
    except (OSError, ValueError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(
            f"no causal language model can be read here ({lines[0]}).", where=str(folder)
        ) from None
    # A folder may ask for sampling or a repetition penalty; scoring pins its own decoding.
    model.generation_config = GenerationConfig()
    return model.eval()


def embedding_rows(model: nn.Module) -> int:
    """Rows of the input embedding: valid token ids are below."""
    rows: int = plain(model).get_input_embeddings().weight.shape[0]
    return rows


def max_positions(model: nn.Module) -> int | None:
    """The longest sequence that the model was made for; None if its configuration does not say."""
    limit = getattr(plain(model).config, "max_position_embeddings", None)
    return int(limit) if limit else None


def plain(model: nn.Module) -> Any:
    """The Transformers model inside a PEFT wrapper (adapters stay active), or the model itself."""
    wrapper: Any = model
    return wrapper.get_base_model() if hasattr(model, "get_base_model") else model


def _bytes(model: nn.Module) -> int:
    return sum(p.numel() * p.element_size() for p in model.parameters())
