"""Scores along the training: audits and confirmed trials as they stood at each rung.

Every rung is a table of its own, so that its figures have the paired intervals of every other table
(items, and seeds pooled over the replicated trials of a size at that rung).
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from keepgain.analysis.measures import Measures
from keepgain.analysis.overfitting import TRAINED
from keepgain.analysis.stats import Estimate
from keepgain.analysis.table import build_table, fault
from keepgain.core.items import LOSS, ItemScores
from keepgain.core.record import Evidence, RunRecord
from keepgain.core.status import Stage


@dataclass(frozen=True)
class Point:
    """A trial at a rung."""

    rung: int
    tokens: float
    """Mean over its seeds."""
    share: float
    """Of what it was trained on in all."""
    gain: Estimate
    forgetting: Estimate
    validation_loss: float | None = None
    """Nats per token of the answers of the task's items, mean over seeds; None: not measured."""
    training_loss: float | None = None
    """Of as many training rows; measured at the end alone."""

    @property
    def gap(self) -> float | None:
        """Validation minus training loss; up is overfitting."""
        if self.validation_loss is None or self.training_loss is None:
            return None
        return self.validation_loss - self.training_loss


@dataclass(frozen=True)
class Series:
    """One trial over its rungs, on validation."""

    trial: str
    model: str
    confirmed: bool
    """Its seeds are fresh ones; else it is an audit of the search."""
    points: tuple[Point, ...]


def series(evidence: Evidence) -> tuple[Series, ...]:
    """Trials with scores at two rungs or more, in the order of the record."""
    tokens = _tokens(evidence)
    if not tokens:
        return ()
    losses = _losses(evidence, tokens)
    runs = {r.run_key: r for r in evidence.sweep.runs if r.run_key in tokens}
    members: dict[str, list[RunRecord]] = defaultdict(list)
    for run in runs.values():
        members[run.trial_id].append(run)
    points: dict[str, list[Point]] = defaultdict(list)
    for rung in range(max(map(len, tokens.values()))):
        here = {key: t[rung] for key, t in tokens.items() if rung < len(t)}
        measures = _at(evidence, here)
        for who in measures.table.configurations:
            own = [r for r in members.get(who.trial_id, []) if r.run_key in here]
            if who.kind != "trial" or not own or not who.has("validation"):
                continue
            seen = float(np.mean([here[r.run_key] for r in own]))
            ends = float(np.mean([tokens[r.run_key][-1] for r in own]))
            estimates = measures.estimates(who, "validation")
            points[who.trial_id].append(
                Point(
                    rung,
                    seen,
                    seen / ends,
                    estimates["gain"],
                    estimates["forgetting"],
                    *(_mean(losses, own, here, trained) for trained in (False, True)),
                )
            )
    return tuple(
        Series(trial, own[0].model, own[0].stage is Stage.CONFIRM, tuple(points[trial]))
        for trial, own in members.items()
        if len(points[trial]) > 1
    )


def _tokens(evidence: Evidence) -> dict[str, list[int]]:
    """Run key → tokens at which it was scored, ascending; of runs with several. A confirmed trial
    counts with its fresh seeds alone."""
    confirmed = {r.trial_id for r in evidence.sweep.runs if r.stage is Stage.CONFIRM}
    whole = {
        r.run_key
        for r in evidence.sweep.runs
        if r.kind == "trial"
        and (r.audit or r.stage is Stage.CONFIRM)
        and fault(r, evidence.sweep.budget_unit) is None
        and (r.stage is Stage.CONFIRM or r.trial_id not in confirmed)
    }
    suites = {s.name for s in evidence.sweep.suites if s.measures in ("gain", "forgetting")}
    found: dict[str, set[int]] = defaultdict(set)
    for key, scores in evidence.items:
        if key in whole and scores.split == "validation" and scores.suite in suites:
            found[key].add(scores.tokens)
    return {key: sorted(tokens) for key, tokens in found.items() if len(tokens) > 1}


def _at(evidence: Evidence, here: Mapping[str, int]) -> Measures:
    """The sweep as it stood at a rung: bases, and these runs at these tokens."""
    bases = [r for r in evidence.sweep.runs if r.kind == "base"]
    keys = {r.run_key for r in bases}
    runs = [
        r.model_copy(update=dict.fromkeys(("tokens", "budget"), here[r.run_key]))
        for r in evidence.sweep.runs
        if r.run_key in here
    ]
    items = tuple(
        (key, s)
        for key, s in evidence.items
        if s.split == "validation" and (key in keys or s.tokens == here.get(key))
    )
    sweep = evidence.sweep.model_copy(update={"runs": (*bases, *runs)})
    return Measures(build_table(Evidence(sweep, items)))


_Losses = dict[tuple[str, int, bool], list[ItemScores]]
"""(run key, tokens, of training rows) → answer losses."""


def _losses(evidence: Evidence, tokens: Mapping[str, list[int]]) -> _Losses:
    found: _Losses = defaultdict(list)
    for key, scores in evidence.items:
        if key in tokens and scores.metric == LOSS:
            found[key, scores.tokens, scores.split == TRAINED].append(scores)
    return found


def _mean(
    losses: _Losses, own: list[RunRecord], here: Mapping[str, int], trained: bool
) -> float | None:
    """Over the tokens of all items, then over the seeds; None where a seed has none."""
    means = []
    for run in own:
        parts = losses.get((run.run_key, here[run.run_key], trained))
        if not parts:
            return None
        values = np.concatenate([p.values for p in parts])
        means.append(float(np.average(values, weights=np.concatenate([p.weights for p in parts]))))
    return float(np.mean(means))
