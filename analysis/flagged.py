"""Figures on fewer items: without those that the check of the data flagged.

Leaked items: the main figures have them, and stand beside figures without them. Synthetic items:
the decision is on real ones, and the synthetic ones have figures of their own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from keepgain.analysis import stats
from keepgain.analysis.measures import Measures
from keepgain.analysis.stats import Estimate
from keepgain.analysis.table import Configuration, build_table
from keepgain.core.config import Split
from keepgain.core.items import MIN_SLICE_ITEMS, ItemScores
from keepgain.core.record import Evidence

LEAKED: Final = "leaked"
SYNTHETIC: Final = "synthetic"
"""Keys of `SweepRecord.flagged`."""
FIGURES = ("gain", "forgetting", "task_score")
Subset = Literal["without_leaked", "synthetic"]


@dataclass(frozen=True)
class OnSubset:
    """Figures of some configurations on a part of the items."""

    subset: Subset
    split: Split
    used: Mapping[str, int]
    """Suite → its items that are used, of the suites that have flagged ones."""
    of: Mapping[str, int]
    """Suite → all its items."""
    trials: Mapping[str, Mapping[str, Estimate]]
    """Configuration → figure → its estimate; without a value where a suite has no item left."""


def on_real_items(evidence: Evidence) -> Evidence:
    """Without synthetic items; a suite that has no other ones keeps them."""
    flagged = evidence.sweep.flagged.get(SYNTHETIC)
    return evidence if not flagged else _select(evidence, flagged, inside=False, keep_whole=True)


def on_subsets(
    evidence: Evidence, split: Split, who: Sequence[Configuration]
) -> tuple[OnSubset, ...]:
    """One of each kind of which the split has flagged items.

    Args:
        evidence: With all items.
        split: Of the decision.
        who: Configurations with scores on it.
    """
    found = []
    kinds: tuple[tuple[str, Subset], ...] = ((LEAKED, "without_leaked"), (SYNTHETIC, SYNTHETIC))
    for kind, subset in kinds:
        flagged = evidence.sweep.flagged.get(kind, {})
        if who and any(by_split.get(split) for by_split in flagged.values()):
            # Synthetic items are looked at alone, leaked ones in no figure of the decision's items.
            source = evidence if subset == SYNTHETIC else on_real_items(evidence)
            part = _select(source, flagged, inside=subset == SYNTHETIC, keep_whole=False)
            found.append(_figures(source, part, subset, split, who))
    return tuple(found)


def _figures(
    whole: Evidence, part: Evidence, subset: Subset, split: Split, who: Sequence[Configuration]
) -> OnSubset:
    kind = LEAKED if subset == "without_leaked" else SYNTHETIC
    names = [n for n, by_split in whole.sweep.flagged[kind].items() if by_split.get(split)]
    items, used = _counts(whole, split), _counts(part, split)
    measures = Measures(build_table(part))
    there = {c.trial_id: c for c in measures.table.configurations}
    trials = {one.trial_id: _estimates(measures, there[one.trial_id], split, used) for one in who}
    return OnSubset(
        subset,
        split,
        {n: used.get(n, 0) for n in names if n in items},
        {n: items[n] for n in names if n in items},
        trials,
    )


def _estimates(
    measures: Measures, who: Configuration, split: Split, used: Mapping[str, int]
) -> dict[str, Estimate]:
    """A figure over several suites has none where one of them is left without items: it would be
    another figure."""
    suites = {s.name: s.measures for s in measures.table.sweep.suites}
    found = {}
    for name in FIGURES:
        of = [s for s, m in suites.items() if (m == "forgetting") == (name == "forgetting")]
        of = [s for s in of if suites[s] in ("gain", "forgetting")]
        uncertain = measures.uncertain(who, split, name) if all(used.get(s) for s in of) else None
        found[name] = (
            _careful(uncertain.estimate(), min(used[s] for s in of)) if uncertain else Estimate()
        )
    return found


def _careful(estimate: Estimate, least: int) -> Estimate:
    """As of slices: no interval of few items."""
    if least >= MIN_SLICE_ITEMS:
        return estimate
    return replace(estimate, low=None, high=None, interval_method=stats.UNKNOWN)


def _counts(evidence: Evidence, split: Split) -> dict[str, int]:
    """Suite → its items."""
    ids: dict[str, set[str]] = {}
    for _, scores in evidence.items:
        if scores.split == split:
            ids.setdefault(scores.suite, set()).update(scores.item_ids.tolist())
    return {suite: len(found) for suite, found in ids.items()}


def _select(
    evidence: Evidence,
    flagged: Mapping[str, Mapping[str, tuple[str, ...]]],
    *,
    inside: bool,
    keep_whole: bool,
) -> Evidence:
    """With the flagged items alone, or without them.

    Args:
        keep_whole: A suite and split that would be left without items stays as it is.
    """
    items = []
    for key, scores in evidence.items:
        # Answer losses and served forms of a suite are named `.../SUITE`.
        ids = flagged.get(scores.suite.rpartition("/")[2], {}).get(scores.split, ())
        chosen = np.isin(scores.item_ids, np.array(ids, dtype=np.str_)) == inside
        if chosen.all() or (keep_whole and not chosen.any()):
            items.append((key, scores))
        elif chosen.any():
            items.append((key, _where(scores, chosen)))
    return Evidence(evidence.sweep, tuple(items), evidence.later)


def _where(scores: ItemScores, chosen: npt.NDArray[np.bool_]) -> ItemScores:
    places = np.flatnonzero(chosen).tolist()

    def of(values: Sequence[str | None]) -> tuple[str | None, ...]:
        return tuple(values[i] for i in places) if values else ()

    return replace(
        scores,
        item_ids=scores.item_ids[chosen],
        values=scores.values[chosen],
        weights=scores.weights[chosen],
        groups=of(scores.groups),
        clusters=of(scores.clusters),
        slices={name: of(values) for name, values in scores.slices.items()},
    )
