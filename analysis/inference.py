"""What a statistician asks of a decision: who else could be best, what is luck, what is shown.

All of it is about task scores on the split of the decision, among the trials that may stand and
keep the question's limits as measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keepgain.analysis.best_set import BestSet, best_set
from keepgain.analysis.draws import deviations
from keepgain.analysis.fronts import limits_broken
from keepgain.analysis.judge import Verdict
from keepgain.analysis.measures import Measures
from keepgain.analysis.optimism import Optimism, optimism
from keepgain.analysis.power import Resolution, nearest_rival, resolution
from keepgain.analysis.stats import SeedVariance
from keepgain.analysis.table import Configuration
from keepgain.analysis.winners_curse import Luck, luck_of_the_best
from keepgain.core.config import Split
from keepgain.core.multiplicity import benjamini_hochberg
from keepgain.core.record import Question

DRAWS = 1000


@dataclass(frozen=True)
class AgainstBase:
    """Whether a trial gained at all: one of as many tests as there are trials."""

    trial: str
    p: float
    """Two-sided, of a gain of 0: items paired, pooled seeds, Student's t."""
    adjusted: float
    """Benjamini and Hochberg's, over all trials that were tested."""


@dataclass(frozen=True)
class Inference:
    """Beside the decision; empty where nothing can be said."""

    against_base: tuple[AgainstBase, ...] = ()
    """Trials whose size has a known seed variance."""
    best: tuple[BestSet, ...] = ()
    """One a base model that has trials, and one over all if there are several."""
    luck: Luck | None = None
    """Of the decision's trial, where its score is the one that it was picked for."""
    optimism: Optimism | None = None
    """Of the decision's trial, where the decision is on test."""
    resolutions: tuple[Resolution, ...] = ()
    """Of the decision's trial against its base, and against its nearest rival."""
    seed_variances: tuple[tuple[str, SeedVariance | None], ...] = ()
    """Of the task score, by base model; None: nothing was trained twice."""

    def best_of(self, model: str | None) -> BestSet | None:
        """Of one base model; None: over all."""
        return next((b for b in self.best if b.model == model), None)


def infer(
    measures: Measures,
    split: Split,
    pool: Sequence[Configuration],
    question: Question,
    verdict: Verdict,
    provisional: bool,
) -> Inference:
    """All figures beside a decision.

    Args:
        split: The decision split.
        pool: Trials that may stand, all scored on `split`.
        provisional: The trial was picked for the very scores that are quoted.
    """
    models = [m.name for m in measures.table.sweep.models]
    broken = limits_broken(measures, split, pool, question)
    field = [
        c
        for c in pool
        if c.trial_id not in broken and measures.point(c, split, "task_score") is not None
    ]
    noise = deviations(measures, split, field, "task_score", DRAWS)
    best, lucks = [], []
    for model in models:
        at = np.array([c.model == model for c in field], dtype=bool)
        mine = [c for c in field if c.model == model]
        best.append(best_set(measures, split, mine, noise[:, at], question, model))
        if provisional and verdict.pick is not None and verdict.pick.model == model:
            lucks.append(luck_of_the_best(measures, split, mine, noise[:, at]))
    if len({c.model for c in field}) > 1:
        best.append(best_set(measures, split, field, noise, question))
    pick = verdict.pick.candidate if verdict.pick else None
    return Inference(
        against_base=_against_base(measures, split, pool),
        best=tuple(b for b in best if b is not None),
        luck=next((x for x in lucks if x and pick and x.trial == pick.trial_id), None),
        optimism=_optimism(measures, pick, pool, verdict) if pick and split == "test" else None,
        resolutions=_resolutions(measures, split, pick, pool, question) if pick else (),
        seed_variances=tuple((m, measures.seed_variance(m, split, "task_score")) for m in models),
    )


def _against_base(
    measures: Measures, split: Split, pool: Sequence[Configuration]
) -> tuple[AgainstBase, ...]:
    tested = []
    for c in pool:
        gain = measures.uncertain(c, split, "gain")
        p = gain.p_value() if gain else None
        if p is not None:
            tested.append((c.trial_id, p))
    adjusted = benjamini_hochberg([p for _, p in tested])
    return tuple(AgainstBase(t, p, float(q)) for (t, p), q in zip(tested, adjusted, strict=True))


def _optimism(
    measures: Measures, pick: Configuration, pool: Sequence[Configuration], verdict: Verdict
) -> Optimism | None:
    """Held against the pick's base and what stands for no size: nobody selected those."""
    selected = {s.candidate.trial_id for s in verdict.sizes if s.candidate}
    base = measures.base(pick.model)
    others = [c for c in pool if c.confirmed and c.trial_id not in selected]
    return optimism(measures, pick, [*([base] if base else []), *others])


def _resolutions(
    measures: Measures,
    split: Split,
    pick: Configuration,
    pool: Sequence[Configuration],
    question: Question,
) -> tuple[Resolution, ...]:
    rivals = (
        ("base", measures.base(pick.model)),
        ("rival", nearest_rival(measures, split, pick, pool)),
    )
    found = (
        resolution(measures, split, pick, other, question, against)
        for against, other in rivals
        if other is not None and other.has(split)
    )
    return tuple(r for r in found if r is not None)
