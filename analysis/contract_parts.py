"""The parts of the JSON that `analyze` prints; `contract` makes them."""

from typing import Any, Literal

from keepgain.analysis.contract_sizes import CheckPart
from keepgain.analysis.decide import Status
from keepgain.analysis.stats import Estimate
from keepgain.core.config import Measures, ServeForm, Split
from keepgain.core.metrics import Direction
from keepgain.core.record import RunKind
from keepgain.core.schema import StrictModel
from keepgain.core.status import Stage, TrialStatus


class SweepPart(StrictModel):
    """Which sweep."""

    id: str
    name: str
    stage: Stage
    store: str
    test_opened: int


class ObjectivePart(StrictModel):
    """What a column means."""

    name: str
    direction: Direction
    unit: str
    metric_version: int


class EstimatePart(StrictModel):
    """A figure with its interval."""

    value: float | None
    low: float | None
    high: float | None
    n_items: int | None
    n_seeds: int | None
    interval_method: str | None


class CandidatePart(StrictModel):
    """Which weights: after how many training tokens, and how far towards the tuned ones."""

    tokens: int
    alpha: float
    """1 is the tuned model itself; less is a point between it and its base."""


class TrialPart(StrictModel):
    """A trial over its seeds, a base, or a reference arm."""

    id: str
    label: str
    model: str
    kind: RunKind
    params: dict[str, Any]
    stage: Stage
    split: Split | None
    replicates: int
    status: TrialStatus
    rank: int | None
    rank_group: str | None
    objectives: dict[str, EstimatePart]
    cost: dict[str, float]
    candidate: CandidatePart | None
    on_front: bool
    near_front: bool
    front_membership: float | None
    front_excluded: str | None
    """Why it is on no front: what it lacks, or the limit that it breaks."""
    descriptions: dict[str, EstimatePart]


class SizePart(StrictModel):
    """A base model with the candidate that stands for it."""

    model: str
    parameters: int | None
    trial: str | None
    objectives: dict[str, EstimatePart]
    cost: dict[str, float]
    probability_adequate: float | None
    unequal_effort: bool
    """The sizes were not searched alike; see `effort`."""
    worst_suite: str | None
    """Of the largest drop."""
    over_budget: str | None
    """Which limit on a cost left it without a candidate."""
    checks: list[CheckPart]
    seed_variance: float | Literal["unknown"] | None
    """Of a single run's task score; `unknown`: nothing of this size was trained twice."""
    seed_df: int | None


class SlicePart(StrictModel):
    """A trial, base or reference arm on the items of a suite that have one value of a field."""

    trial: str
    suite: str
    field: str
    value: str
    score: EstimatePart
    gain: EstimatePart
    """Against the base; up is good on every suite."""


class ChurnPart(StrictModel):
    """A trial or reference arm against its base, on a suite whose scores are 0 or 1."""

    trial: str
    split: Split | None
    suite: str
    right_to_wrong: EstimatePart
    """Share of items."""
    wrong_to_right: EstimatePart
    right_to_wrong_beyond_chance: float | None
    """Less what guessing gives, not below 0; null without a chance level."""
    wrong_to_right_beyond_chance: float | None


class FindingPart(StrictModel):
    """A pair of rungs of a run: the validation loss fell, and a score got worse."""

    trial: str
    model: str
    seed: int
    suite: str
    measures: Measures
    scorer: str
    before: int
    """Training tokens at the earlier rung."""
    after: int
    loss: EstimatePart
    change: EstimatePart
    """Of the score, up is good; its interval holds for all comparisons together."""


class GapPart(StrictModel):
    """Losses of a trial at its end, in nats per token."""

    trial: str
    model: str
    validation: float
    training: float
    gap: EstimatePart


class OverfittingPart(StrictModel):
    """What was looked for, and found."""

    runs: int
    comparisons: int
    confidence: float
    """Two-sided, of the interval of `change`."""
    findings: list[FindingPart]
    gaps: list[GapPart]


class ServedPart(StrictModel):
    """One run's test scores with its weights held in one form, against its own scores."""

    trial: str
    model: str
    kind: RunKind
    seed: int
    form: ServeForm
    same: bool
    """The sweep computes in this form: nothing was scored twice."""
    failure: str | None
    task_score_change: EstimatePart
    """Up is good."""
    worst_drop: EstimatePart
    """Its interval holds for all forgetting suites together."""
    worst_drop_suite: str | None
    weight_bytes: float | None
    scored_weight_bytes: float | None
    seconds_per_answer: float | None
    """Median."""


class GuardPart(StrictModel):
    """One limit of a guard, of a size's candidate."""

    trial: str
    model: str
    guard: str
    """As the question names it."""
    limit: Literal["max_increase", "max_decrease", "min", "max"]
    limit_value: float
    suite: str
    figure: EstimatePart
    """The change from the base for `max_increase` and `max_decrease`, else the level."""
    bound: float | None
    """One-sided, on the side of the limit."""
    confidence: float
    answer: Literal["holds", "violated", "not_resolved"]
    examples: list[str]
    """Ids of the items that speak most against it."""


FlipPart = dict[Literal["what", "from", "to", "answer"], str | float | None]


class DecisionPart(StrictModel):
    """The answer."""

    status: Status
    model: str | None
    trial: str | None
    probability: float | None
    confidence: float
    """One-sided, of the size rule's bounds: .95, or more where looks have spent some error."""
    reason: str
    tied_with: list[str]
    flips: list[FlipPart]
    guards: list[GuardPart]
    """Empty where the question has none."""
    awaits_review: bool
    """Provisional until people have compared the trial's answers with its base's."""


class ExcludedPart(StrictModel):
    """A run or trial that was not compared, and why."""

    trial: str
    reason: str


class AgreementPart(StrictModel):
    """How well a rung tells the full budget."""

    value: float
    low: float
    high: float


class RungCheckPart(StrictModel):
    """A rung of a base model, checked by audit trials."""

    model: str
    share: float
    """Of the full budget."""
    audits: int
    assessed: bool
    unsafe: bool
    top_third_recall: AgreementPart | None
    gain_correlation: AgreementPart | None
    forgetting_correlation: AgreementPart | None


class EdgePart(StrictModel):
    """A setting of a size's best trial at the edge of what was searched."""

    model: str
    trial: str
    name: str
    value: float
    side: Literal["low", "high"]
    wider: str
    """A line for the spec's `space:`."""


class EffortPart(StrictModel):
    """What the search spent on a base model."""

    model: str
    trials: int
    tokens: int


class OnSubsetPart(StrictModel):
    """Figures on a part of the items."""

    subset: Literal["without_leaked", "synthetic"]
    split: str
    used: dict[str, int]
    """Suite → items used."""
    of: dict[str, int]
    """Suite → its items."""
    trials: dict[str, dict[str, EstimatePart]]
    """Configuration → figure."""


def estimate_part(e: Estimate) -> EstimatePart:
    """A figure with its interval."""
    measured = e.value is not None
    return EstimatePart(
        value=e.value,
        low=e.low,
        high=e.high,
        n_items=e.n_items or None if measured else None,
        n_seeds=e.n_seeds if measured else None,
        interval_method=e.interval_method,
    )
