"""`training.deepspeed` of a spec: a user's DeepSpeed settings beside what the spec itself says."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue

from keepgain.core.errors import UserError
from keepgain.sweeps.loaded_spec import LoadedSpec
from keepgain.trainers.deepspeed_settings import Own, passed_on

KEY = "training.deepspeed"


def deepspeed_settings(loaded: LoadedSpec) -> dict[str, JsonValue] | None:
    """What goes to DeepSpeed beside Keepgain's own values; None if nothing is given.

    Raises:
        UserError: The file cannot be read, or `deepspeed_settings.passed_on` refuses a key.
    """
    given = loaded.spec.training.deepspeed
    if given is None:
        return None
    stage = loaded.spec.training.zero_stage
    if isinstance(given, str):
        try:
            return passed_on(_read(loaded, given), _own(loaded), stage)
        except UserError as error:  # the same fault, with its file
            where = f"{loaded.folder / given}:{error.where}" if error.where else loaded.where(KEY)
            raise UserError(error.problem, where=where, hint=error.hint) from None
    try:
        return passed_on(given, _own(loaded), stage)
    except UserError as error:  # the same fault, with its line
        where = loaded.where(f"{KEY}.{error.where}")
        raise UserError(error.problem, where=where, hint=error.hint) from None


def _read(loaded: LoadedSpec, path: str) -> Mapping[str, Any]:
    try:
        value = json.loads((loaded.folder / path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"'{path}' cannot be read as JSON ({error}).",
            hint="Name a file beside the spec, or write the settings here as a mapping.",
        ) from None
    if not isinstance(value, dict):
        raise UserError(f"'{path}' must hold one JSON object.")
    return value


def _own(loaded: LoadedSpec) -> dict[str, Own]:
    """Dotted DeepSpeed key → what Keepgain sets there; what the space varies has no one value."""
    training, world = loaded.spec.training, loaded.spec.resources.workers_per_trial

    def of(key: str, value: JsonValue = None, shown: str | None = None) -> Own:
        return Own(loaded.where(f"training.{key}"), value, shown or str(getattr(training, key)))

    def searched(key: str) -> Own:
        if key not in loaded.spec.space:
            return of(key, getattr(training, key))
        return Own(loaded.where(f"space.{key}"), None, "searched")

    batch, dtype = searched("batch_size"), training.dtype
    rows = training.batch_size // world
    micro = min(training.micro_batch_size or rows, rows)
    varies = batch.value is None
    cut = batch if varies else of("micro_batch_size", micro, f"{micro} rows of {rows} a worker")
    steps = batch if varies else Own(cut.where, rows // micro, f"{rows // micro} x {micro} rows")
    bf16 = {"bfloat16": True, "float32": False}.get(dtype)

    def fixed(value: JsonValue) -> Own:
        return Own("its optimizer", value, "torch's AdamW with betas 0.9, 0.999 and eps 1e-8")

    return {
        "train_batch_size": batch,
        "train_micro_batch_size_per_gpu": cut,
        "gradient_accumulation_steps": steps,
        "gradient_clipping": searched("max_grad_norm"),
        "gradient_allreduce_op": fixed("mean"),
        "zero_allow_untested_optimizer": fixed(True),
        "zero_force_ds_cpu_optimizer": fixed(False),
        "zero_optimization.stage": of("zero_stage", training.zero_stage),
        "bf16.enabled": of("dtype", bf16),
        "fp16.enabled": of("dtype", False),
        "optimizer.type": fixed("AdamW"),
        "optimizer.params.lr": searched("learning_rate"),
        "optimizer.params.weight_decay": searched("weight_decay"),
        "optimizer.params.betas": fixed([0.9, 0.999]),
        "optimizer.params.eps": fixed(1e-8),
        "optimizer.params.torch_adam": fixed(True),
        "optimizer.params.adam_w_mode": fixed(True),
        "scheduler.type": of("schedule"),
    }
