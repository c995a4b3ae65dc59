"""`trainer:` of a spec: a trainer of the user's own, and which keys mean nothing beside it."""

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue, field_validator, model_validator

from keepgain.core.config import TrainerRef
from keepgain.core.errors import UserError
from keepgain.core.identity import fingerprint
from keepgain.core.redaction import secrets_in
from keepgain.core.schema import StrictModel
from keepgain.core.scorers import users_function
from keepgain.core.users_code import code_digest, located

if TYPE_CHECKING:
    from keepgain.sweeps.spec_sweep import SweepSpec

SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,39}")
_SCRIPT = re.compile(r".*\.(py|sh|pl|rb|js)")
OURS = (
    "engine",
    "zero_stage",
    "deepspeed",
    "micro_batch_size",
    "packing",
    "gradient_checkpointing",
    "compile",
    "early_stopping",
)
"""Keys of `training` that say how Keepgain itself trains."""


class TrainerSpec(StrictModel):
    """A command, or a function; `module:function` alone is a function."""

    command: tuple[str, ...] | None = None
    """Words; files are looked for in the spec's folder."""
    function: str | None = None
    """`module:function`, installed or in the spec's folder."""
    files: tuple[str, ...] = ()
    """Further files of the spec's folder whose change makes other trials."""
    settings: dict[str, JsonValue] = {}
    """Passed on; `trainer.NAME` in the space varies them."""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return {"function": value} if isinstance(value, str) else value

    @field_validator("function")
    @classmethod
    def _is_entry(cls, value: str | None) -> str | None:
        if value is not None and users_function(value) != value:
            raise ValueError("must be `module:function`")
        return value

    @field_validator("settings")
    @classmethod
    def _names(cls, value: dict[str, JsonValue]) -> dict[str, JsonValue]:
        for name in value:
            if not SETTING.fullmatch(name):
                raise ValueError(f"the name '{name[:60]}' must be of A-Z a-z 0-9 _ -")
        if _names_path(value):
            raise ValueError("`path` is no name of a setting: paths are not part of identities")
        return value

    @model_validator(mode="after")
    def _one_kind(self) -> "TrainerSpec":
        if bool(self.command) == (self.function is not None):
            raise ValueError("give exactly one of `command` and `function`")
        return self


def trainer_ref(trainer: TrainerSpec, folder: Path, where: str) -> TrainerRef:
    """The trainer with the digest of its files.

    Args:
        folder: The spec's.
        where: `file:trainer (line n)`, for messages.

    Raises:
        UserError: A program, script, file or module that is not there.
    """
    command, here = trainer.command or (), str(folder)
    for word in (*trainer.files, *(w for w in command if _SCRIPT.fullmatch(w))):
        if not Path(folder, word).is_file():
            raise UserError(f"there is no file '{word}' in {folder}.", where=where)
    first = command[0] if command else "python"
    if first != "python" and not located(first, here) and shutil.which(first) is None:
        raise UserError(
            f"there is no program '{first}', neither installed nor in {folder}.", where=where
        )
    try:
        code = code_digest(trainer.function, command, here)
    except UserError as error:
        raise UserError(error.problem, where=where, hint=error.hint) from None
    if trainer.files:
        code = fingerprint([code, code_digest(None, trainer.files, here)])
    return TrainerRef(
        command=command,
        function=trainer.function,
        settings=trainer.settings,
        path=here,
        code=code,
    )


def refuse_beside_trainer(spec: "SweepSpec") -> None:
    """Refuses settings that only Keepgain's own trainer obeys.

    Raises:
        UserError: Its place is the dotted key alone.
    """
    searched = [name for name in spec.space if name.startswith("trainer.")]
    if spec.trainer is None:
        if searched:
            raise UserError(
                f"'{searched[0]}' belongs to a trainer of your own, and there is none.",
                where=f"space.{searched[0]}",
                hint="Add e.g. `trainer: {command: [python, train.py]}`.",
            )
        return
    for name in OURS:
        if name in spec.training.model_fields_set:
            raise UserError(
                f"`{name}` says how Keepgain itself trains, and here a trainer of your own does.",
                where=f"training.{name}",
                hint=f"Leave it out, or pass it on by `trainer: {{settings: {{{name}: ...}}}}`.",
            )
    _refuse_secrets(spec, spec.trainer)
    if spec.training.rungs != (1.0,):
        raise UserError(
            "a trainer of your own is called once, to the end of the budget.",
            where="training.rungs",
            hint="Leave `rungs` out.",
        )
    if spec.resources.workers_per_trial > 1:
        raise UserError(
            "a trainer of your own is called once, and starts its processes itself.",
            where="resources.workers_per_trial",
            hint="Give it devices with `gpus_per_trial`, and e.g. `command: [torchrun, ...]`.",
        )


def _refuse_secrets(spec: "SweepSpec", trainer: TrainerSpec) -> None:
    """They would be part of each trial's id and configuration, which are written down."""
    varied = {k: v for k, v in spec.space.items() if k.startswith("trainer.")}
    for where, value in (
        ("trainer.settings", trainer.settings),
        ("trainer.command", trainer.command),
        ("space", varied),
    ):
        key = next(secrets_in(value, path=where), None)
        if key is not None:
            raise UserError(
                "a secret cannot be a setting: settings are recorded.",
                where=key,
                hint="Set it in the environment, which trainers inherit, and write the variable's "
                "name here, as `$NAME`.",
            )


def _names_path(value: JsonValue) -> bool:
    if isinstance(value, dict):
        return "path" in value or any(map(_names_path, value.values()))
    return isinstance(value, list) and any(map(_names_path, value))
