"""Models as they are scored: a base, a base with an adapter, or whole tuned weights; and in which
form their weights are held.

Form None is that of the sweep itself: the dtype it computes in, and under an adapter of QLoRA its
base in 4 bits. The others are how a team may serve the model (`core.config.ServeForm`):

* bf16: all weights in bfloat16, and all products.
* int8, nf4: linear layers quantised as they are read, from the exported folder without calibration
  data (`models.load_quantized`); embeddings, output head and norms in bfloat16.

An adapter is put, as it was saved, on the base held in that form, as servers do that hold one base
for many adapters. Merging it first and quantising the sum is another way, with other errors; it is
what `sweep export --merge` prepares, and not what is scored here.

Scorers that compare with the base compare an adapter with the base in the same form, and whole
weights with the base as the sweep computes.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from keepgain.core.config import ScoreConfig, ServeForm, has_adapter
from keepgain.trainers.methods import load_adapter, load_base
from keepgain.trainers.models import BaseCache, Numerics, load_model, load_quantized
from keepgain.trainers.tokens import Codec


def numerics_as_served(numerics: Numerics, form: ServeForm | None) -> Numerics:
    """What products are computed in."""
    if form is None:
        return numerics
    return replace(numerics, dtype=torch.bfloat16, reason=f"served as {form}")


def load_scored(
    bases: BaseCache, config: ScoreConfig, sweep: Path, card: Mapping[str, Any], numerics: Numerics
) -> tuple[nn.Module, Codec]:
    """The model that `config` asks to score, and its tokenizer.

    Args:
        bases: Gives bases that nothing else holds.
        config: Names base, tuned weights and form.
        sweep: The sweep's folder, which holds the tuned weights.
        card: What the folder of the tuned weights says about itself.
        numerics: As of `numerics_as_served`.

    Raises:
        UserError: Weights cannot be read, or not in this form here.
    """
    ref, form = config.model, config.served
    tuned = None if config.checkpoint is None else sweep / config.checkpoint
    if tuned is not None and not has_adapter(card["method"]):
        if form in ("int8", "nf4"):
            model = load_quantized(tuned, numerics, ref.trust_remote_code, form, key="serve")
        else:
            model = load_model(tuned, numerics.dtype, numerics.attention, ref.trust_remote_code)
            model = model.to(numerics.device)
        return model, bases.codec(ref, model)
    if form in ("int8", "nf4"):
        base = bases.load_quantized(ref, numerics, form, key="serve")
    elif form is None and tuned is not None:
        base = load_base(bases, ref, card["method"], numerics)
    else:
        base = bases.load(ref, numerics.dtype, numerics.device, numerics.attention)
    return (base.model if tuned is None else load_adapter(base.model, str(tuned))), base.codec


def held_bytes(model: nn.Module) -> int:
    """Bytes of all weights as they are held, adapters and what dequantises included; tied weights
    once."""
    tensors = [t for t in model.state_dict().values() if isinstance(t, torch.Tensor)]
    return sum({t.data_ptr(): t.nbytes for t in tensors}.values())
