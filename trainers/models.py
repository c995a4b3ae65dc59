"""Base models from folders on this machine, and the numerics they run in.

Weights are read with an explicit dtype, because the library's default follows the folder's, and
from safetensors only. Small bases stay in memory, so that a worker's next run starts from a copy
instead of from disk.
"""

import copy
import logging
from collections import OrderedDict
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from keepgain.core.config import Attention, ModelRef, Runtime
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
    attention: Attention = "auto"
    """Implementation of attention that is asked for."""

    def autocast(self, weights: torch.dtype) -> AbstractContextManager[Any]:
        """The context of a forward pass over weights of dtype `weights`."""
        if weights == self.dtype:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)


def numerics_of(runtime: Runtime) -> Numerics:
    """Resolves `dtype: auto`: bfloat16 on a GPU that has it, float32 elsewhere.

    Raises:
        UserError: A GPU is asked for, or FlashAttention, and what it needs is not there.
    """
    has_gpu = torch.cuda.is_available()
    if runtime.device == "cuda" and not has_gpu:
        raise UserError("device 'cuda' is asked for, and torch sees no GPU.", where="runtime")
    device = torch.device("cuda" if has_gpu and runtime.device != "cpu" else "cpu")
    if runtime.attention == "flash_attention_2":
        _require_flash_attention(device)
    if runtime.dtype != "auto":
        dtype, reason = getattr(torch, runtime.dtype), "as configured"
    elif device.type == "cuda" and torch.cuda.is_bf16_supported():
        dtype, reason = torch.bfloat16, "the GPU has bfloat16"
    else:
        dtype = torch.float32
        reason = "the GPU lacks bfloat16" if device.type == "cuda" else "no GPU: float32 is faster"
    return Numerics(device, dtype, reason, runtime.attention)


def _require_flash_attention(device: torch.device) -> None:
    missing = "no GPU" if device.type != "cuda" else None
    if missing is None and find_spec("flash_attn") is None:
        missing = "no package flash-attn"
    if missing:
        raise UserError(
            f"attention: flash_attention_2 needs a CUDA GPU and the package flash-attn; here is "
            f"{missing}.",
            where="training.attention",
            hint="Use `attention: auto`, which takes PyTorch's own fused attention.",
        )


@dataclass(frozen=True)
class Base:
    """A model that nothing else holds: to be trained or scored, and thrown away."""

    model: nn.Module
    codec: Codec


class BaseCache:
    """Loads base models; keeps the last few small ones to copy from."""

    def __init__(self) -> None:
        self._models: OrderedDict[tuple[Any, ...], nn.Module] = OrderedDict()
        self._codecs: dict[tuple[str, str], Codec] = {}

    def load(
        self,
        ref: ModelRef,
        dtype: torch.dtype,
        device: torch.device,
        attention: Attention = "auto",
    ) -> Base:
        """A fresh copy of the base on `device`, in `dtype`."""
        key = (ref.path, ref.digest, dtype, attention)
        model = self._models.get(key)
        if model is None:
            model = load_model(ref.path, dtype, attention, ref.trust_remote_code)
            self._keep(key, model)
        else:
            self._models.move_to_end(key)
        held = key in self._models
        own = copy.deepcopy(model) if held else model
        return Base(own.to(device), self.codec(ref, model))

    def load_quantized(
        self,
        ref: ModelRef,
        numerics: Numerics,
        form: Literal["int8", "nf4"] = "nf4",
        *,
        key: str = "method",
    ) -> Base:
        """As `load_quantized` reads it; from disk each time."""
        model = load_quantized(ref.path, numerics, ref.trust_remote_code, form, key=key)
        return Base(model, self.codec(ref, model))

    def codec(self, ref: ModelRef, model: nn.Module) -> Codec:
        """The tokenizer that belongs to `ref`; read once per process."""
        key = (ref.path, ref.digest)
        if key not in self._codecs:
            self._codecs[key] = load_codec(
                ref.path, ref.name, embedding_rows(model), ref.trust_remote_code
            )
        return self._codecs[key]

    def _keep(self, key: tuple[Any, ...], model: nn.Module) -> None:
        if _bytes(model) > CACHE_BYTES:
            return
        self._models[key] = model
        while (
            len(self._models) > CACHE_MODELS
            or sum(_bytes(m) for m in self._models.values()) > CACHE_BYTES
        ):
            self._models.popitem(last=False)


