"""Which settings of a trial may be searched, and what each accepts.

Values are checked against the field of `TrialConfig` that they will fill, so that what a space
allows is by construction what a trial accepts.
"""

import difflib
import math
from typing import Annotated, Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from keepgain.core.config import LoraSettings, TrialConfig
from keepgain.core.errors import UserError


def _field(model: type[BaseModel], name: str) -> TypeAdapter[Any]:
    info = model.model_fields[name]
    accepted: Any = info.annotation
    return TypeAdapter(Annotated[accepted, *info.metadata] if info.metadata else accepted)


SEARCHABLE: dict[str, TypeAdapter[Any]] = {
    **{
        name: _field(TrialConfig, name)
        for name in (
            "method",
            "learning_rate",
            "schedule",
            "warmup_share",
            "decay_share",
            "weight_decay",
            "max_grad_norm",
            "batch_size",
            "max_length",
        )
    },
    **{f"lora.{name}": _field(LoraSettings, name) for name in ("rank", "alpha", "dropout")},
}
"""Name in a space → the type of the `TrialConfig` field that it sets; `mixture` is apart."""


def nearest(name: str, known: list[str]) -> str:
    """A hint that names the known names most like `name`, or all of them."""
    like = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    like += [k for k in known if k.split(".")[-1] == name or k.startswith(f"{name}.")]
    if like:
        return f"Did you mean {' or '.join(dict.fromkeys(like))}?"
    return f"Known: {', '.join(known)}."


def check_value(name: str, raw: Any, where: str, hint: str | None = None) -> Any:
    """The value as the trial's field holds it, e.g. 1 as 1.0 for a learning rate.

    Args:
        name: A name in `SEARCHABLE`.
        raw: The value in the YAML file.
        where: `file:space.NAME`, for messages.
        hint: What to do where a real number is given for a whole one.

    Raises:
        UserError: The trial would not accept it.
    """
    if isinstance(raw, float) and not math.isfinite(raw):
        raise UserError(f"not a finite number (given: {raw!r}).", where=where)
    try:
        return SEARCHABLE[name].validate_python(raw, strict=True)
    except ValidationError as error:
        message = error.errors(include_url=False)[0]["msg"]
        whole = isinstance(raw, float) and "integer" in message
        raise UserError(
            f"{message} (given: {raw!r}).", where=where, hint=hint if whole else None
        ) from None
