"""Which settings of a trial may be searched, and what each accepts.

Values are checked against the field of `TrialConfig` that they will fill, so that what a space
allows is by construction what a trial accepts. Some names stand for several fields: `duration` for
the budget and its rungs; `replay_share`, `synthetic_share` and `repeat_limit.SOURCE` for the
mixture; `filter.SOURCE` for the rows of a source.
"""

import difflib
import math
import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, TypeAdapter, ValidationError

from keepgain.core.config import (
    STRENGTHS,
    Count,
    LoraSettings,
    Positive,
    RetentionSettings,
    Share,
    TrialConfig,
)
from keepgain.core.errors import UserError


def _field(model: type[BaseModel], name: str) -> TypeAdapter[Any]:
    info = model.model_fields[name]
    accepted: Any = info.annotation
    return TypeAdapter(Annotated[accepted, *info.metadata] if info.metadata else accepted)


def _join_targets(given: Any) -> str:
    """`all-linear`, or module names in one text: Optuna's choices and MLflow's parameters are
    plain. The order of the names means nothing, so they are sorted."""
    if given == ALL_LINEAR:
        return ALL_LINEAR
    names = given if isinstance(given, list | tuple) else ()
    if not names or not all(isinstance(n, str) and n and "," not in n for n in names):
        raise ValueError(f"must be {ALL_LINEAR} or a list of module names")
    return ",".join(sorted(set(names)))


def split_targets(text: str) -> str | tuple[str, ...]:
    """The field of `LoraSettings` that a value of `lora.targets` stands for."""
    return text if text == ALL_LINEAR else tuple(text.split(","))


ALL_LINEAR = "all-linear"
REPLAY_SHARE = "replay_share"
"""Of all training tokens: what goes to sources of role replay."""
SYNTHETIC_SHARE = "synthetic_share"
"""Of the other training tokens: what goes to sources of role synthetic."""
FILTER = "filter"
"""`filter.SOURCE`: which rows of a source are left out, by the name of a filter."""
NO_FILTER = "none"
REPEAT_LIMIT = "repeat_limit"
"""`repeat_limit.SOURCE`: how often a row of it may be drawn on average."""

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
            "loss",
            "dropout",
            "label_smoothing",
            "neftune_alpha",
            "group_dro_step",
            "balance_strength",
        )
    },
    **{f"lora.{name}": _field(LoraSettings, name) for name in ("rank", "alpha", "dropout")},
    "lora.targets": TypeAdapter(Annotated[str, BeforeValidator(_join_targets)]),
    **{
        f"retention.{name}": _field(RetentionSettings, name) for name in (*STRENGTHS, "temperature")
    },
    "duration": TypeAdapter(Positive),
    "rows": TypeAdapter(Count),
    REPLAY_SHARE: TypeAdapter(Share),
    SYNTHETIC_SHARE: TypeAdapter(Share),
}
"""Name in a space → the type of what it sets; `mixture` is apart. `duration` is a factor on the
budget, `rows` the size of a nested subset of each task source (see `TrialConfig.rows`)."""


OF_SOURCE: dict[str, TypeAdapter[Any]] = {
    FILTER: TypeAdapter(str),
    REPEAT_LIMIT: TypeAdapter(Positive),
}
"""What `NAME.SOURCE` sets."""
_OF_TRAINER = re.compile(r"trainer\.(?!path$)[A-Za-z_][A-Za-z0-9_-]{0,39}")
_PLAIN: TypeAdapter[Any] = TypeAdapter(bool | int | float | str)


def setting_type(name: str) -> TypeAdapter[Any] | None:
    """What a setting accepts; None for a name that cannot be searched. `trainer.NAME` is a setting
    of the user's own trainer: any plain value."""
    kind, _, source = name.partition(".")
    if source and kind in OF_SOURCE:
        return OF_SOURCE[kind]
    return _PLAIN if _OF_TRAINER.fullmatch(name) else SEARCHABLE.get(name)


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
        name: One that `setting_type` knows.
        raw: The value in the YAML file.
        where: `file:space.NAME`, for messages.
        hint: What to do where a real number is given for a whole one.

    Raises:
        UserError: The trial would not accept it.
    """
    if isinstance(raw, float) and not math.isfinite(raw):
        raise UserError(f"not a finite number (given: {raw!r}).", where=where)
    try:
        accepted = setting_type(name)
        assert accepted is not None, name
        return accepted.validate_python(raw, strict=True)
    except ValidationError as error:
        message = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        whole = isinstance(raw, float) and "integer" in message
        if name == "lora.targets":
            hint = "A list is a choice, e.g. [all-linear, [q_proj, v_proj]]."
        raise UserError(
            f"{message} (given: {raw!r}).",
            where=where,
            hint=hint if whole or name == "lora.targets" else None,
        ) from None
