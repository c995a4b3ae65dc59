"""What is trained and what is scored: fully resolved, free of torch, with an identity.

Identity is a hash of declared inputs: data and model digests are in it; paths, logging, device and
parallelism are not. One run is (configuration id, seed).
"""

from typing import Annotated, Literal

from pydantic import Field

from keepgain.core.identity import fingerprint
from keepgain.core.schema import StrictModel

Role = Literal["task", "synthetic", "replay"]
Measures = Literal["gain", "forgetting", "behaviour"]
Split = Literal["validation", "test"]
Scorer = Literal["exact_match", "bits_per_byte"]
Method = Literal["full", "lora"]
Arm = Literal["base", "system_prompt", "few_shot", "context", "previous_round"]
"""What is scored without training in the sweep; `previous_round` is the start of a sweep that tunes
a tuned model, beside the original base."""
BudgetUnit = Literal["tokens", "examples"]

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class ModelRef(StrictModel):
    """A base model as a folder on this machine."""

    name: str
    """As the spec names it: the label in every table."""
    path: str
    """Folder with config.json, tokenizer files and safetensors; not part of the identity."""
    revision: str | None = None
    digest: str
    """SHA-256 over configuration, tokenizer and weight files."""


class SourceRef(StrictModel):
    """Training rows, normalised to JSONL (see `core.rows`)."""

    name: str
    role: Role
    path: str
    digest: str
    rows: Count


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


class LoraSettings(StrictModel):
    """Low-rank adapters (Hu et al. 2021, arXiv 2106.09685)."""

    rank: Count = 16
    alpha: Positive | None = None
    """None: twice the rank."""
    dropout: Share = 0.0
    targets: Literal["all-linear"] | tuple[str, ...] = "all-linear"


class Runtime(StrictModel):
    """How the run is carried out: numerics tags, not identity. Like for like needs equal ones."""

    engine: Literal["torch", "deepspeed"] = "torch"
    zero_stage: Literal[0, 1, 2, 3] = 0
    world_size: Count = 1
    micro_batch_size: Count | None = None
    """Rows per forward pass; None: the whole batch."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto: bfloat16 on a GPU that has it, float32 elsewhere."""
    scoring_batch_size: Count = 64


class TrialConfig(StrictModel):
    """One configuration to train; a run adds the seed."""

    model: ModelRef
    method: Method = "full"
    lora: LoraSettings | None = None
    """Set if, and only if, `method` is `lora`."""
    learning_rate: Annotated[float, Field(ge=0)]
    schedule: Literal["wsd", "constant", "linear", "cosine"] = "wsd"
    """wsd: warm-up, constant, linear decay over the last `decay_share` of the full budget."""
    warmup_share: Share = 0.05
    decay_share: Share = 0.2
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    max_grad_norm: Positive = 1.0
    batch_size: Count = 16
    """Rows per optimizer step, over all ranks and micro-batches."""
    max_length: Annotated[int, Field(ge=8)] = 1024
    """Tokens of one row; longer ones are cut at the left of the prompt, and counted."""
    budget: Count
    """Full training budget in `budget_unit`; replay counts in it."""
    budget_unit: BudgetUnit = "tokens"
    rungs: tuple[Count, ...]
    """Ascending amounts at which the trial is scored; the last one is `budget`."""
    mixture: dict[str, Share]
    """Share of training tokens per source; sums to 1; a source with 0 is not read."""
    sources: tuple[SourceRef, ...]
    rows: Count | None = None
    """Train on this many rows of each task source, the first ones of an order that its content
    fixes, so that smaller sets lie within larger ones; None: on all."""
    suites: tuple[SuiteRef, ...]
    """Scored at every rung: validation splits only."""
    runtime: Runtime = Runtime()

    @property
    def trial_id(self) -> str:
        """Fingerprint of everything but paths and runtime.

        `rows` is left out where there is none, so that ids from before it was a field stand.
        """
        apart = {"runtime"} | ({"rows"} if self.rows is None else set())
        return fingerprint(strip_paths(self.model_dump(mode="json", exclude=apart)))


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
    suites: tuple[SuiteRef, ...]
    runtime: Runtime = Runtime()

    @property
    def trial_id(self) -> str:
        """Fingerprint of everything but paths and runtime."""
        dump = self.model_dump(mode="json", exclude={"runtime", "checkpoint"})
        return fingerprint(strip_paths(dump))


def strip_paths(value: object) -> object:
    """A copy without any `path` entry, at every depth."""
    if isinstance(value, dict):
        return {k: strip_paths(v) for k, v in value.items() if k != "path"}
    if isinstance(value, list):
        return [strip_paths(v) for v in value]
    return value


def run_key(trial_id: str, seed: int) -> str:
    """The name of one run: file-system safe, unique within a store."""
    return f"{trial_id}-s{seed}"
