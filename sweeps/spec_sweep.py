"""A whole `sweep.yaml` as a strict model, with its own few keys; those with keys of their own are
in `sweeps.spec_...`, each with its default, its bounds and what it means.

`sweeps.spec` loads the file; what keys must satisfy together is in `sweeps.spec_checks`.
"""

import re
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator

from keepgain.core.config import ServeForm
from keepgain.core.endpoint.spec import EndpointSpec
from keepgain.core.schema import StrictModel
from keepgain.core.store.names import RESERVED_TAGS
from keepgain.sweeps.gates.catalogue import refuse_unknown
from keepgain.sweeps.gates.findings import NO_REASON
from keepgain.sweeps.spec_data import DataRules
from keepgain.sweeps.spec_made import with_originals
from keepgain.sweeps.spec_models import ModelSpec
from keepgain.sweeps.spec_question import PricesSpec, QuestionSpec, ReferenceArm
from keepgain.sweeps.spec_resources import ResourcesSpec, StorageSpec
from keepgain.sweeps.spec_review import ReviewSpec
from keepgain.sweeps.spec_scorer import ScoringSpec
from keepgain.sweeps.spec_search import ConfirmSpec, LimitsSpec, NotifySpec, SearchSpec
from keepgain.sweeps.spec_sources import DataSpec
from keepgain.sweeps.spec_suites import SuiteSpec
from keepgain.sweeps.spec_trainer import TrainerSpec
from keepgain.sweeps.spec_training import TrainingSpec

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
SWEEP_NAME_LENGTH = 57
"""At most; the sweep's id adds 7 characters and may have 64."""
SWEEP_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{SWEEP_NAME_LENGTH - 1}}}")


class SweepSpec(StrictModel):
    """A whole `sweep.yaml`."""

    name: str
    models: Annotated[tuple[ModelSpec, ...], Field(min_length=1)]
    data: Annotated[dict[str, DataSpec], Field(min_length=1)]
    suites: Annotated[dict[str, SuiteSpec], Field(min_length=1)]
    space: Annotated[dict[str, Any], Field(min_length=1)]
    """Read by `sweeps.search.space`; see `spec_space`."""
    scoring: ScoringSpec = ScoringSpec()
    slices: tuple[str, ...] = ()
    """Fields of the rows, as the files name them, by whose values figures are reported too."""
    training: TrainingSpec = TrainingSpec()
    trainer: TrainerSpec | None = None
    """A trainer of your own: `module:function`, or `{command: [python, train.py]}`."""
    reference_arms: tuple[ReferenceArm, ...] | None = None
    """Default: few_shot 4 if the task has worked examples, context if gain items have one."""
    search: SearchSpec = SearchSpec()
    limits: LimitsSpec = LimitsSpec()
    confirm: ConfirmSpec = ConfirmSpec()
    serve: tuple[ServeForm, ...] = ()
    """Forms in which finalists and bases are scored once more on test items: see
    `trainers.served`."""
    question: QuestionSpec = QuestionSpec()
    review: ReviewSpec = ReviewSpec()
    """What people are asked by `sweep review`; not part of the sweep's identity."""
    prices: PricesSpec = PricesSpec()
    resources: ResourcesSpec = ResourcesSpec()
    storage: StorageSpec = StorageSpec()
    endpoints: dict[str, EndpointSpec] = Field(default_factory=dict)
    """Servers that answer chats, by a name of yours; not part of the sweep's identity."""
    data_spec: DataRules | None = None
    """What the rows are to be like; or the name of a YAML file that says it."""
    allow: dict[str, str] = Field(default_factory=dict)
    """Findings that are meant to be so, `CODE` or `CODE@PLACE`, with the reason (a list gives
    none): an error warns instead of refusing, a warning is a note; not part of the identity."""
    notify: NotifySpec = NotifySpec()
    tags: dict[str, str] = Field(default_factory=dict)
    """Of the sweep, e.g. `{team: search}`; shown in MLflow and by `sweep list --by team`."""

    @field_validator("tags")
    @classmethod
    def _own_tags(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if not name or name.startswith(RESERVED_TAGS):
                raise ValueError(
                    f"the tag '{name}' is not yours: names must not begin with "
                    f"{' or '.join(RESERVED_TAGS)}"
                )
        return value

    @field_validator("allow", mode="before")
    @classmethod
    def _without_reasons(cls, value: Any) -> Any:
        if isinstance(value, list | tuple) and all(isinstance(v, str) for v in value):
            return dict.fromkeys(value, NO_REASON)
        return value

    @field_validator("allow")
    @classmethod
    def _known_codes(cls, value: dict[str, str]) -> dict[str, str]:
        for key, reason in value.items():
            refuse_unknown(key)
            if not reason.strip():
                raise ValueError(f"'{key}' needs a reason")
        return value

    @field_validator("serve")
    @classmethod
    def _different_forms(cls, value: tuple[ServeForm, ...]) -> tuple[ServeForm, ...]:
        if len(set(value)) < len(value):
            raise ValueError("must be different forms of `bf16`, `int8` and `nf4`")
        return value

    @field_validator("slices")
    @classmethod
    def _different_fields(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if "" in value or len(set(value)) < len(value):
            raise ValueError("must be different names of fields, such as `[language, difficulty]`")
        return value

    @field_validator("name")
    @classmethod
    def _safe_name(cls, value: str) -> str:
        if not SWEEP_NAME.fullmatch(value):
            raise ValueError(
                f"must be 1 to {SWEEP_NAME_LENGTH} of A-Z a-z 0-9 . _ - and start with a letter "
                "or digit"
            )
        return value

    @field_validator("suites", mode="before")
    @classmethod
    def _made_suites(cls, value: Any) -> Any:
        return with_originals(value)

    @field_validator("data", "suites", "endpoints")
    @classmethod
    def _safe_names(cls, value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        for name in value:
            if not NAME.fullmatch(name):
                raise ValueError(f"the name '{name}' must be 1 to 40 of A-Z a-z 0-9 _ -")
        return value
