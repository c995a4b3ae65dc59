"""What the methods that a sweep may train by need of the spec and of the machine."""

import os
from collections.abc import Iterator
from importlib.util import find_spec

from keepgain.core.config import LINEAR, Method
from keepgain.core.errors import UserError
from keepgain.sweeps.gates.findings import Finding
from keepgain.sweeps.gates.resources import Machine
from keepgain.sweeps.search.dimensions import ends
from keepgain.sweeps.search.space import Space
from keepgain.sweeps.spec_sweep import SweepSpec
from keepgain.trainers.peft_options import check_peft

_FLASH = "flash_attention_2"


def methods_of(spec: SweepSpec, space: Space) -> tuple[Method, ...]:
    """The methods that trials may train by."""
    found = next((p for p in space.parameters if p.name == "method"), None)
    return (spec.training.method,) if found is None else ends(found.dimension)


def refuse_methods(spec: SweepSpec, space: Space) -> None:
    """Refuses methods without the settings they need, and settings that cannot work together.

    Raises:
        UserError: Its place is the dotted key alone.
    """
    training, methods = spec.training, methods_of(spec, space)
    if "peft" in methods and training.peft is None:
        raise UserError(
            "the method peft needs a tuner.",
            where=_key(spec),
            hint="Add e.g. `training: {peft: {type: VERA, r: 64, target_modules: all-linear}}`.",
        )
    if training.peft is not None:
        check_peft(training.peft, "training.peft")
        if "peft" not in methods:
            raise UserError(
                "a tuner is set, but no trial has the method peft.",
                where="training.peft",
                hint="Add `peft` to `method`, or leave the tuner out.",
            )
    if "qlora" in methods and training.engine != "torch":
        raise UserError(
            f"the method qlora cannot be trained by engine {training.engine} here.",
            where="training.engine",
            hint="Use `engine: torch`, or the method lora.",
        )
    if training.interpolate:
        _refuse_interpolation(spec, methods)
    if spec.resources.device == "cpu":
        for key, what, instead in _of_gpu(spec, methods):
            raise UserError(f"{what} needs a CUDA GPU, not `device: cpu`.", where=key, hint=instead)


def _refuse_interpolation(spec: SweepSpec, methods: tuple[Method, ...]) -> None:
    """What `trainers.interpolate` refuses of every trial is refused before any."""
    others = [m for m in methods if m not in LINEAR]
    if spec.trainer is not None:
        problem = "a trainer of your own leaves a model, which is scored as it is."
        hint = "Leave `interpolate` out."
    elif others:
        problem = f"the method {others[0]} has no point between base and tuned model: it is not "
        problem += "linear in its weights."
        hint = f"Search {', '.join(LINEAR[:-1])} or {LINEAR[-1]}, or leave `interpolate` out."
    elif spec.training.zero_stage == 3:
        problem = "under ZeRO-3 no process holds the weights that are interpolated."
        hint = "Use zero_stage 0 to 2, or leave `interpolate` out."
    else:
        return
    raise UserError(problem, where="training.interpolate", hint=hint)


def check_gpu(spec: SweepSpec, space: Space, machine: Machine) -> list[Finding]:
    """An error for each setting that needs a GPU where the machine has none, and for forms to serve
    in without their package; a Ray cluster is not looked at here."""
    if os.environ.get("RAY_ADDRESS"):
        return []
    if machine.gpus:
        return list(_without_package(spec))
    return [
        Finding(
            code="needs_gpu",
            severity="error",
            where=key,
            message=f"{what} needs a CUDA GPU, and this machine has none.",
            hint=instead,
        )
        for key, what, instead in _of_gpu(spec, methods_of(spec, space))
    ]


def _without_package(spec: SweepSpec) -> Iterator[Finding]:
    if (forms := _quantised(spec)) and find_spec("bitsandbytes") is None:
        yield Finding(
            code="needs_package",
            severity="error",
            where="serve",
            message=f"serving in {' and '.join(forms)} needs the package bitsandbytes, which is "
            "not here.",
            hint=f"Install it, or remove {' and '.join(forms)} from `serve`.",
        )


def _quantised(spec: SweepSpec) -> list[str]:
    return [form for form in spec.serve if form != "bf16"]


def _key(spec: SweepSpec) -> str:
    return "space.method" if "method" in spec.space else "training.method"


def _of_gpu(spec: SweepSpec, methods: tuple[Method, ...]) -> Iterator[tuple[str, str, str]]:
    """(key, what needs a GPU, what to do without one)."""
    if "qlora" in methods:
        yield (
            _key(spec),
            "the method qlora (4-bit weights by the package bitsandbytes)",
            "Use lora: the same adapters on weights that are not quantised.",
        )
    if forms := " and ".join(_quantised(spec)):
        yield (
            "serve",
            f"serving in {forms} (weights quantised by the package bitsandbytes)",
            f"Remove {forms} from `serve`.",
        )
    if spec.training.attention == _FLASH:
        yield (
            "training.attention",
            "flash_attention_2",
            "Use `attention: auto`, which takes PyTorch's own fused attention.",
        )
