"""The record of a sweep: what `sweeps` writes, MLflow keeps, and `analysis` reads.

Nothing here imports MLflow; `core.store` moves these to and from a store. Imported tables become
the same record.
"""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

from keepgain.core.config import Arm, Measures, Role, Scorer, ServeForm
from keepgain.core.guards import Guard
from keepgain.core.inside import InnerPath
from keepgain.core.items import ItemScores
from keepgain.core.later import LaterEvidence
from keepgain.core.metrics import Direction
from keepgain.core.schema import StrictModel
from keepgain.core.status import Stage, TrialStatus

SCHEMA_VERSION = 1

RunKind = Literal["trial", "base", "reference"]
Origin = Literal["quasi_random", "sampler", "list"]


class Candidate(StrictModel):
    """What a training run scores between its base and its tuned weights: a run of its own in the
    record (see `sweeps.candidates`), which costs no training."""

    interpolation: float
    """As of `core.config.TrialConfig`."""
    metrics: dict[str, float]
    """As of `RungReport`, as the next two."""
    items_path: InnerPath
    cost: dict[str, float] = {}


class RungReport(StrictModel):
    """What a worker answers after training to a rung, or after scoring without training."""

    run_key: str
    rung: int
    """Index from 0; scoring jobs have the one rung 0."""
    tokens: int
    """Training tokens seen, replay included; 0 without training."""
    examples: int
    final: bool
    """True at the full budget."""
    metrics: dict[str, float]
    """`SPLIT/SUITE` → mean score; `train/loss` etc.; `loss/...`: see `trainers.summary`; all
    finite."""
    items_path: InnerPath
    """Parquet of the item scores, relative to the sweep's folder."""
    losses_path: InnerPath | None = None
    """Parquet of the answer losses of items and, at the end, of training rows, likewise; see
    `trainers.answer_losses`. None: not measured."""
    answers_path: InnerPath | None = None
    """Parquet of what the model answered (`core.answers`), likewise; None below the full budget and
    where no suite asks for answers."""
    stopped_early: int | None = None
    """Training tokens at which early stopping ended the training; None: it did not."""
    checkpoint: str | None = None
    """Folder from which training continues bit-exactly, relative to the sweep's folder."""
    model_folder: str | None = None
    """Tuned weights (adapter or full) to score later, relative to the sweep's folder."""
    cost: dict[str, float] = {}
    """`train_seconds`, `score_seconds`, `loss_seconds`, `train_flops`, `peak_memory_bytes`,
    `parameters`, `trainable_parameters`, `generated_tokens_per_second`,
    `prompt_tokens_per_item`; see `trainers.summary.serving` and `trainers.cost.figures` for more.
    `gpu_seconds`: training and this job's scoring and losses, times the GPUs; `energy_joules`: of
    one GPU during this job. What was not measured is absent."""
    numerics: dict[str, str] = {}
    """Engine, world size, ZeRO stage, micro-batch, device and dtype as resolved by the worker."""
    hardware: str = ""
    """Model of the GPU, or of the CPU with its threads, that it was computed on; what speeds are
    compared by."""
    drawn: dict[str, dict[str, int]] = {}
    """Source → {rows, tokens} drawn so far."""
    candidates: tuple[Candidate, ...] = ()
    """Of a search trial at the full budget, if they were asked for."""
    warnings: tuple[str, ...] = ()


class Served(StrictModel):
    """A run's weights once more on the test items, in a form in which they may be served. No run of
    its own: it is ranked nowhere. Its item scores are the run's, under `core.items.served_as`."""

    form: ServeForm
    same: bool = False
    """The run was scored in this form anyway: nothing was scored again."""
    failure: str | None = None
    """Why it could not be scored."""
    metrics: dict[str, float] = {}
    """`test/SUITE` → mean score."""
    cost: dict[str, float] = {}
    """As of `RungReport`; `weight_bytes` as held in memory, with adapters and with the constants of
    the quantisation."""


