"""Guards: does a configuration keep what the question forbids to cross?

A guard *holds* if its one-sided bound is within the limit, as a limit on forgetting does; it is
*violated* if the bound on the other side is beyond it; else it is *not resolved*, which does not
pass. To call a configuration fit, every guard must hold, each by its own bound: then none needs a
correction for their number (intersection-union test; Berger, Technometrics 24, 1982). A guard that
was not measured does not pass either.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from keepgain.analysis import words
from keepgain.analysis.behaviour.moved import change_from_base, level
from keepgain.analysis.behaviour.verdict import SAYS, Answer, verdict
from keepgain.analysis.measures import Measures
from keepgain.analysis.slices import Slice
from keepgain.analysis.stats import CONFIDENCE, Uncertain
from keepgain.analysis.table import Configuration, SuiteItems
from keepgain.core.config import Split
from keepgain.core.guards import suite_of, watched
from keepgain.core.items import Floats
from keepgain.core.record import Question

EXAMPLES = 3
CHANGES = ("max_increase", "max_decrease")
"""Limits on the change from the base; the others are on the level."""
_SIDES: Mapping[str, float] = {"max_increase": 1.0, "max_decrease": -1.0, "max": 1.0, "min": -1.0}
"""+1: the raw figure may not be above the limit; -1: its negative may not."""


@dataclass(frozen=True)
class GuardFound:
    """One limit of one guard, of one configuration."""

    guard: str
    """As the question names it."""
    limit_name: str
    """`max_increase`, `max_decrease`, `min` or `max`."""
    limit: float
    """In the suite's unit, as given."""
    suite: str
    scorer: str
    figure: Uncertain | None
    """The change from the base (`max_increase`, `max_decrease`), else the level, as measured; None:
    it was not measured."""
    bound: float | None
    """One-sided bound of the figure on the side of the limit; None: unknown."""
    confidence: float
    answer: Answer
    holds_at_point: bool
    examples: tuple[str, ...]
    """Ids of the items that speak most against it, the first one most."""

    @property
    def threshold(self) -> float:
        """What the bound is held against; a decrease is negative."""
        return -self.limit if self.limit_name == "max_decrease" else self.limit

    @property
    def side(self) -> Literal["at_most", "at_least"]:
        """What the bound has to be of the threshold."""
        return "at_most" if _SIDES[self.limit_name] > 0 else "at_least"

    @property
    def of_change(self) -> bool:
        """It limits the change from the base, not the level."""
        return self.limit_name in CHANGES


def guards_found(
    measures: Measures,
    split: Split,
    who: Configuration,
    question: Question,
    confidence: float = CONFIDENCE,
    *,
    examples: bool = True,
) -> tuple[GuardFound, ...]:
    """Every limit of every guard of the question, in its order.

    Args:
        measures: Of the suites that decide, with those of behaviours beside them.
        who: A configuration of its table.
        confidence: One-sided, of each bound.
        examples: False: without them, where thousands of trials are asked.
    """
    return tuple(
        _found(measures, split, who, question, _Limit(name, kind, limit, examples), confidence)
        for name, guard in question.guards.items()
        for kind, limit in guard.limits.items()
    )


def guard_broken(
    measures: Measures, split: Split, who: Configuration, question: Question
) -> str | None:
    """Which guard the point estimates break, the first one; None: none that was measured."""
    for found in guards_found(measures, split, who, question, examples=False):
        if found.figure is not None and not found.holds_at_point:
            value = f"{found.figure.value:.3g}"
            return f"{found.guard} {value} breaks the guard ({found.limit_name} {found.limit:.3g})"
    return None


def told(found: GuardFound) -> str:
    """`the guard refusals (max_increase 2.0 points) is violated: it changed by +5.1 points [3.2,
    7.0], at most 6.7 points at 95 % confidence; items a, b and c`."""
    of = f" on {words.clean(found.suite)}" if watched(found.guard).of_class else ""
    said = (
        f"the guard {words.clean(found.guard)}{of} "
        f"({found.limit_name} {_amount(found, found.limit)}) "
    )
    if found.figure is None:
        return f"{said}was not measured"
    said += SAYS[found.answer]
    if found.of_change:
        sign = "+" if found.figure.value > 0 else ""
        said += f": it changed by {sign}{words.amount_interval(found.figure, found.scorer)}"
    else:
        said += f": it is at {words.interval(found.figure.estimate(), found.scorer)}"
    bound = "unknown" if found.bound is None else _amount(found, found.bound)
    said += f", {found.side.replace('_', ' ')} {bound} at "
    said += f"{words.confidence(found.confidence)} confidence"
    if found.answer != "holds" and found.examples:
        said += f"; items {words.join([words.clean(i) for i in found.examples])}"
    return said


