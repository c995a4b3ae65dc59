"""How much was spent on each base model: sizes searched unequally are not compared like for like.

The best of 24 trials is better than the best of 12 of the same kind, so a size that was searched
more looks better than it is. Search trials alone count; confirmation spends where it is undecided,
on purpose.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from keepgain.analysis.table import fault
from keepgain.core.record import RunRecord, SweepRecord
from keepgain.core.status import Stage, TrialStatus
from keepgain.core.units import human_count

TOLERANCE = 0.1
"""Token totals that differ by less are equal: batches are whole."""
TOLERANCE_STOPPED = 0.25
"""The same where trials are stopped early: how many of them go on beside the audits is chance. With
24 trials, 12 of them audits, totals of three equally searched models differed by up to 19 % in 95 %
of simulated searches (and those that ran to the end in number, in 95 %)."""


@dataclass(frozen=True)
class Effort:
    """What the search spent on one base model."""

    model: str
    trials: int
    """Configurations that ran to the full budget or were stopped early; none that failed."""
    tokens: int
    """Trained on by all its trials, those stopped at a rung or failed included. A trial that ended
    by its validation loss counts what it was free to use, its budget: it needed no more."""


def efforts(sweep: SweepRecord) -> tuple[Effort, ...]:
    """One per base model with a trial, in the record's order."""
    found = []
    for model in (m.name for m in sweep.models):
        runs = [r for r in sweep.runs if r.kind == "trial" and r.model == model]
        runs = [r for r in runs if r.made_from is None]  # nothing was trained for those
        # A record without search runs (an imported table) has what was confirmed.
        runs = [r for r in runs if r.stage is Stage.SEARCH] or runs
        tried = {r.trial_id for r in runs if _was_tried(r, sweep.budget_unit)}
        if runs:
            found.append(Effort(model, len(tried), sum(_granted(r) for r in runs)))
    return tuple(found)


def unequal_effort(
    found: Sequence[Effort], budget_unit: str = "tokens", *, stopped_early: bool = False
) -> str | None:
    """What differs, with the numbers; None where the effort was equal.

    Args:
        budget_unit: Of the sweep; budgets in examples mean several tokenizers, and tokens of
            different tokenizers are not compared.
        stopped_early: Trials could be stopped at the rungs, by one rule for all base models.
    """
    trials = {e.trials for e in found}
    tokens = [e.tokens for e in found if budget_unit == "tokens"]
    tolerance = TOLERANCE_STOPPED if stopped_early else TOLERANCE
    uneven = bool(tokens) and min(tokens) < (1 - tolerance) * max(tokens)
    if len(found) < 2 or (len(trials) == 1 and not uneven):
        return None
    parts = [f"{e.model} {e.trials:,} ({human_count(e.tokens)} tokens)" for e in found]
    return f"trials {', '.join(parts)}"


def _was_tried(run: RunRecord, budget_unit: str) -> bool:
    return run.status is TrialStatus.PRUNED or fault(run, budget_unit) is None


def _granted(run: RunRecord) -> int:
    return run.tokens if run.stopped_early is None else max(run.tokens, run.budget)