class RunRecord(StrictModel):
    """One run: a configuration with a seed, a base, or a reference arm."""

    run_key: str
    trial_id: str
    seed: int
    kind: RunKind
    arm: Arm | None = None
    """Of bases and reference arms."""
    model: str
    stage: Stage
    """The stage that asked for it: search, confirm, or base."""
    status: TrialStatus
    reason: str | None = None
    """Why it failed, was pruned or interrupted."""
    test_failure: str | None = None
    """Why scoring it on the test split failed: `out_of_memory: ...`; None if it did not fail."""
    params: dict[str, Any] = {}
    """Flat, readable: `learning_rate`, `lora.rank`, `mixture.general`, ..."""
    origin: Origin | None = None
    audit: bool = False
    """A quasi-random trial of the search that ran to the end whatever its rank: it checks the
    rungs. The first ones of its base model by number, chosen before any result was known."""
    generation: int | None = None
    number: int | None = None
    """Number of the trial in its base model's Optuna study; None outside the search."""
    tokens: int = 0
    budget: int = 0
    """Full budget in tokens or examples (`budget_unit` of the sweep)."""
    stopped_early: int | None = None
    """Tokens at which early stopping ended it, which is then its full training; None: it did
    not."""
    metrics: dict[str, float] = {}
    standard_errors: dict[str, float] = {}
    """Of `metrics`, in their units, as a table from elsewhere gives them; absent: unknown."""
    n: int | None = None
    """Items behind `metrics`, as such a table says; None: it does not."""
    named: str | None = None
    """What such a table calls the row; None for runs of ours."""
    cost: dict[str, float] = {}
    numerics: dict[str, str] = {}
    """Engine, world size, ZeRO stage, micro-batch, dtype, device: like for like needs equality."""
    answers: tuple[InnerPath, ...] = ()
    """Files of what it answered (`core.answers`), relative to the sweep's folder, where they stay:
    texts may be private."""
    reused_from: str | None = None
    made_from: str | None = None
    """Run key of the training whose weights this run has a share of (`interpolation`): tokens and
    costs of training are that run's, spent once."""
    served: tuple[Served, ...] = ()
    """Of one run of each confirmed configuration, and of the bases, if the sweep asks for it."""
    mlflow_run_id: str | None = None

    @property
    def label(self) -> str:
        """Short and unique enough for a table: model and the first digits of the trial id."""
        if self.named is not None:
            return self.named
        if self.kind == "trial":
            return f"{self.model} {short_id(self.trial_id)}"
        return " @".join((f"{self.model} {self.arm}", *self.trial_id.split("@")[1:]))


def short_id(trial_id: str) -> str:
    """The first digits of a trial's id; where several sweeps are read as one, with its sweep
    (`994287@7f3a2c`)."""
    own, at, sweep = trial_id.partition("@")
    return own[:6] + at + sweep


class SuiteInfo(StrictModel):
    """What a suite is, for the reader of its scores."""

    name: str
    measures: Measures
    scorer: Scorer
    metric_version: int = 1
    chance: float | None = None
    proxy_for: str | None = None
    """The suite that this one stands in for where trials are ranked below the full budget."""
    digests: dict[str, str] = {}
    """Split → digest of its items; empty where it is not known."""
    capability: str | None = None
    """What ability of a model it measures, in the user's words; suites of one are averaged."""
    recovers: str | None = None
    """The suite whose items it asks again, with a text before them."""


class ModelInfo(StrictModel):
    """A base model as a size."""

    name: str
    digest: str
    parameters: int


class GivenObjective(StrictModel):
    """A column of a table from elsewhere that is to be high or low."""

    name: str
    """As the table has it; key of `RunRecord.metrics` and `standard_errors`."""
    direction: Direction
    unit: str = ""
    """`share` (in [0, 1]) and `%` are known to lie in a range; empty: not said."""


class OutcomeLimit(StrictModel):
    """What a business metric of a live test has to show, of the decision's trial."""

    metric: str
    """As `sweep outcomes import --metric` names it."""
    min_improvement: float = 0.0
    """Over the control, in the metric's unit; up is good in the metric's own direction."""


class Question(StrictModel):
    """What is to be decided, and what counts as enough."""

    delta: float = 0.02
    """Non-inferiority margin on the task score, in the task suite's unit, against the largest
    confirmed size."""
    max_forgetting: float | None = None
    """Largest tolerated drop of any general suite, in its unit; None: no limit."""
    cost: str = "parameters"
    """Cost metric that orders the candidates."""
    min_gain: float = 0.0
    reference_point: dict[str, float] = {}
    """Objective or cost → where hypervolumes are measured from, in its unit; named before the sweep
    and never moved with the data. For what is not named see `analysis.hypervolume`."""
    max_cost: dict[str, float] = {}
    """Cost → the most that a configuration may cost, in the cost's unit. What costs more, or what
    has no such figure, is not offered."""
    weights: dict[str, float] = {}
    """Objective or cost → what one unit of it is worth to the user, for a choice by weights that is
    shown beside the decision; empty: none is."""
    guards: dict[str, Guard] = {}
    """`SUITE`, `SUITE[field=value]` or `recall[LABEL]` → what has to hold of it."""
    outcome: OutcomeLimit | None = None
    """What the result of a live test has to show, once there is one."""
    require_review: bool = False
    """The decision stays provisional until people have compared the answers of its trial with those
    of its base, blind (`sweep review`)."""


