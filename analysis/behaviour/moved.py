"""What moved from the base: every behaviour suite and slice of one configuration.

A change is tuned minus base, item by item, in the suite's own unit; clusters are draws, and the
seed variance is pooled, as for gain. *Worse* and *better* are said where the change is resolved
after a correction for how many were looked at: Holm over the suites, which were declared beforehand
and are few; Benjamini and Hochberg over the slices, which are many. Intervals are two-sided 95 %
each, not corrected.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from keepgain.analysis.behaviour.bounds import draws_of, floored, turned
from keepgain.analysis.behaviour.families import family_figures
from keepgain.analysis.behaviour.figure import Figure
from keepgain.analysis.measures import Measures
from keepgain.analysis.slices import Slice, SliceFigure, slices_of
from keepgain.analysis.stats import CONFIDENCE, Estimate, Uncertain
from keepgain.analysis.table import Configuration, SuiteItems
from keepgain.core.config import Split
from keepgain.core.items import MIN_SLICE_ITEMS
from keepgain.core.multiplicity import benjamini_hochberg, holm
from keepgain.core.scorers import scorer

Verdict = Literal["worse", "better", "changed", "not_resolved"]
"""changed: resolved, of a distance from the base, which is neither good nor bad by itself."""


@dataclass(frozen=True)
class Change:
    """A suite, or a slice of one, against the base."""

    suite: SuiteItems
    part: Slice | None
    """None: the whole suite."""
    base: Estimate
    """Mean score, in the suite's unit, as `tuned`."""
    tuned: Estimate
    uncertain: Uncertain | None
    """Tuned minus base; None: the base has no scores here."""
    adjusted: float | None = None
    """P value of no change, corrected for the number of suites, or of slices; None: unknown."""
    verdict: Verdict = "not_resolved"

    @property
    def change(self) -> Estimate:
        """With its own interval."""
        return self.uncertain.estimate() if self.uncertain else Estimate()

    @property
    def name(self) -> str:
        """`refusals`, `refusals[language=de]`."""
        whole = self.suite.info.name
        return whole if self.part is None else f"{whole}[{self.part.field}={self.part.value}]"

    @property
    def harm(self) -> float:
        """How far it moved for the worse, in the suite's unit; negative: for the better."""
        return -self.suite.sign * self.uncertain.value if self.uncertain else 0.0


@dataclass(frozen=True)
class SuiteMoved:
    """All that is said of one behaviour suite."""

    whole: Change
    slices: tuple[Change, ...]
    """Of at least `MIN_SLICE_ITEMS` items."""
    small: int
    """Slices with fewer, which are left out."""
    figures: tuple[Figure, ...]
    """Of the suite's family: see `families`."""


def moved(measures: Measures, who: Configuration, split: Split) -> tuple[SuiteMoved, ...]:
    """Every behaviour suite that a configuration was scored on, as the spec lists them.

    Args:
        measures: Of the table of behaviour suites.
        who: A configuration of that table.
        split: On which it has scores; empty without.
    """
    wholes = suites_moved(measures, who, split)
    suites = [w.suite for w in wholes]
    sizes = {s.info.name: _slices(s) for s in suites}
    parts = judged(
        [_change(measures, who, s, part) for s in suites for part in sizes[s.info.name][0]],
        few=False,
    )
    return tuple(
        SuiteMoved(
            whole=whole,
            slices=tuple(p for p in parts if p.suite is whole.suite),
            small=sizes[whole.suite.info.name][1],
            figures=_figures(measures, who, whole.suite),
        )
        for whole in wholes
    )


def suites_moved(measures: Measures, who: Configuration, split: Split) -> list[Change]:
    """As `moved`, of the suites alone."""
    scored = who.scores.get(split, {})
    suites = [s for name, s in measures.table.suites.get(split, {}).items() if name in scored]
    return judged([_change(measures, who, s, None) for s in suites], few=True)


def judged(changes: Sequence[Change], *, few: bool) -> list[Change]:
    """With corrected P values, and what they say.

    Args:
        changes: Of one family of questions.
        few: Holm's correction; else Benjamini and Hochberg's.
    """
    p_values = [c.uncertain.p_value() if c.uncertain else None for c in changes]
    asked = [p for p in p_values if p is not None]
    corrected = iter((holm(asked) if few else benjamini_hochberg(asked)).tolist())
    found = []
    for change, p in zip(changes, p_values, strict=True):
        adjusted = None if p is None else next(corrected)
        found.append(replace(change, adjusted=adjusted, verdict=_verdict(change, adjusted)))
    return found


def worse_for_certain(changes: Sequence[Change]) -> list[Change]:
    """Those that are resolved and worse, by how far they are from 0 in standard errors."""
    worse = [c for c in changes if c.verdict == "worse"]
    return sorted(worse, key=lambda c: c.adjusted or 0.0)


def is_distance(suite: SuiteItems) -> bool:
    """True if more of it is neither good nor bad: a distance from the base, or a neutral count."""
    kind = scorer(suite.info.scorer)
    return kind.needs == "base" or kind.neutral


def _verdict(change: Change, adjusted: float | None) -> Verdict:
    if adjusted is None or adjusted > 1 - CONFIDENCE or not change.harm:
        return "not_resolved"
    if is_distance(change.suite):
        return "changed"
    return "worse" if change.harm > 0 else "better"


def _slices(suite: SuiteItems) -> tuple[list[Slice], int]:
    """Those with enough items, and how many have fewer; a slice with all items is the suite."""
    sized = [(s, int((suite.slices[s.field] == s.value).sum())) for s in slices_of(suite)]
    sized = [(s, n) for s, n in sized if n < len(suite.item_ids)]
    large = [s for s, n in sized if n >= MIN_SLICE_ITEMS]
    return large, len(sized) - len(large)


def _change(
    measures: Measures, who: Configuration, suite: SuiteItems, part: Slice | None
) -> Change:
    base = measures.base(who.model)
    before = None if base is None else level(measures, base, suite, part)
    tuned = level(measures, who, suite, part)
    return Change(
        suite=suite,
        part=part,
        base=before.estimate() if before else Estimate(),
        tuned=tuned.estimate() if tuned else Estimate(),
        uncertain=change_from_base(measures, who, suite, part),
    )


def level(
    measures: Measures, who: Configuration, suite: SuiteItems, part: Slice | None
) -> Uncertain | None:
    """Mean score of a suite or slice, in its unit; None without scores."""
    quantity = f"score:{suite.info.name}" if part is None else SliceFigure(part, gain=False)
    found = measures.measure(who, suite.split, quantity)
    return found and floored(found, draws_of(suite, part), suite.info.scorer)


def change_from_base(
    measures: Measures, who: Configuration, suite: SuiteItems, part: Slice | None
) -> Uncertain | None:
    """Tuned minus base of a suite or slice, paired by item; None where one has no scores."""
    if part is None:
        drop = measures.drop(who, suite.split, suite.info.name)
        found = drop and turned(drop, -suite.sign)
    else:
        gain = measures.measure(who, suite.split, SliceFigure(part, gain=True))
        found = gain and turned(gain, suite.sign)
    return found and floored(found, draws_of(suite, part), suite.info.scorer)


def _figures(measures: Measures, who: Configuration, suite: SuiteItems) -> tuple[Figure, ...]:
    base = measures.base(who.model)
    before = None if base is None else base.scores.get(suite.split, {}).get(suite.info.name)
    once = None if before is None else before.mean(axis=1, keepdims=True)
    return tuple(family_figures(suite, who.scores[suite.split][suite.info.name], once))
