"""`models` of `sweep.yaml`: the base models."""

from typing import Any

from pydantic import model_validator

from keepgain.core.config import Count
from keepgain.core.schema import StrictModel


class ModelSpec(StrictModel):
    """A base model: a folder, or a Hugging Face Hub id at a revision."""

    name: str | None = None
    """Label in every table; default: the last part of the path or id."""
    path: str | None = None
    id: str | None = None
    revision: str | None = None
    """Branch, tag or commit of a hub id; the commit found is recorded."""
    start: str | None = None
    """`SWEEP/TRIAL`: tune a model that an earlier sweep tuned, in place of a folder or id."""
    reference: str | None = None
    """Of `start`: folder or id of the original base that forgetting is measured against too."""
    trials: Count | None = None
    """Trials of this base model; default: `search.trials_per_model`. Unequal effort is flagged."""
    trust_remote_code: bool = False
    """Run the model's own Python files. A hub id then needs a full commit hash as `revision`."""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return {"id": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_place(self) -> "ModelSpec":
        places = [n for n in ("path", "id", "start") if getattr(self, n) is not None]
        if len(places) != 1:
            raise ValueError(
                "give exactly one of `path` (a folder), `id` (a hub id) and `start` (SWEEP/TRIAL)"
            )
        if (self.start is None) != (self.reference is None):
            raise ValueError("`start` and `reference` belong together")
        if self.path is not None and self.revision is not None:
            raise ValueError("`revision` belongs to a hub id, not to a folder")
        return self
