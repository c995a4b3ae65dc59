"""DeepSpeed checkpoints that are read by another number of ranks or at another ZeRO stage.

DeepSpeed converts them to one file a parameter (its universal checkpoints; Lian et al. 2024, arXiv
2406.18820). Proven here between ZeRO 1 and 2, with any numbers of ranks.
"""

import uuid
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from typing import Any

from keepgain.core.errors import UserError
from keepgain.core.publish import TEMPORARY
from keepgain.trainers.engine_deepspeed import FOLDER, TAG, UNIVERSAL
from keepgain.trainers.ranks import Place

STAGES = (1, 2)


def moved(written: dict[str, Any], here: dict[str, Any], where: str) -> str | None:
    """What differs between the runtime that wrote a checkpoint and this one; None if nothing.

    Raises:
        UserError: A checkpoint cannot be moved so.
    """
    names = ("engine", "world_size", "zero_stage")
    differ = [n for n in names if written[n] != here[n]]
    stages = {written["zero_stage"], here["zero_stage"]}
    if differ and ("engine" in differ or not stages.issubset(STAGES)):
        name = differ[0]
        raise UserError(
            f"this checkpoint was written with {name} {written[name]} and cannot be continued with "
            f"{here[name]}.",
            where=where,
            hint="Between ZeRO 1 and 2 it can, with any number of ranks.",
        )
    return ", ".join(f"{n} {written[n]} (now {here[n]})" for n in differ) or None


@contextmanager
def converted(folder: Path, place: Place) -> Iterator[Path]:
    """A folder for `DeepSpeedEngine.load` with the state of `folder`; collective.

    The leading rank writes it, some 12 bytes a parameter; it is gone afterwards.
    """
    scratch = folder.parent / f"{TEMPORARY}{uuid.uuid4().hex}"
    try:
        if place.leads:
            _convert(folder / FOLDER / TAG, scratch / FOLDER / UNIVERSAL)
        yield Path(place.told(str(scratch) if place.leads else None))
        place.wait()
    finally:
        rmtree(scratch, ignore_errors=True)


def _convert(source: Path, target: Path) -> None:
    from deepspeed.checkpoint.ds_to_universal import main

    main(
        Namespace(
            input_folder=str(source),
            output_folder=str(target),
            num_extract_workers=1,
            num_merge_workers=1,
            keep_temp_folder=False,
            strict=True,
            # Only pipelines and split tensors have any.
            inject_missing_state=True,
        )
    )