def load_model(
    folder: str | Path,
    dtype: torch.dtype,
    attention: Attention = "auto",
    trust_remote_code: bool = False,
) -> nn.Module:
    """Reads a causal language model from its folder, on the CPU, in eval mode.

    Args:
        attention: auto is PyTorch's fused attention (SDPA) where the architecture has it: the
            same function as `eager` without its score matrix in memory.
        trust_remote_code: Run the Python files of the folder.

    Raises:
        UserError: The folder holds no causal language model that the library can read.
    """
    wanted = "sdpa" if attention == "auto" else attention
    options: dict[str, Any] = {"dtype": dtype, "trust_remote_code": trust_remote_code}
    reason = "PyTorch's fused attention" if attention == "auto" else "as configured"
    try:
        try:
            model = _read(folder, attn_implementation=wanted, **options)
        except ValueError as error:
            if attention != "auto" or "scaled_dot_product_attention" not in str(error):
                raise
            wanted, reason = "eager", "this architecture has no SDPA"
            model = _read(folder, attn_implementation=wanted, **options)
    except (OSError, ValueError, ImportError) as error:
        raise _unreadable(Path(folder), error) from None
    log.info("%s: %s attention (%s)", folder, wanted, reason)
    return model


def load_quantized(
    folder: str | Path,
    numerics: Numerics,
    trust_remote_code: bool = False,
    form: Literal["int8", "nf4"] = "nf4",
    *,
    key: str = "method",
) -> nn.Module:
    """Reads a causal language model with its linear layers in 4 or 8 bits, on the GPU.

    nf4: NF4 with quantised constants, products in the dtype of `numerics` (Dettmers et al. 2023,
    arXiv 2305.14314). int8: LLM.int8 (Dettmers et al. 2022, arXiv 2208.07339). PEFT's
    `prepare_model_for_kbit_training` is not used: it would hold norms and embeddings in float32
    while training, and the model as it is served would be another one. What else it does is for
    reentrant checkpointing, which is not used either.

    Args:
        key: Of the spec that asks for it: `method` (of qlora) or `serve`.

    Raises:
        UserError: No GPU, no bitsandbytes, or as of `load_model`.
    """
    from transformers import BitsAndBytesConfig

    missing = "no GPU" if numerics.device.type != "cuda" else None
    if missing is None and find_spec("bitsandbytes") is None:
        missing = "no package bitsandbytes"
    if missing:
        what, hint = f"serve: {form}", f"Remove {form} from `serve`."
        if key == "method":
            what = "method qlora"
            hint = "Use `method: lora`: the same adapters on weights that are not quantised."
        raise UserError(
            f"{what} needs a CUDA GPU and the package bitsandbytes; here is {missing}.",
            where=key,
            hint=hint,
        )

    if form == "int8":
        config = BitsAndBytesConfig(load_in_8bit=True)
    else:
        config = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=numerics.dtype,
        )
    try:
        return _read(
            folder,
            dtype=numerics.dtype,
            trust_remote_code=trust_remote_code,
            quantization_config=config,
            device_map={"": numerics.device},
            attn_implementation=None if numerics.attention == "auto" else numerics.attention,
        )
    except (OSError, ValueError, ImportError) as error:
        raise _unreadable(Path(folder), error) from None


def _read(folder: str | Path, **options: Any) -> nn.Module:
    from transformers import AutoModelForCausalLM, GenerationConfig

    model: Any
    model, info = AutoModelForCausalLM.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, output_loading_info=True, **options
    )
    if info["missing_keys"]:
        # The library would go on with random ones.
        raise ValueError(f"the weights of '{min(info['missing_keys'])}' are missing")
    # A folder may ask for sampling or a repetition penalty; scoring pins its own decoding.
    model.generation_config = GenerationConfig()
    evaluated: nn.Module = model.eval()
    return evaluated


def _unreadable(folder: Path, error: Exception) -> UserError:
    hint = None
    if "trust_remote_code" in str(error):
        problem = "the model's architecture is code in its folder, which is not run."
        hint = "Read that code; `trust_remote_code: true` at the model in the spec runs it."
    elif not any(folder.glob("*.safetensors")) and any(folder.glob("*.bin")):
        problem = "the weights are pickled, and unpickling can run code."
        hint = "Save them as safetensors: `save_pretrained(...)` of transformers does."
    else:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        problem = f"no causal language model can be read here ({lines[0]})."
    return UserError(problem, where=str(folder), hint=hint)


def checkpoint_activations(model: nn.Module) -> None:
    """From now on a training pass keeps the input of each block alone, and the backward pass
    computes the rest again (Chen et al. 2016, arXiv 1604.06174).

    The non-reentrant kind, which gives gradients although no input of a frozen model needs one.

    Raises:
        UserError: The architecture cannot.
    """
    core = plain(model)
    # The older name of it says on each use that it is to go.
    enable = getattr(core, "activation_checkpointing_enable", None)
    try:
        (enable or core.gradient_checkpointing_enable)({"use_reentrant": False})
    except (ValueError, AttributeError) as error:
        raise UserError(
            f"this architecture has no gradient checkpointing ({error}).",
            where="training.gradient_checkpointing",
        ) from None


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
