"""What is trained and what is scored: fully resolved, free of torch, with an identity.

Identity is a hash of declared inputs: data and model digests are in it; paths, logging, device and
parallelism are not. One run is (configuration id, seed).
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, model_validator

from keepgain.core.errors import UserError
from keepgain.core.identity import fingerprint
from keepgain.core.schema import LATER, StrictModel
from keepgain.core.scorer_options import ScorerOptions
from keepgain.core.scorers import scorer

Role = Literal["task", "synthetic", "replay"]
Measures = Literal["gain", "forgetting", "behaviour"]
Split = Literal["validation", "test"]
Method = Literal["full", "lora", "rslora", "dora", "qlora", "peft"]
LORA_FAMILY: tuple[Method, ...] = ("lora", "rslora", "dora", "qlora")
"""Methods that `LoraSettings` belong to: plain adapters; with alpha over the root of the rank
(Kalajdzievski 2023, arXiv 2312.03732); with a magnitude of their own (Liu et al. 2024, arXiv
2402.09353); on frozen weights in 4 bits (Dettmers et al. 2023, arXiv 2305.14314)."""
LINEAR: tuple[Method, ...] = ("full", "lora", "rslora", "qlora")
"""Methods whose step away from the base is linear in what is trained, or in one part of it, and so
can be made shorter; the magnitudes of DoRA, and what other tuners do, are not."""
Attention = Literal["auto", "sdpa", "eager", "flash_attention_2"]
Loss = Literal["last_turn", "all_turns"]
"""Of a chat: on its last assistant turn, or on all of them."""
Arm = Literal["base", "system_prompt", "few_shot", "context", "previous_round"]
"""What is scored without training in the sweep; `previous_round` is the start of a sweep that tunes
a tuned model, beside the original base."""
ServeForm = Literal["bf16", "int8", "nf4"]
"""How weights are held while a model answers: in bfloat16; linear layers in 8 bits (LLM.int8;
Dettmers et al. 2022, arXiv 2208.07339); in 4 bits as QLoRA trains on. See `trainers.served`."""
BudgetUnit = Literal["tokens", "examples"]


def _registered(name: str) -> str:
    """Raises ValueError, as pydantic wants it, for a name that is no scorer's."""
    try:
        return scorer(name).metric.name
    except UserError as error:
        raise ValueError(error.problem.rstrip(".")) from None


Scorer = Annotated[str, AfterValidator(_registered)]
"""A registered scorer, or a user's `module:function`: see `core.scorers`."""
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]


def has_adapter(method: str) -> bool:
    """True if the base stays frozen and a small part beside it is trained and saved."""
    return method != "full"


class ModelRef(StrictModel):
    """A base model as a folder on this machine."""

    name: str
    """As the spec names it: the label in every table."""
    path: str
    """Folder with config.json, tokenizer files and safetensors; not part of the identity."""
    revision: str | None = None
    digest: str
    """SHA-256 over configuration, tokenizer and weight files, and the code that is trusted."""
    trust_remote_code: Annotated[bool, LATER] = False
    """Run the Python files that lie in the folder."""


class BaseAnswers(StrictModel):
    """How a base model answers prompts itself; see `trainers.self_replay`."""

    max_new_tokens: Count = 128
    temperature: NotNegative = 0.0
    """0: the likeliest token each time; else drawn, with a seed that follows from both digests."""


class SourceRef(StrictModel):
    """Training rows, normalised to JSONL (see `core.rows`)."""

    name: str
    role: Role
    path: str
    digest: str
    rows: Count
    answers: Annotated[BaseAnswers | None, LATER] = None
    """Set if the rows are prompts and each base model writes the answers; None: they are given."""


class SuiteRef(StrictModel):
    """Items of one split of one suite, normalised to JSONL."""

    name: str
    measures: Measures
    split: Split
    scorer: Scorer
    path: str
    digest: str
    items: Count
    max_new_tokens: int | None = None
    """Generation limit; None: the longest reference answer in tokens, and 8 more."""
    options: Annotated[ScorerOptions | None, LATER] = None
    """Set if the scorer takes any."""


class LoraSettings(StrictModel):
    """Low-rank adapters (Hu et al. 2021, arXiv 2106.09685)."""

    rank: Count = 16
    alpha: Positive | None = None
    """None: twice the rank."""
    dropout: Share = 0.0
    targets: Literal["all-linear"] | tuple[str, ...] = "all-linear"


