"""Sizes at equal effort: the best that k trials of a size's search find, on average.

The best of 24 trials is better than the best of 12 of the same kind. With N trials of values
v_(1) <= ... <= v_(N), the best of k of them drawn without replacement is on average

    E[best of k] = sum_i v_(i) * C(i - 1, k - 1) / C(N, k),

which is unbiased for the best of k fresh trials, for every k <= N (Tang et al., ACL 2020, arXiv
2004.14503). Dodge et al. (EMNLP 2019, arXiv 1909.03004) draw with replacement,
``sum_i v_(i) [(i/N)^k - ((i-1)/N)^k]``, which is biased downwards, most where k is near N.
The interval is a percentile bootstrap over trials, given up to k = N/2: beyond, the resampled best
is nearly always one of the same few trials, and says nothing.

What counts as a trial, and its value: full-budget trials of the search, by the task score on
validation. Where trials were stopped early, only the audits, which ran to the end whatever their
rank: finishers alone were picked for being good. A trial beyond the limit on forgetting could not
be used: it counts as its untouched base. Points between base and tuned weights cost no training and
are no trials. Later trials of a sampler know the earlier ones, so the curve describes the search as
it was made, not a search of k trials.

Validation scores of a best are flattered by the choice (winner's curse), more so for larger k and
fewer items, alike for all sizes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keepgain.analysis.draws import SEED
from keepgain.analysis.measures import Measures
from keepgain.analysis.table import Configuration
from keepgain.core.items import Floats
from keepgain.core.record import Question

MIN_TRIALS = 3
"""Below, a size has no curve, and sizes are not comparable at equal effort."""
RESAMPLES = 1000
MIN_RESAMPLES = 200
MAX_DRAWN = 2_000_000
"""Values resampled at most, so that 10,000 trials take no longer than a second."""
STEPS = (1, 2, 3, 5, 8, 12, 18, 27, 40, 60, 90, 135, 200, 300, 450, 700, 1000)


@dataclass(frozen=True)
class At:
    """The curve at one k."""

    k: int
    value: float
    low: float | None
    """Two-sided 95 % over trials; None beyond half of them."""
    high: float | None


@dataclass(frozen=True)
class Curve:
    """One base model."""

    model: str
    trials: int
    audits: bool
    """Only audits count, since trials were stopped early."""
    points: tuple[At, ...]
    """Empty below `MIN_TRIALS`."""
    comparable: At | None = None
    """At the largest k that all sizes with a curve have."""
    reason: str | None = None
    """Why it is not comparable."""


def expected_best(values: Floats, k: int) -> float:
    """Average best of k of the values, drawn without replacement.

    Args:
        values: Shape [N], more is better.
        k: 1 to N.
    """
    if not 1 <= k <= len(values):
        raise ValueError(f"k is {k}, of {len(values)} values")
    return float(_weights(len(values), k) @ np.sort(values))


def _weights(n: int, k: int) -> Floats:
    """C(i - 1, k - 1) / C(n, k) for i = 1..n: from the last, k / n, by ratios of neighbours."""
    later = np.arange(n - 1, 0, -1)
    ratios = np.concatenate([[k / n], (later - k + 1).clip(0) / later])
    return np.cumprod(ratios)[::-1]


def curves(measures: Measures, question: Question) -> tuple[Curve, ...]:
    """One per base model with a trial, in the record's order."""
    sweep = measures.table.sweep
    stopped = sweep.stopping is not None
    found = []
    for model in (m.name for m in sweep.models):
        values = _values(measures, model, question, stopped)
        if values is not None:
            found.append((model, values))
    held = [len(v) for _, v in found if len(v) >= MIN_TRIALS]
    common = min(held, default=0)
    sign = measures.sign("task_score")
    result = []
    for model, values in found:
        n = len(values)
        if n < MIN_TRIALS:
            why = f"{n} {'audits' if stopped else 'trials'} of at least {MIN_TRIALS}"
            result.append(Curve(model, n, stopped, (), reason=why))
            continue
        steps = sorted({k for k in STEPS if k <= n} | {common, n})
        points = _points(values, steps, sign)
        alone = len(found) > 1 and len(held) < 2
        at = next(p for p in points if p.k == common)
        lonely = "no other size has enough trials" if alone else None
        result.append(Curve(model, n, stopped, points, None if alone else at, lonely))
    return tuple(result)


def _values(measures: Measures, model: str, question: Question, audits: bool) -> Floats | None:
    """Signed task scores of a size's trials, more is better; None if it has none at all."""
    runs = [r for r in measures.table.sweep.runs if r.kind == "trial" and r.model == model]
    made = {r.trial_id for r in runs if r.made_from is not None}
    checked = {r.trial_id for r in runs if r.audit}
    tried = [c for c in measures.table.trials(model, "validation") if c.trial_id not in made]
    if audits:
        tried = [c for c in tried if c.trial_id in checked]
    if not runs:
        return None
    base = measures.base(model)
    unused = None if base is None else measures.point(base, "validation", "task_score")
    values = [_value(measures, c, question, unused) for c in tried]
    sign = measures.sign("task_score")
    return np.array([sign * v for v in values if v is not None], dtype=np.float64)


def _value(
    measures: Measures, who: Configuration, question: Question, unused: float | None
) -> float | None:
    worst = measures.worst_drop(who, "validation")
    limit = question.max_forgetting
    if limit is not None and worst is not None and worst > limit:
        return unused
    return measures.point(who, "validation", "task_score")


def _points(values: Floats, steps: Sequence[int], sign: float) -> tuple[At, ...]:
    n = len(values)
    rng = np.random.default_rng(SEED)
    resamples = max(MIN_RESAMPLES, min(RESAMPLES, MAX_DRAWN // n))
    drawn = np.sort(values[rng.integers(n, size=(resamples, n))], axis=1)
    found = []
    for k in steps:
        value = sign * expected_best(values, k)
        if k > n // 2:
            found.append(At(k, value, None, None))
            continue
        low, high = np.quantile(sign * drawn @ _weights(n, k), (0.025, 0.975))
        found.append(At(k, value, float(low), float(high)))
    return tuple(found)


def compared_at(found: Sequence[Curve]) -> int | None:
    """The k at which sizes are compared; None: they are not comparable."""
    return next((c.comparable.k for c in found if c.comparable), None)