class SpaceDimension(StrictModel):
    """A searched setting, as the spec declares it. Fixed settings are left out, but not fixed
    shares (equal ends), without which `mixture:` could not be written again."""

    name: str
    """As in the spec and in `RunRecord.params`: `learning_rate`, `mixture.general`."""
    form: Literal["uniform", "log", "int", "log_int", "choice", "ordered", "share"]
    """`share`: of the training tokens, under `mixture:`."""
    low: float | None = None
    """Of a range, as `high`."""
    high: float | None = None
    step: float | None = None
    choices: tuple[Any, ...] = ()
    """Of `choice` and `ordered`, in the spec's order."""
    when: dict[str, tuple[Any, ...]] = {}
    """Setting → values under which this one exists."""
    least: float | None = None
    """Hard limit of the setting itself, whatever the range; None: there is none. So is `most`."""
    most: float | None = None


class Stopping(StrictModel):
    """How trials were stopped early at the rungs."""

    keep: float
    """Share of the trials at a rung that was promoted."""
    grace: float
    """Share of the budget below which forgetting alone stopped no trial: gain alone ranked."""


class LookRecord(StrictModel):
    """One look of an adaptive confirmation: what was still open, and who got more seeds."""

    look: int
    """From 1."""
    seeds: dict[str, int]
    """Trial id of each finalist → seeds that it had at this look."""
    undecided: tuple[str, ...] = ()
    """Base models that this look could not decide, on validation."""
    more: dict[str, int] = {}
    """Trial id → seeds that it is to have at the next look; empty: this look is the last."""
    reason: str
    """Why it goes on, or why it stops, in words."""


class SweepRecord(StrictModel):
    """Everything about a sweep but its item scores."""

    schema_version: Literal[1] = 1
    id: str
    name: str
    stage: Stage
    """The last stage that finished."""
    store: str = ""
    question: Question
    suites: tuple[SuiteInfo, ...]
    models: tuple[ModelInfo, ...]
    budget_unit: str = "tokens"
    prices: dict[str, float] = {}
    space: tuple[SpaceDimension, ...] = ()
    """What was searched; empty where it is not known."""
    roles: dict[str, Role] = {}
    """Source of training rows → what its rows are; empty where it is not known."""
    flagged: dict[str, dict[str, dict[str, tuple[str, ...]]]] = {}
    """`leaked` or `synthetic` → suite → split → ids of items that the check of the data flagged."""
    stopping: Stopping | None = None
    """None: no trial was stopped early."""
    planned_looks: tuple[int, ...] = ()
    """Seeds a finalist has at each look of an adaptive confirmation, as declared before; empty:
    one look, with a fixed number of seeds."""
    looks: tuple[LookRecord, ...] = ()
    """The looks that were made."""
    objectives: tuple[GivenObjective, ...] = ()
    """Of a table from elsewhere (`sweep import`): its runs have figures in `metrics` and no item
    scores. Empty: a sweep of ours, whose figures all come from item scores."""
    runs: tuple[RunRecord, ...]
    test_opened: int = 0
    """How often these test items were opened, across sweeps."""
    warnings: tuple[str, ...] = ()
    provenance: dict[str, str] = {}
    """Versions, machine, spec hash, commit, Ray job."""


@dataclass(frozen=True)
class Evidence:
    """A sweep with its item scores: all that `analysis` works on."""

    sweep: SweepRecord
    items: tuple[tuple[str, ItemScores], ...]
    """(run key, scores); a run has several, by suite, split and rung."""
    later: tuple[LaterEvidence, ...] = ()
    """What was recorded with the sweep after it was decided."""


class RecordReader(Protocol):
    """Where evidence comes from: an MLflow store, its local cache, an imported table."""

    def sweep_ids(self) -> list[str]:
        """Newest first."""
        ...

    def load(self, sweep_id: str) -> Evidence:
        """Raises UserError for an unknown id, naming the store and the nearest known ids."""
        ...