class PeftSettings(StrictModel):
    """Any other tuner of the PEFT library: its type, and beside it the options of its own
    configuration class, e.g. `{type: VERA, r: 64}`. See `trainers.peft_options`."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, JsonValue] = Field(init=False)

    type: Annotated[str, AfterValidator(str.upper)]

    @property
    def options(self) -> dict[str, JsonValue]:
        """What goes to the configuration class."""
        return dict(self.__pydantic_extra__)


class RetentionSettings(StrictModel):
    """Strengths of what holds a model near its base, each 0 where it is off; see
    `trainers.retention`."""

    l2_sp: NotNegative = 0.0
    """On half the squared distance of the weights to the base's."""
    ewc: NotNegative = 0.0
    """The same, each weight by its Fisher information on replay rows (mean 1)."""
    lwf: NotNegative = 0.0
    """On the KL divergence from the base to the tuned model, per token of task and synthetic rows
    (learning without forgetting; Li & Hoiem 2016, arXiv 1606.09282)."""
    kl: NotNegative = 0.0
    """The same on replay rows."""
    temperature: Positive = 1.0
    """Of both distributions in `lwf` and `kl`; 2 in the paper of the former."""
    fisher_rows: Count = 128
    """Replay rows that `ewc` measures on."""


STRENGTHS = ("l2_sp", "ewc", "lwf", "kl")
"""Fields of `RetentionSettings` that switch a strategy on."""


class EarlyStopping(StrictModel):
    """When training ends before its budget: the validation loss has stopped falling."""

    patience_tokens: Count
    """So many training tokens without an improvement end the training."""
    check_every_tokens: Count
    """Training tokens from one measurement to the next."""
    min_improvement: NotNegative = 0.0
    """In nats per token: a smaller fall below the best loss so far is none."""

    @model_validator(mode="after")
    def _patient(self) -> "EarlyStopping":
        if self.patience_tokens < self.check_every_tokens:
            raise ValueError(
                f"`patience_tokens` {self.patience_tokens} is less than `check_every_tokens` "
                f"{self.check_every_tokens}: nothing is measured so often"
            )
        return self


class TrainerRef(StrictModel):
    """A trainer of the user's own: a command or a function; see `trainers.external`."""

    command: tuple[str, ...] = ()
    """Words; files among them lie in the spec's folder."""
    function: str | None = None
    """`module:function`."""
    settings: dict[str, JsonValue] = {}
    """Of the trainer itself: passed on and part of the identity."""
    path: str = ""
    """The spec's folder; not part of the identity."""
    code: str | None = None
    """Digest of the files that the command or function names."""

    @property
    def label(self) -> str:
        """For tables and messages."""
        return self.function or " ".join(self.command)


class Runtime(StrictModel):
    """How the run is carried out: numerics tags, not identity. Like for like needs equal ones."""

    engine: Literal["torch", "deepspeed"] = "torch"
    zero_stage: Literal[0, 1, 2, 3] = 0
    world_size: Count = 1
    micro_batch_size: Count | None = None
    """Rows per forward pass; None: the whole batch."""
    packing: bool = False
    """Put the rows of a forward pass side by side, as far as they fit in the longest one."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto: bfloat16 on a GPU that has it, float32 elsewhere."""
    scoring_batch_size: Count = 64
    attention: Attention = "auto"
    """auto: sdpa where the architecture has it, else eager."""
    gradient_checkpointing: bool = False
    """Keep only the input of each block for the backward pass, and compute the rest again."""
    compile: bool = False
    """Compile the training forward pass (torch.compile)."""
    deepspeed: dict[str, JsonValue] | None = None
    """Settings of DeepSpeed's own beside those; see `trainers.deepspeed_settings`."""


