"""What a tuned model lost: is it gone, or only masked? From suites with `recover`.

Such a suite asks the items of another one again, with a text before each prompt. The masked share
is the part of the loss that comes back with the text (after Kotha, Springer & Raghunathan, ICLR
2024, arXiv 2309.10105),

    masked = (tuned with text - tuned) / (base - tuned),

near 1 where the answers are still there and near 0 where they are lost; noise and a text that helps
or hurts the base, too, can put it outside [0, 1]. It is a ratio of two means of the same items: its
interval is from the linearised terms (delta method), which holds only where the loss is far from 0.
So it is given where the loss is resolved, and nowhere else.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from keepgain.analysis import stats
from keepgain.analysis.behaviour.bounds import floored
from keepgain.analysis.measures import Measures
from keepgain.analysis.stats import Block, Estimate
from keepgain.analysis.table import Configuration, SuiteItems, Table
from keepgain.core.config import Split
from keepgain.core.items import MIN_SLICE_ITEMS, Floats

Verdict = Literal["resolved", "not_resolved", "nothing_lost"]
"""Of the loss: its 95 % interval is above 0; it is not; the tuned score is the better one."""


@dataclass(frozen=True)
class Recovery:
    """One suite, with and without the text. Scores are in the suite's unit and direction."""

    suite: str
    again: str
    """The suite with the text."""
    base: Estimate
    base_with: Estimate
    """What the text does to the base itself."""
    tuned: Estimate
    tuned_with: Estimate
    lost: Estimate
    """Base minus tuned, without the text; positive is worse."""
    cost: Estimate
    """What the text takes from the base itself, paired: base minus base with text, positive is
    worse. Where it is much, little coming back proves no loss."""
    verdict: Verdict
    masked: Estimate | None
    """Share of the loss that comes back; None unless the loss is resolved."""

    @property
    def text_hurts(self) -> bool:
        """True if the text costs the base some of its score for certain."""
        return self.cost.low is not None and self.cost.low > 0


@dataclass(frozen=True)
class _Scores:
    """Of one configuration on the common items."""

    plain: Floats
    """Shape [n, S]."""
    again: Floats


def recoveries(measures: Measures, who: Configuration, split: Split) -> tuple[Recovery, ...]:
    """One for each suite with `recover` that a configuration and its base were scored on.

    Args:
        measures: Of the suites that decide, with those of behaviours beside them.
        who: A configuration of the table that decides.
        split: On which it has scores.
    """
    beside = measures.behaviours
    if beside is None:
        return ()
    tables = [measures.table, beside.table]
    found = []
    for again in beside.table.suites.get(split, {}).values():
        plain = _suite(tables, split, again.info.recovers or "")
        tuned = plain and _scores(tables, who, split, plain, again)
        base = measures.base(who.model)
        before = plain and base and _scores(tables, base, split, plain, again)
        if plain and tuned and before:
            items = _only(again, np.isin(again.item_ids, plain.item_ids))
            found.append(_recovery(plain.info.name, items, who, tuned, before))
    return tuple(found)


def _suite(tables: list[Table], split: Split, name: str) -> SuiteItems | None:
    here = (t.suites.get(split, {}).get(name) for t in tables)
    return next((s for s in here if s is not None), None)


def _scores(
    tables: list[Table], who: Configuration, split: Split, plain: SuiteItems, again: SuiteItems
) -> _Scores | None:
    """On the items that both suites have; None where runs or scores are missing."""
    sides = []
    for suite, other in ((plain, again), (again, plain)):
        name, kept = suite.info.name, np.isin(suite.item_ids, other.item_ids)
        same = (c for t in tables for c in t.configurations if c.trial_id == who.trial_id)
        own = next((c for c in same if name in c.scores.get(split, {})), None)
        if own is None:
            return None
        sides.append((own.scores[split][name][kept], [r.run_key for r in own.runs[split]]))
    (first, runs), (second, others) = sides
    return _Scores(first, second) if runs == others else None


def _only(suite: SuiteItems, kept: np.ndarray) -> SuiteItems:
    ids, weights = suite.item_ids[kept], suite.weights[kept]
    return SuiteItems(suite.info, suite.split, ids, weights, suite.clusters_of(kept))


def _recovery(
    name: str, items: SuiteItems, who: Configuration, tuned: _Scores, base: _Scores
) -> Recovery:
    before = base.plain.mean(axis=1, keepdims=True)
    loss = items.sign * (before - tuned.plain)
    lost = _estimate(items, loss, who)
    verdict: Verdict = "not_resolved"
    if lost.value is not None and lost.value <= 0:
        verdict = "nothing_lost"
    elif lost.low is not None and lost.low > 0:
        verdict = "resolved"
    masked = None
    if verdict == "resolved":
        mean_loss = float(np.average(loss.mean(axis=1), weights=items.weights))
        terms = masked_terms(items.sign * (tuned.again - tuned.plain), loss, items.weights)
        masked = _over(_estimate(items, mean_loss * terms, who), mean_loss)
    return Recovery(
        suite=name,
        again=items.info.name,
        base=_estimate(items, base.plain, None),
        base_with=_estimate(items, base.again, None),
        tuned=_estimate(items, tuned.plain, who),
        tuned_with=_estimate(items, tuned.again, who),
        lost=lost,
        cost=_estimate(items, items.sign * (before - base.again), None),
        verdict=verdict,
        masked=masked,
    )


def masked_terms(back: Floats, loss: Floats, weights: Floats) -> Floats:
    """Item terms whose mean is the ratio of two means.

    Args:
        back: What comes back, shape [n, S].
        loss: What was lost, likewise; its mean is not 0.
        weights: Shape [n].

    Returns:
        ``r + (back - r loss) / mean(loss)`` with r the ratio of the means over items and seeds.
    """
    mean_back, mean_loss = (
        float(np.average(x.mean(axis=1), weights=weights)) for x in (back, loss)
    )
    ratio = mean_back / mean_loss
    return np.asarray(ratio + (back - ratio * loss) / mean_loss, dtype=np.float64)


def _over(e: Estimate, divisor: float) -> Estimate:
    value, low, high = (None if x is None else x / divisor for x in (e.value, e.low, e.high))
    return replace(e, value=value, low=low, high=high)


def _estimate(items: SuiteItems, values: Floats, who: Configuration | None) -> Estimate:
    """Over items, and over the configuration's own seeds: those of other trials tell nothing of a
    ratio to its own loss. One seed of a trial leaves the interval unknown; items that are all
    alike, a suite that is lost whole, have the bounds of `bounds.floored`.

    Args:
        who: None: a base, which has no training seed.
    """
    block = Block(values, items.weights, items.clusters)
    seeds = values.shape[1]
    terms = [] if who is None or who.kind != "trial" else [(stats.pool_seeds([[block]]), 1 / seeds)]
    found = stats.combine([block.averaged()], terms, seeds)
    if found.n_items < MIN_SLICE_ITEMS:
        return replace(found, method=stats.UNKNOWN).estimate()
    return floored(found, items.draws, items.info.scorer).estimate()
