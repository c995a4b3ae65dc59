"""What a sweep will keep on disk at most, and whether there is room for it where it will lie.

Of an object store nobody can ask how much room it has; what goes there is shown and not checked.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from keepgain.core.errors import UserError
from keepgain.core.publish import located
from keepgain.core.schema import StrictModel
from keepgain.core.units import human_bytes
from keepgain.sweeps.kept_files import checkpoint_base
from keepgain.sweeps.loaded_spec import spec_space
from keepgain.sweeps.plan.course import finalists_of, stages_of, trials_of
from keepgain.sweeps.plan.speed import Hardware
from keepgain.sweeps.plan.stages import StagePlan
from keepgain.sweeps.plan.trial import ModelPlan, model_plan
from keepgain.sweeps.prepare import Prepared

RECORD_BYTES = 300_000
"""Of a run, for item scores, log and MLflow: 0.2 to 0.3 MB measured."""
NEARLY_FULL = 0.8


class DiskPart(StrictModel):
    """What lies on disk at most."""

    what: str
    bytes: int
    arithmetic: str
    place: str = ""
    """Folder or URL; empty: the sweep's folder."""


def disk_parts(
    prepared: Prepared, models: Sequence[ModelPlan], stages: Sequence[StagePlan]
) -> tuple[DiskPart, ...]:
    """Checkpoints of paused trials, tuned weights of confirmed runs, and the record."""
    trials, finalists = trials_of(prepared), finalists_of(prepared, models, rival=True)
    seeds = prepared.spec.confirm.most
    paused = len(prepared.rungs) > 1
    place = prepared.spec.storage.checkpoints or ""
    parts = []
    for m in models:
        dearest = max(m.methods, key=lambda p: p.checkpoint_bytes)
        if paused:
            parts.append(
                _part(f"{m.model} checkpoints", trials[m.model], dearest.checkpoint_bytes, place)
            )
        count = finalists[m.model] * seeds
        parts.append(_part(f"{m.model} tuned weights", count, dearest.export_bytes))
    parts.append(_part("record", sum(s.most.runs for s in stages), RECORD_BYTES))
    return tuple(parts)


def free_bytes(place: Path) -> int:
    """Free on the file system that has, or will have, the folder."""
    there = next(p for p in (place, *place.parents) if p.exists())
    return shutil.disk_usage(there).free


def check_disk(
    parts: Sequence[DiskPart], folder: Path, held: int = 0, held_apart: int = 0
) -> tuple[str, ...]:
    """Compares what may be kept with what is free; returns warnings.

    Args:
        folder: Of the sweep, whether it is there or not.
        held: Bytes that the sweep has there already.
        held_apart: Bytes of checkpoints that it has in another folder already.

    Raises:
        UserError: It does not fit, with the sums.
    """
    warnings: tuple[str, ...] = ()
    for place, own in _by_file_system(parts, folder).items():
        total, free = sum(p.bytes for p in own), free_bytes(place)
        there = held * any(not p.place for p in own) + held_apart * any(p.place for p in own)
        total -= min(total, there)
        what = f"the sweep may keep {human_bytes(total)} on disk, and {human_bytes(free)} are free"
        if total > free:
            sums = "\n".join(f"{human_bytes(p.bytes):>9}  {p.what}: {p.arithmetic}" for p in own)
            raise UserError(
                f"{what} at {place}:\n{sums}\n",
                where="disk",
                hint="Free some space, lower trials_per_model, confirm.seeds or the rungs, or put "
                "checkpoints elsewhere (storage.checkpoints).",
            )
        if total > NEARLY_FULL * free:
            warnings += (f"{what} at {place}.",)
    return warnings


def preflight_disk(prepared: Prepared, folder: Path, *, gpus: bool) -> tuple[str, ...]:
    """As `check_disk`, for a sweep about to start or to go on in `folder`.

    Args:
        gpus: Trials may have GPUs; weights are then written in bfloat16 if `dtype` is `auto`.

    Raises:
        UserError: It does not fit.
    """
    if (folder / "decision" / "decision.json").exists():
        return ()
    # Beside the dtype, sizes of files do not depend on where trials compute.
    dtype = _dtype(prepared, gpus)
    hardware = Hardware(label="any", gpu=None, gpus=0.0, cpus=1.0, dtype=dtype, engine="torch")
    space = spec_space(prepared.loaded)
    models = tuple(model_plan(prepared, space, m, hardware) for m in prepared.models)
    parts = disk_parts(prepared, models, tuple(stages_of(prepared, space, models, 1)))
    base = checkpoint_base(prepared)
    apart = located(folder, base) if base is not None else None
    held_apart = _held(apart) if isinstance(apart, Path) else 0
    return check_disk(parts, folder, _held(folder), held_apart)


def _by_file_system(parts: Sequence[DiskPart], folder: Path) -> Mapping[Path, list[DiskPart]]:
    """Parts that share a file system are one sum; those on a URL are left out."""
    found: dict[Path, list[DiskPart]] = {}
    devices: dict[int, Path] = {}
    for part in sorted(parts, key=lambda p: p.place):  # the sweep's folder first
        place = located(folder, part.place) if part.place else folder
        if isinstance(place, Path):
            there = next(p for p in (place, *place.parents) if p.exists())
            found.setdefault(devices.setdefault(os.stat(there).st_dev, place), []).append(part)
    return found


def _dtype(prepared: Prepared, gpus: bool) -> str:
    """Of the exported weights; the smaller one if in doubt: what would fit is not to be refused."""
    asked, resources = prepared.spec.training.dtype, prepared.spec.resources
    if asked != "auto":
        return asked
    none = not gpus or resources.device == "cpu" or resources.gpus_per_trial == 0
    return "float32" if none else "bfloat16"


def _held(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file() and not p.is_symlink())


def _part(what: str, count: int, each: int, place: str = "") -> DiskPart:
    arithmetic = f"{count} × {human_bytes(each)}"
    return DiskPart(what=what, bytes=count * each, arithmetic=arithmetic, place=place)