class TrialConfig(StrictModel):
    """One configuration to train; a run adds the seed."""

    model: ModelRef
    method: Method = "full"
    lora: LoraSettings | None = None
    """Set if, and only if, `method` is of the `LORA_FAMILY`."""
    peft: Annotated[PeftSettings | None, LATER] = None
    """Set if, and only if, `method` is `peft`."""
    learning_rate: Annotated[float, Field(ge=0)]
    schedule: Literal["wsd", "constant", "linear", "cosine"] = "wsd"
    """wsd: warm-up, constant, linear decay over the last `decay_share` of the full budget."""
    warmup_share: Share = 0.05
    decay_share: Share = 0.2
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    max_grad_norm: Positive = 1.0
    batch_size: Count = 16
    """Rows per optimizer step, over all ranks and micro-batches."""
    dropout: Annotated[Share | None, LATER] = None
    """Of the base's own layers while training; None: as its folder says."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1), LATER] = 0.0
    """Share of a uniform distribution in the targets."""
    neftune_alpha: Annotated[float, Field(ge=0), LATER] = 0.0
    """Noise on the input embeddings (Jain et al. 2023, arXiv 2310.05914); they use 5 to 15."""
    group_dro_step: Annotated[float, Field(ge=0), LATER] = 0.0
    """How fast the loss turns to the groups that are learnt worst (Sagawa et al. 2020, arXiv
    1911.08731); 0: not at all."""
    balance_by: Annotated[Literal["answer", "group"] | None, LATER] = None
    """Draw rows of task and synthetic sources by the size of their class."""
    balance_strength: Annotated[Share, LATER] = 1.0
    """1: every class equally often; 0: as in the data."""
    retention: Annotated[RetentionSettings, LATER] = RetentionSettings()
    max_length: Annotated[int, Field(ge=8)] = 1024
    """Tokens of one row; longer ones are cut at the left of the prompt, and counted."""
    loss: Annotated[Loss, LATER] = "last_turn"
    """Which turns of a chat are trained on; the others are its prompt."""
    budget: Count
    """Full training budget in `budget_unit`; replay counts in it."""
    budget_unit: BudgetUnit = "tokens"
    rungs: tuple[Count, ...]
    """Ascending amounts at which the trial is scored; the last one is `budget`."""
    early_stopping: Annotated[EarlyStopping | None, LATER] = None
    """None: the whole budget is trained."""
    mixture: dict[str, Share]
    """Share of training tokens per source; sums to 1; a source with 0 is not read."""
    sources: tuple[SourceRef, ...]
    rows: Annotated[Count | None, LATER] = None
    """Train on this many rows of each task source, the first ones of an order that its content
    fixes, so that smaller sets lie within larger ones; None: on all."""
    suites: tuple[SuiteRef, ...]
    """Scored at every rung: validation splits only."""
    trainer: Annotated[TrainerRef | None, LATER] = None
    """Who trains; None: Keepgain."""
    interpolation: Annotated[float, Field(gt=0, le=1), LATER] = 1.0
    """Share of the way from the base to the tuned weights at which the model is scored and saved;
    training goes on from the tuned ones (WiSE-FT; Wortsman et al. 2022, arXiv 2109.01903)."""
    runtime: Runtime = Runtime()

    @property
    def trial_id(self) -> str:
        """Fingerprint of everything but paths and runtime."""
        return fingerprint(identity(self, "runtime"))

    @property
    def training_id(self) -> str:
        """As `trial_id`, whatever the interpolation: what training draws at random follows from it
        and the seed, so that one training may be scored at several."""
        return fingerprint(identity(self, "runtime", "interpolation"))


class SelfReplay(StrictModel):
    """Prompts that a base model answers before trials of it begin."""

    sources: tuple[SourceRef, ...]
    against: tuple[SuiteRef, ...]
    """Suites that measure forgetting, both splits: no answer should contain their items."""


class ScoreConfig(StrictModel):
    """A model to score without training it: the base, a reference arm, or a trained checkpoint."""

    model: ModelRef
    arm: Arm = "base"
    system_prompt: str | None = None
    few_shot: tuple[dict[str, str], ...] = ()
    """Worked examples as prompt/answer pairs, drawn from training rows."""
    checkpoint: str | None = None
    """Folder written by a training run; None: the base itself."""
    trained_by: str | None = None
    """Run key of that training run."""
    replay: Annotated[SelfReplay | None, LATER] = None
    """What the model answers beside; None: nothing."""
    served: Annotated[ServeForm | None, LATER] = None
    """Weights in this form; None: as the sweep computes."""
    suites: tuple[SuiteRef, ...]
    runtime: Runtime = Runtime()

    @property
    def trial_id(self) -> str:
        """Fingerprint of everything but paths and runtime."""
        return fingerprint(identity(self, "runtime", "checkpoint"))


def identity(value: Any, *apart: str) -> Any:
    """`value` as JSON, without any `path` and without `LATER` fields that have their default, at
    every depth, and without the fields named in `apart` at the top."""
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        return {
            name: identity(inner)
            for name, inner in value
            if name not in ("path", *apart)
            and not (
                name in fields and LATER in fields[name].metadata and inner == fields[name].default
            )
        }
    if isinstance(value, dict):
        return {k: identity(v) for k, v in value.items() if k != "path"}
    if isinstance(value, list | tuple):
        return [identity(v) for v in value]
    return value


def run_key(trial_id: str, seed: int) -> str:
    """The name of one run: file-system safe, unique within a store."""
    return f"{trial_id}-s{seed}"
