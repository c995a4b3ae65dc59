"""The result of an analysis; every renderer draws from it and computes nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from keepgain.analysis.behaviour.beside import Behaviour
from keepgain.analysis.behaviour.outcomes import OutcomeFound
from keepgain.analysis.best_of_k import Curve
from keepgain.analysis.choosing import Choices
from keepgain.analysis.churn import Churn
from keepgain.analysis.decide import Decision
from keepgain.analysis.descriptions import churn_of, descriptions, slice_estimates
from keepgain.analysis.edges import Edge
from keepgain.analysis.effort import Effort
from keepgain.analysis.flagged import OnSubset
from keepgain.analysis.fronts import Front, Place
from keepgain.analysis.given_table import GivenTable
from keepgain.analysis.measures import Drop, Measures
from keepgain.analysis.objectives import Objective
from keepgain.analysis.overfitting import Overfitting
from keepgain.analysis.rung_check import RungCheck
from keepgain.analysis.scaling import Scaling
from keepgain.analysis.served import AsServed
from keepgain.analysis.sizes import Size
from keepgain.analysis.slices import SliceEstimate
from keepgain.analysis.stats import Estimate
from keepgain.analysis.table import Configuration, Exclusion
from keepgain.core.config import Split
from keepgain.core.record import Question, SweepRecord
from keepgain.core.review_record import ReviewRecord


@dataclass(frozen=True)
class Row:
    """One configuration as shown."""

    who: Configuration
    split: Split | None
    """The split of its figures; None if it has none."""
    place: Place | None
    decided: bool = False
    """That split is the decision's."""
    measures: Measures | None = None
    """Where its figures are computed when they are asked for: of thousands of rows few are shown.
    None: a table from elsewhere, or a row without figures."""
    given: Mapping[str, Estimate] = field(default_factory=dict)
    """Its figures where there are no `measures`."""

    @cached_property
    def estimates(self) -> Mapping[str, Estimate]:
        """Objective → its figure; without a value where it cannot be computed."""
        if self.measures is None or self.split is None:
            return self.given
        return self.measures.estimates(self.who, self.split)

    @cached_property
    def slices(self) -> tuple[SliceEstimate, ...]:
        """On the split of the decision; empty for rows of another."""
        if self.measures is None or self.split is None or not self.decided:
            return ()
        return slice_estimates(self.measures, self.who, self.split)

    @cached_property
    def churn(self) -> tuple[Churn, ...]:
        """Of trials and reference arms, on the row's split."""
        if self.measures is None or self.split is None or self.who.kind == "base":
            return ()
        return churn_of(self.measures, self.who, self.split)

    @cached_property
    def descriptions(self) -> Mapping[str, Estimate]:
        """See `objectives.DESCRIPTIONS`; of trials, on the row's split."""
        if self.measures is None or self.split is None or self.who.kind != "trial":
            return {}
        return descriptions(self.measures, self.who, self.split)

    @property
    def replicates(self) -> int:
        """Runs behind its figures; of a table from elsewhere, rows."""
        if self.split is not None:
            return self.who.seeds(self.split)
        return max((e.n_seeds for e in self.estimates.values()), default=0)


@dataclass(frozen=True)
class SizeRow:
    """One base model as shown."""

    size: Size
    estimates: Mapping[str, Estimate]
    probability_adequate: float | None
    on_front: bool
    """On the front of (task score, general score, cost) across sizes and reference arms."""
    worst: Drop | None = None
    """The largest drop of a forgetting suite; None: none was measured."""


@dataclass(frozen=True)
class Analysis:
    """All that is shown of a sweep."""

    sweep: SweepRecord
    question: Question
    objectives: tuple[Objective, ...]
    rows: tuple[Row, ...]
    sizes: tuple[SizeRow, ...]
    decision: Decision
    excluded: tuple[Exclusion, ...]
    warnings: tuple[str, ...]
    scorers: Mapping[str, str]
    """`gain` and `forgetting` → the scorer of those suites, empty if they have none in common."""
    rung_checks: tuple[RungCheck, ...] = ()
    edges: tuple[Edge, ...] = ()
    """Of the best trial of each size."""
    efforts: tuple[Effort, ...] = ()
    unequal_effort: str | None = None
    """What the base models were given unequally, with the numbers; None: nothing."""
    overfitting: Overfitting = field(default_factory=Overfitting)
    served: tuple[AsServed, ...] = ()
    subsets: tuple[OnSubset, ...] = ()
    """Of the sizes' candidates, where the check of the data flagged items."""
    cautions: tuple[str, ...] = ()
    """What puts the search itself in doubt, or speaks against serving the decision's trial as the
    spec asks, a sentence each; the decision's reason ends with it."""
    fronts: Mapping[str, Front] = field(default_factory=dict)
    """Field (`MODEL / SPLIT`) → its front."""
    levels: Front | None = None
    """The front across the sizes' candidates, bases and reference arms."""
    choices: tuple[Choices, ...] = ()
    """One per base model with a front on the split of the decision."""
    best_of_k: tuple[Curve, ...] = ()
    """One per base model that was searched."""
    scaling: Scaling | None = None
    """None: of a table from elsewhere."""
    given: GivenTable | None = None
    """Of a table from elsewhere (`sweep import`): its figures, which are all there is; then the
    estimates of rows and sizes are those of the declared objectives, and no row has a split."""
    forced: Split | None = None
    """The split that was asked for; None: none was."""
    wanted: tuple[str, ...] = ()
    """The objectives that were asked for; empty: none were."""
    behaviours: tuple[Behaviour, ...] = ()
    """Of the decision's trial, or of every size's candidate where it has none."""
    outcomes: tuple[OutcomeFound, ...] = ()
    """Of live tests, as recorded with the sweep."""
    reviews: tuple[ReviewRecord, ...] = ()
    """By people, oldest first."""
    awaits_review: bool = False
    """The question requires one of the decision's trial against its base, and there is none."""