def _amount(found: GuardFound, value: float) -> str:
    return (words.amount if found.of_change else words.level)(value, found.scorer)


@dataclass(frozen=True)
class _Limit:
    guard: str
    kind: str
    value: float
    examples: bool
    """Whether items are wanted that speak against it."""


def _found(
    measures: Measures,
    split: Split,
    who: Configuration,
    question: Question,
    limit: _Limit,
    confidence: float,
) -> GuardFound:
    gains = tuple(s.name for s in measures.table.sweep.suites if s.measures == "gain")
    suite_name = suite_of(limit.guard, question.guards[limit.guard], gains) or ""
    place = _place(measures, split, who, suite_name)
    figure: Uncertain | None = None
    examples: tuple[str, ...] = ()
    scorer = ""
    if place is not None:
        here, mine, suite = place
        scorer = suite.info.scorer
        parts = _parts(suite, limit.guard)
        for part in parts:
            measure = change_from_base if limit.kind in CHANGES else level
            figure = measure(here, mine, suite, part)
            if limit.examples:
                examples = _examples(here, mine, suite, part, limit)
    answer, bound, at_point = judged(figure, limit.kind, limit.value, confidence)
    return GuardFound(
        guard=limit.guard,
        limit_name=limit.kind,
        limit=limit.value,
        suite=suite_name,
        scorer=scorer,
        figure=figure,
        bound=bound,
        confidence=confidence,
        answer=answer,
        holds_at_point=at_point,
        examples=examples,
    )


def judged(
    figure: Uncertain | None, limit_name: str, limit: float, confidence: float
) -> tuple[Answer, float | None, bool]:
    """What a limit says of a figure, the bound on its side, and if the figure itself is within it.

    Args:
        figure: Change or level, as measured; None: it was not measured.
        limit_name: Key of the limit.
        limit: In the figure's unit; of `max_decrease` how far it may fall.
        confidence: One-sided.
    """
    if figure is None:
        return "not_resolved", None, False
    side = _SIDES[limit_name]
    most = -limit if limit_name == "max_decrease" else limit
    within = side * figure.value <= side * most
    low, high = figure.lower(confidence), figure.upper(confidence)
    return verdict(low, high, most, side), high if side > 0 else low, within


def _place(
    measures: Measures, split: Split, who: Configuration, suite: str
) -> tuple[Measures, Configuration, SuiteItems] | None:
    """Where a suite was measured, and the configuration there."""
    for here in (measures, measures.behaviours):
        if here is None or suite not in here.table.suites.get(split, {}):
            continue
        found = here.configuration(who.trial_id)
        if found is not None and suite in found.scores.get(split, {}):
            return here, found, here.table.suites[split][suite]
    return None


def _parts(suite: SuiteItems, name: str) -> tuple[Slice | None, ...]:
    """The slice that the guard is about, or None for the whole suite; empty: no item is in it."""
    asked = watched(name)
    if asked.field is None or asked.value is None:
        return (None,)
    values = suite.slices.get(asked.field)
    if values is None or not bool(np.any(values == asked.value)):
        return ()
    return (Slice(suite.info.name, asked.field, asked.value),)


def _examples(
    measures: Measures,
    who: Configuration,
    suite: SuiteItems,
    part: Slice | None,
    limit: _Limit,
) -> tuple[str, ...]:
    """Items on the wrong side: those that changed most, or whose own level is farthest beyond the
    limit."""
    tuned = who.scores[suite.split][suite.info.name].mean(axis=1)
    base = measures.base(who.model)
    before = None if base is None else base.scores.get(suite.split, {}).get(suite.info.name)
    change: Floats = tuned - before.mean(axis=1) if before is not None else tuned * 0
    side = _SIDES[limit.kind]
    against = side * (change if limit.kind in CHANGES else tuned - limit.value)
    inside = against > 0
    if part is not None:
        inside &= suite.slices[part.field] == part.value
    # Of equal levels, those that the base had right come first.
    order = np.lexsort((np.arange(len(tuned)), -side * change, -against))
    return tuple(str(suite.item_ids[i]) for i in order if inside[i])[:EXAMPLES]
