"""`resources` and `storage` of `sweep.yaml`: where trials run, and where their files lie.

None of it is part of a sweep's identity.
"""

import re
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from keepgain.core.config import Count, Positive
from keepgain.core.launch import GPU_TYPE_LABEL, Placement
from keepgain.core.schema import StrictModel

_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_LABEL_KEY = re.compile(rf"([a-z0-9.-]{{1,253}}/)?{_LABEL_VALUE.pattern}")


class ResourcesSpec(StrictModel):
    """Where trials run; not part of the sweep's identity."""

    cpus_per_trial: Positive | None = None
    """Default: 1."""
    gpus_per_trial: Annotated[float, Field(ge=0)] | None = None
    """Default: 1 where the machine has a GPU, else 0."""
    slots: Count | None = None
    """Trials at a time; default: as many as fit."""
    workers_per_trial: Count = 1
    """Processes of one trial; more than 1 need `training.engine: deepspeed`."""
    placement: Placement = "strict_pack"
    """Of the workers of a trial: on few machines, on many, on one (default), each on its own."""
    gpu_type: str | None = None
    """As Ray calls it, e.g. `H100`; default: any."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Of the nodes that trials may run on (`ray start --labels`)."""
    collective_timeout_seconds: Positive = 1800.0
    """How long a worker waits for the others of its trial."""
    hang_seconds: Positive = 1800.0
    """A worker that gives no sign of life for so long is lost, and its trial tried again."""
    device: Literal["auto", "cpu", "cuda"] = "auto"

    @model_validator(mode="after")
    def _types_need_gpus(self) -> Self:
        if self.gpu_type is not None and (self.gpus_per_trial == 0 or self.device == "cpu"):
            raise ValueError("`gpu_type` asks for a type of GPU, and trials are to have none")
        for key, value in (*self.labels.items(), (GPU_TYPE_LABEL, self.gpu_type or "any")):
            if not (_LABEL_KEY.fullmatch(key) and _LABEL_VALUE.fullmatch(value)):
                raise ValueError(f"'{key}: {value}' is no label: letters, digits, `-`, `_` and `.`")
        return self


KeepModels = Literal["all", "front", "decided"]


class StorageSpec(StrictModel):
    """Where large files lie and which stay; not part of the sweep's identity."""

    checkpoints: str | None = None
    """An absolute folder that all nodes share, or a URL such as `s3://bucket/folder`; default: the
    sweep's folder."""
    keep_models: KeepModels = "all"
    """Confirmed runs whose weights stay when the sweep has decided: see `sweeps.kept_files`."""
