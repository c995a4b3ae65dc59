"""What each stage of a sweep takes: runs, tokens, FLOPs, and time on so many slots."""

import heapq
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from keepgain.core.schema import StrictModel
from keepgain.core.status import Stage
from keepgain.sweeps.plan import reach
from keepgain.sweeps.plan.reach import Generation, Reach
from keepgain.sweeps.plan.trial import ModelPlan


class Amount(StrictModel):
    """What some runs take."""

    runs: int = 0
    training_tokens: int = 0
    scored_tokens: int = 0
    flops: float = 0.0
    """Of training."""
    busy_seconds: float = 0.0
    """Over all slots."""
    seconds: float = 0.0
    """Wall-clock."""

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(**{k: v + getattr(other, k) for k, v in self.model_dump().items()})


class StagePlan(StrictModel):
    """One stage. All three are the same where the spec leaves no choice."""

    stage: Stage
    least: Amount
    """Trials are stopped as early, and confirmation ends as early, as the rules allow."""
    expected: Amount
    most: Amount
    """Trials are stopped as late as the rules allow; all seeds are needed."""


@dataclass(frozen=True)
class SearchShape:
    """How a search goes, before any result."""

    generations: Mapping[str, tuple[Generation, ...]]
    """Base model → its generations."""
    rungs: tuple[float, ...]
    """Shares of the budget."""
    keep: float | None
    """None: nobody is stopped early."""
    waits: bool
    """A generation waits for the one before it, and a rung for all its trials."""
    interpolated: int = 0
    """Points at which a trial is scored beside its full budget (`training.interpolate`)."""


def search_plan(models: Sequence[ModelPlan], shape: SearchShape, slots: int) -> StagePlan:
    """The search stage."""

    def amount(find: Callable[[Sequence[Generation]], Reach], share: float | None) -> Amount:
        found = {m.model: find(shape.generations[m.model]) for m in models}
        return _searched(models, found, shape, slots, share)

    rungs, keep = len(shape.rungs), shape.keep
    if keep is None:
        every = amount(lambda g: reach.ceiling(g, rungs), 1.0)
        least = amount(lambda g: reach.ceiling(g, rungs), None)
        return StagePlan(stage=Stage.SEARCH, least=least, expected=every, most=every)
    # Promoted one by one (async), a trial may be overtaken later: only the ceiling is certain.
    most = (
        (lambda g: reach.at_most(g, rungs, keep))
        if shape.waits
        else (lambda g: reach.ceiling(g, rungs))
    )
    return StagePlan(
        stage=Stage.SEARCH,
        least=amount(lambda g: reach.at_least(g, rungs, keep), None),
        expected=amount(lambda g: reach.expected(g, rungs, keep), 1.0),
        most=amount(most, 1.0),
    )


def full_runs(
    models: Sequence[ModelPlan], runs: Mapping[str, int], rungs: Sequence[float], slots: int
) -> Amount:
    """Runs that train to the end and are scored at each rung, side by side."""
    one = {
        m.model: m.train_seconds + len(rungs) * (m.score_seconds + m.other_seconds) for m in models
    }
    return Amount(
        runs=sum(runs.values()),
        training_tokens=sum(runs[m.model] * m.tokens_per_trial for m in models),
        scored_tokens=sum(runs[m.model] * len(rungs) * m.scored_tokens for m in models),
        flops=sum(runs[m.model] * _flops(m) for m in models),
        busy_seconds=sum(runs[name] * seconds for name, seconds in one.items()),
        seconds=makespan(_dealt(runs, one), slots),
    )


def scorings(models: Sequence[ModelPlan], runs: Mapping[str, int], slots: int) -> Amount:
    """Models that are scored once without training, side by side."""
    one = {m.model: m.score_seconds + m.other_seconds for m in models}
    return Amount(
        runs=sum(runs.values()),
        scored_tokens=sum(runs[m.model] * m.scored_tokens for m in models),
        busy_seconds=sum(runs[name] * seconds for name, seconds in one.items()),
        seconds=makespan(_dealt(runs, one), slots),
    )


def makespan(seconds: Sequence[float], slots: int) -> float:
    """Time until all jobs have ended, if each free slot takes the next one."""
    busy = [0.0] * max(1, slots)
    for one in seconds:
        heapq.heapreplace(busy, busy[0] + one)
    return max(busy)


def _searched(
    models: Sequence[ModelPlan],
    found: Mapping[str, Reach],
    shape: SearchShape,
    slots: int,
    share: float | None,
) -> Amount:
    """`share`: of each trial's tokens; None: its shortest duration."""
    total = Amount()
    steps = [b - a for a, b in itertools.pairwise((0.0, *shape.rungs))]
    waves: list[list[float]] = []
    for g in range(max(len(r.counts) for r in found.values())):
        for rung, step in enumerate(steps):
            runs, one = {}, {}
            scored = 1 + (shape.interpolated if rung == len(steps) - 1 else 0)
            for m in models:
                counts = found[m.model].counts
                runs[m.model] = counts[g][rung] if g < len(counts) else 0
                part = step * (m.shortest if share is None else share)
                one[m.model] = part * m.train_seconds + scored * m.score_seconds + m.other_seconds
                total += Amount(
                    runs=runs[m.model] if rung == 0 else 0,
                    training_tokens=round(runs[m.model] * part * m.tokens_per_trial),
                    scored_tokens=runs[m.model] * scored * m.scored_tokens,
                    flops=runs[m.model] * part * _flops(m),
                    busy_seconds=runs[m.model] * one[m.model],
                )
            waves.append(_dealt(runs, one))
    if not shape.waits:
        waves = [[s for wave in waves for s in wave]]
    elif shape.keep is None:
        # Nobody waits at a rung: a trial's rungs follow each other on its slot.
        rungs = len(steps)
        waves = [
            [sum(parts) for parts in zip(*waves[i : i + rungs], strict=True)]
            for i in range(0, len(waves), rungs)
        ]
    return total + Amount(seconds=sum(makespan(wave, slots) for wave in waves))


def _dealt(runs: Mapping[str, int], seconds: Mapping[str, float]) -> list[float]:
    """A duration for each run, base models in turn."""
    deepest = max(runs.values(), default=0)
    return [seconds[m] for i in range(deepest) for m, count in runs.items() if i < count]


def _flops(model: ModelPlan) -> float:
    return sum(p.flops for p in model.methods) / len(model.methods)
