"""How much was spent on each base model: sizes searched unequally are not compared like for like.

The best of 24 trials is better than the best of 12 of the same kind, so a size that was searched
more looks better than it is. Search trials alone count; confirmation spends where it is undecided,
on purpose.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from keepgain.analysis.table import fault
from keepgain.core.record import SweepRecord
from keepgain.core.status import Stage
from keepgain.core.units import human_count

TOLERANCE = 0.1
"""Token totals that differ by less are equal: batches are whole, and early stopping is not even."""


@dataclass(frozen=True)
class Effort:
    """What the search spent on one base model."""

    model: str
    trials: int
    """Completed configurations: run to the full budget."""
    tokens: int
    """Trained on by all its trials, those stopped early or failed included."""


def efforts(sweep: SweepRecord) -> tuple[Effort, ...]:
    """One per base model with a trial, in the record's order."""
    found = []
    for model in (m.name for m in sweep.models):
        runs = [r for r in sweep.runs if r.kind == "trial" and r.model == model]
        # A record without search runs (an imported table) has what was confirmed.
        runs = [r for r in runs if r.stage is Stage.SEARCH] or runs
        done = {r.trial_id for r in runs if fault(r, sweep.budget_unit) is None}
        if runs:
            found.append(Effort(model, len(done), sum(r.tokens for r in runs)))
    return tuple(found)


def unequal_effort(found: Sequence[Effort], budget_unit: str = "tokens") -> str | None:
    """What differs, with the numbers; None where the effort was equal.

    Args:
        budget_unit: Of the sweep; budgets in examples mean several tokenizers, and tokens of
            different tokenizers are not compared.
    """
    trials = {e.trials for e in found}
    tokens = [e.tokens for e in found if budget_unit == "tokens"]
    uneven = bool(tokens) and min(tokens) < (1 - TOLERANCE) * max(tokens)
    if len(found) < 2 or (len(trials) == 1 and not uneven):
        return None
    parts = [f"{e.model} {e.trials:,} ({human_count(e.tokens)} tokens)" for e in found]
    return f"completed trials {', '.join(parts)}"
