"""`sweep.yaml` as strict models: every key with its default, its bounds and what it means.

What keys must satisfy together is in `sweeps.spec`, which loads the file.
"""

import math
import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, JsonValue, ValidationInfo, field_validator, model_validator

from keepgain.core.config import (
    Attention,
    BaseAnswers,
    Count,
    EarlyStopping,
    LoraSettings,
    Loss,
    Measures,
    Method,
    NotNegative,
    PeftSettings,
    Positive,
    RetentionSettings,
    Role,
    ServeForm,
    Share,
)
from keepgain.core.endpoint.spec import EndpointSpec
from keepgain.core.formats import FIELD_NAMES, FormatName
from keepgain.core.guards import Guard, watched
from keepgain.core.launch import GPU_TYPE_LABEL, Placement
from keepgain.core.metrics import COSTS, OBJECTIVES
from keepgain.core.record import Question
from keepgain.core.schema import StrictModel
from keepgain.core.store.names import RESERVED_TAGS
from keepgain.sweeps.gates.catalogue import refuse_unknown
from keepgain.sweeps.gates.findings import NO_REASON
from keepgain.sweeps.spec_augment import AugmentKeys
from keepgain.sweeps.spec_data import DataRules, PairedAnswers
from keepgain.sweeps.spec_extract import ExtractSpec
from keepgain.sweeps.spec_filters import FilterKeys
from keepgain.sweeps.spec_judge import JudgeSpec
from keepgain.sweeps.spec_made import ComposeSpec, PerturbSpec, with_originals
from keepgain.sweeps.spec_recover import RecoverSpec
from keepgain.sweeps.spec_review import ReviewSpec
from keepgain.sweeps.spec_scorer import ScorerKeys, ScoringSpec
from keepgain.sweeps.spec_search import ConfirmSpec, LimitsSpec, NotifySpec, SearchSpec
from keepgain.sweeps.spec_trainer import TrainerSpec

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
SWEEP_NAME_LENGTH = 57
"""At most; the sweep's id adds 7 characters and may have 64."""
SWEEP_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{SWEEP_NAME_LENGTH - 1}}}")

_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_LABEL_KEY = re.compile(rf"([a-z0-9.-]{{1,253}}/)?{_LABEL_VALUE.pattern}")


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


class _FileSpec(StrictModel):
    """What files of rows have in common."""

    format: FormatName = "auto"
    fields: dict[str, str] = Field(default_factory=dict)
    """Our name of a field → the key in the file, e.g. `{prompt: question, answer: label}`."""
    limit: Count | None = None
    """Use only the first rows of each file."""

    @field_validator("fields")
    @classmethod
    def _known_fields(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if name not in FIELD_NAMES:
                raise ValueError(f"unknown field '{name}'; known: {', '.join(FIELD_NAMES)}")
        return value


class DataSpec(_FileSpec, AugmentKeys, FilterKeys):
    """A source of training rows."""

    path: str | None = None
    """JSON Lines, CSV, TSV, Parquet or a saved dataset, by its name: see `core.formats`."""
    train: str | None = None
    validation: str | None = None
    test: str | None = None
    role: Role
    answers: Literal["given", "base"] = "given"
    """base: of a replay source, each base model writes the answers itself; rows are prompts."""
    max_new_tokens: Count | None = None
    """Of `answers: base`, for each; default 128."""
    temperature: NotNegative | None = None
    """Of `answers: base`: above 0, tokens are drawn; default 0."""
    split: Literal["auto"] | None = None
    """auto: 80/10/10 by a hash of the question. Default: auto if a suite is `from` this source."""
    max_repeats: Positive = 4.0
    """A trial that would draw a row more often than this, on average, is warned of; beyond about 4
    epochs repeated rows are worth ever less (Muennighoff et al. 2023, arXiv 2305.16264)."""

    @field_validator("answers")
    @classmethod
    def _of_replay(cls, value: str, info: ValidationInfo) -> str:
        if value == "base" and info.data.get("role", "replay") != "replay":
            raise ValueError("only rows of `role: replay` are answered by the base")
        return value

    @field_validator("max_new_tokens", "temperature")
    @classmethod
    def _of_base_answers(cls, value: float | None, info: ValidationInfo) -> float | None:
        if value is not None and info.data.get("answers") != "base":
            raise ValueError("needs `answers: base`")
        return value

    @property
    def base_answers(self) -> BaseAnswers | None:
        """How the base answers; None: the rows have answers."""
        if self.answers == "given":
            return None
        asked = {"max_new_tokens": self.max_new_tokens, "temperature": self.temperature}
        return BaseAnswers(**{k: v for k, v in asked.items() if v is not None})

    @model_validator(mode="after")
    def _paths(self) -> "DataSpec":
        files = [n for n in ("train", "validation", "test") if getattr(self, n) is not None]
        if self.augment is not None:
            self._refuse_beside_augment(files)
            return self
        if self.follows is not None and (self.path is None or self.role == "replay"):
            raise ValueError("`follows` needs one `path`, and `role: task` or `synthetic`")
        if (self.path is None) == (not files):
            raise ValueError("give either `path`, or `train` (and `validation`, `test`)")
        if files and self.train is None:
            raise ValueError("`train` is missing")
        if files and self.split is not None:
            raise ValueError("`split: auto` needs one `path`; these files are split already")
        if self.follows is not None and self.split is not None:
            raise ValueError("`follows` and `split` both say where rows go")
        return self

    def _refuse_beside_augment(self, files: list[str]) -> None:
        names = ("path", "format", "fields", "limit", "split", "follows", "answers")
        if given := files or [n for n in names if n in self.model_fields_set]:
            raise ValueError(f"`augment` makes the rows; leave `{given[0]}` out")
        if self.role == "replay":
            raise ValueError("augmented rows are of `role: task` or `synthetic`")


class SuiteSpec(_FileSpec, ScorerKeys):
    """Items to score, and what a change of their score means."""

    source: str | None = Field(None, alias="from")
    """Name of the data source whose validation and test splits are the items."""
    path: str | None = None
    """One file; halved into validation and test by a hash of the question."""
    validation: str | None = None
    test: str | None = None
    measures: Measures | None = None
    """Default: by the suite's name (`gain`, `gain_*`, `forgetting`, `forgetting_*`)."""
    max_new_tokens: Count | None = None
    """Of generation; default: the longest reference answer in tokens, and 8 more."""
    pairs: Annotated[tuple[PairedAnswers, ...], Field(min_length=2)] | None = None
    """`{prompt, good, bad}` in the spec itself: choices of which the good one is right."""
    extract: ExtractSpec | None = None
    """Items made from training rows: the beginning of each, to be gone on with."""
    perturb: PerturbSpec | None = None
    """The items are those of another suite, as they are and changed; it measures behaviour, unless
    `measures` says otherwise."""
    compose: ComposeSpec | None = None
    """The items are pairs of those of two other suites, asked as one; likewise."""
    proxy_for: str | None = None
    """Name of a gain suite that this one stands in for in half of the places at early rungs: a
    smooth measure (bits per byte) may tell trials apart before the first answers are right."""
    capability: str | None = None
    """What ability it measures, in your words; `analyze ID forgetting` averages suites of one. No
    part of the sweep's identity."""
    recover: RecoverSpec | None = None
    """The items are those of another suite, asked again with a text before them; it measures
    behaviour."""

    judge: JudgeSpec | None = None
    """A model that scores the answers afterwards: see `sweep judge`. No part of the sweep's
    identity."""

    @model_validator(mode="after")
    def _answers_to_judge(self) -> "SuiteSpec":
        if self.judge is not None and not self.registered.generates:
            raise ValueError(f"`judge` reads answers, and {self.scorer} asks for none")
        return self

    @model_validator(mode="after")
    def _one_place(self) -> "SuiteSpec":
        if (self.validation is None) != (self.test is None):
            raise ValueError("give both `validation` and `test`")
        places = (self.source, self.path, self.validation, self.lm_eval, self.pairs, self.extract)
        if sum(p is not None for p in (*places, self.perturb, self.compose, self.recover)) != 1:
            raise ValueError(
                "give exactly one of `from`, `path`, `validation` with `test`, `lm_eval`, `pairs`, "
                "`extract`, `perturb`, `compose` and `recover`"
            )
        if self.recover is not None and self.measures != "behaviour":
            raise ValueError("`recover` measures behaviour: whether what is lost can be had again")
        if self.made_of and (self.fields or self.format != "auto" or self.limit):
            raise ValueError("`format`, `fields` and `limit` stand where the items are from")
        if self.compose is not None and not self.registered.generates:
            raise ValueError("`compose` needs a scorer of generated answers, such as exact_match")
        if self.pairs is not None and (
            self.fields or self.format != "auto" or self.limit or self.registered.fits != "choices"
        ):
            raise ValueError(
                "`pairs` are scored by multiple_choice or multiple_choice_normalised; `format`, "
                "`fields` and `limit` are of files"
            )
        if self.extract is not None and (
            self.fields or self.format != "auto" or self.limit or self.scorer != "extraction"
        ):
            raise ValueError(
                "`extract` is scored by extraction; `format`, `fields` and `limit` are of files"
            )
        if self.lm_eval is not None and (self.fields or self.format != "auto" or self.limit):
            raise ValueError("`format` and `fields` are of files; `limit` stands in `lm_eval`")
        if self.source is not None and (self.fields or self.format != "auto" or self.limit):
            raise ValueError("`format`, `fields` and `limit` of a `from` suite stand at its source")
        return self

    @property
    def made_of(self) -> tuple[str, ...]:
        """Suites that the items are made of; empty where they are its own."""
        if self.perturb is not None:
            return (self.perturb.of,)
        if self.recover is not None:
            return (self.recover.of,)
        return (self.compose.a, self.compose.b) if self.compose is not None else ()


class TrainingSpec(StrictModel):
    """What all trials share unless the space varies it; see `core.config.TrialConfig`."""

    epochs: Positive | None = None
    """Budget: passes over the training rows of the task; 3 if no budget is given."""
    budget_tokens: Count | None = None
    budget_examples: Count | None = None
    method: Method = "full"
    learning_rate: Annotated[float, Field(ge=0)] | None = None
    """Needed if the space has none."""
    lora: LoraSettings = LoraSettings()
    """Used by trials whose method is `lora`, `rslora`, `dora` or `qlora`."""
    peft: PeftSettings | None = None
    """Used by trials whose method is `peft`: `{type: IA3}` and the options of that tuner."""
    mixture: dict[str, Share] | None = None
    """Share of tokens per source, if the space has none; default: task sources by rows."""
    batch_size: Count = 16
    micro_batch_size: Count | None = None
    packing: bool = False
    """Put short rows side by side in one sequence; what is trained stays the same."""
    dropout: Share | None = None
    """Of the base's own layers; default: as its folder says."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    neftune_alpha: Annotated[float, Field(ge=0)] = 0.0
    group_dro_step: Annotated[float, Field(ge=0)] = 0.0
    balance_by: Literal["answer", "group"] | None = None
    balance_strength: Share = 1.0
    retention: RetentionSettings = RetentionSettings()
    schedule: Literal["wsd", "constant", "linear", "cosine"] = "wsd"
    warmup_share: Share = 0.05
    decay_share: Share = 0.2
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    max_grad_norm: Positive = 1.0
    max_length: Annotated[int, Field(ge=8)] = 1024
    loss: Loss = "last_turn"
    """Of a chat: on its last assistant turn, or on `all_turns` of the assistant."""
    rungs: Annotated[tuple[Positive, ...], Field(min_length=1)] = (1.0,)
    """Shares of the budget at which a trial is scored, ascending, the last one 1."""
    interpolate: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = ()
    """Shares of the way from the base to the tuned weights at which a trial is scored too."""
    early_stopping: EarlyStopping | None = None
    """End a training whose validation loss no longer falls, e.g. `{patience_tokens: 20000,
    check_every_tokens: 5000}`."""
    engine: Literal["torch", "deepspeed"] = "torch"
    zero_stage: Literal[0, 1, 2, 3] = 0
    deepspeed: str | dict[str, JsonValue] | None = None
    """DeepSpeed's own settings: a JSON file, or the same here; see `sweeps.spec_deepspeed`."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    attention: Attention = "auto"
    """auto: PyTorch's fused attention (sdpa) where the architecture has it, else eager."""
    gradient_checkpointing: bool = False
    """Less memory for activations, for about a third more computation."""
    compile: bool = False
    """Compile the training forward pass (torch.compile); a compiler must be there."""
    scoring_batch_size: Count = 64
    seed: Annotated[int, Field(ge=0)] = 0
    """Of search trials; confirmation draws fresh ones."""

    @field_validator("rungs")
    @classmethod
    def _ascending(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if list(value) != sorted(set(value)) or value[-1] != 1:
            raise ValueError("must be ascending shares of the budget that end with 1")
        return value

    @field_validator("interpolate")
    @classmethod
    def _different_shares(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(value)) < len(value):
            raise ValueError("must be different shares")
        return value

    @model_validator(mode="after")
    def _one_budget(self) -> "TrainingSpec":
        given = [n for n in ("epochs", "budget_tokens", "budget_examples") if getattr(self, n)]
        if len(given) > 1:
            raise ValueError(f"give one budget, not {' and '.join(f'`{n}`' for n in given)}")
        if self.zero_stage and self.engine != "deepspeed":
            raise ValueError("`zero_stage` needs `engine: deepspeed`")
        if self.deepspeed is not None and self.engine != "deepspeed":
            raise ValueError("`deepspeed` needs `engine: deepspeed`")
        if self.compile and self.engine != "torch":
            raise ValueError("`compile` needs `engine: torch`")
        if self.mixture is not None and abs(sum(self.mixture.values()) - 1) > 1e-6:
            raise ValueError(
                f"the shares of `mixture` must sum to 1, not {sum(self.mixture.values()):g}"
            )
        return self


class ReferenceArm(StrictModel):
    """What a team would do instead of fine-tuning; exactly one key."""

    system_prompt: str | None = None
    few_shot: Count | None = None
    """Number of worked examples, drawn from training rows of the task."""
    context: Literal[True] | None = None
    """Show the row's `context` field."""

    @model_validator(mode="after")
    def _one_kind(self) -> "ReferenceArm":
        if len(self.model_fields_set) != 1:
            raise ValueError("give exactly one of `system_prompt`, `few_shot`, `context`")
        return self


class QuestionSpec(Question):
    """`core.record.Question`, checked."""

    delta: Annotated[float, Field(ge=0)] = 0.02
    max_forgetting: Annotated[float, Field(ge=0)] | None = None
    rescore_drop: NotNegative | None = None
    """Drop of the tuned score on newer items from which `sweep rescore` calls for a new sweep, in
    the suite's unit; default: `delta`. No part of the sweep's identity."""

    @field_validator("cost")
    @classmethod
    def _known_cost(cls, value: str) -> str:
        if value not in COSTS:
            raise ValueError(f"unknown cost; known: {', '.join(COSTS)}")
        return value

    @field_validator("guards")
    @classmethod
    def _named_guards(cls, value: dict[str, Guard]) -> dict[str, Guard]:
        for name in value:
            watched(name)
        return value

    @field_validator("reference_point", "weights", "max_cost")
    @classmethod
    def _known_names(cls, value: dict[str, float], info: ValidationInfo) -> dict[str, float]:
        known = COSTS if info.field_name == "max_cost" else (*OBJECTIVES, *COSTS)
        for name, number in value.items():
            if name not in known:
                raise ValueError(f"unknown name '{name}'; known: {', '.join(known)}")
            if not math.isfinite(number):
                raise ValueError(f"{name} must be a finite number")
            if info.field_name != "reference_point" and number < 0:
                raise ValueError(f"{name} must be at least 0")
            if info.field_name == "reference_point" and name in COSTS and number <= 0:
                raise ValueError(f"{name} must be above 0: a cost is measured by its logarithm")
        return value


class PricesSpec(StrictModel):
    """What the user pays; never guessed."""

    gpu_hour_usd: Positive | None = None


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
