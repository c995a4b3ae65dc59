"""Does a trial overfit? Where its validation loss falls and a score gets worse; and how far its
loss on validation items lies above that on training rows.

A loss can fall on while answers get worse (it rewards confidence in what is right already), or
while what the base knew is lost. Looked at are the runs whose every rung was kept, audits and
confirmed trials, each run on its own items: neighbouring rungs, and the rung with the best task
score against the last. A finding is a pair of rungs between which

* the validation loss (mean over the tokens of all items of the suites that measure gain) fell
  beyond its two-sided 95 % interval, and
* the score of a suite, one that measures gain or a guard, got worse beyond an interval that holds
  for all such comparisons of the sweep together (Bonferroni: 1 - .05 / comparisons). The rung with
  the best score is picked by looking, so every earlier rung counts as one comparison. As of
  slices, fewer than 30 items and items that all change alike have no interval.

So fewer than .05 findings of a sweep are expected by chance. Intervals are over items alone: what
is asked is what happened to this run, not to its settings.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from keepgain.analysis import stats
from keepgain.analysis.slices import cautious
from keepgain.analysis.stats import CONFIDENCE, Block, Estimate, SeedVariance, Uncertain
from keepgain.analysis.table import fault
from keepgain.core.config import Measures
from keepgain.core.items import LOSS, Floats, ItemScores
from keepgain.core.record import Evidence, RunRecord, SuiteInfo
from keepgain.core.scorers import metric_of
from keepgain.core.status import Stage

TRAINED = "train"
"""Split of the sample of training rows."""


@dataclass(frozen=True)
class Finding:
    """A pair of rungs of one run."""

    trial: str
    model: str
    seed: int
    suite: str
    measures: Measures
    scorer: str
    before: int
    """Training tokens at the earlier rung."""
    after: int
    loss: Estimate
    """Change of the validation loss in nats per token, 95 %; below 0."""
    change: Estimate
    """Change of the score, up is good, with the interval that holds jointly; below 0."""


@dataclass(frozen=True)
class Gap:
    """Losses of one trial at its end, in nats per token, means over seeds."""

    trial: str
    model: str
    validation: float
    training: float
    """On a sample of as many training rows."""
    gap: Estimate
    """Validation minus training, 95 %."""


@dataclass(frozen=True)
class Overfitting:
    """What was looked for, and found."""

    runs: int = 0
    """Whose rungs were compared."""
    comparisons: int = 0
    findings: tuple[Finding, ...] = ()
    """The clearest first."""
    gaps: tuple[Gap, ...] = ()
    """Of confirmed trials; where none was confirmed, of every trial whose losses were kept."""

    @property
    def confidence(self) -> float:
        """Two-sided, of the interval of a score's change."""
        return 1 - (1 - CONFIDENCE) / max(1, self.comparisons)


_Rung = Mapping[tuple[str, str, str], ItemScores]
"""(metric is a loss: `loss`, else `score`; split; suite) -> scores."""


def overfitting(evidence: Evidence) -> Overfitting:
    """Looks at every run whose losses were kept."""
    sweep = evidence.sweep
    infos = {s.name: s for s in sweep.suites if s.measures in ("gain", "forgetting")}
    rungs = _by_rung(evidence, infos)
    runs = {
        r.run_key: r
        for r in sweep.runs
        if r.kind == "trial" and r.run_key in rungs and fault(r, sweep.budget_unit) is None
    }
    pairs = [(run, *pair) for run in runs.values() for pair in _pairs(rungs[run.run_key], infos)]
    comparisons = sum(_comparisons(rungs[key], infos) for key in runs)
    found = Overfitting(len({run.run_key for run, *_ in pairs}), comparisons)
    findings = [
        finding
        for run, before, after in pairs
        for finding in _findings(run, rungs[run.run_key], before, after, infos, found.confidence)
    ]
    findings.sort(key=lambda f: (f.change.value or 0.0, f.trial, f.seed))
    return Overfitting(found.runs, comparisons, tuple(findings), _gaps(runs.values(), rungs))


def _by_rung(
    evidence: Evidence, infos: Mapping[str, SuiteInfo]
) -> dict[str, dict[int, dict[tuple[str, str, str], ItemScores]]]:
    """Run key -> tokens, ascending -> scores and losses there; runs without losses are left out."""
    found: dict[str, dict[int, dict[tuple[str, str, str], ItemScores]]] = {}
    lossy = {key for key, s in evidence.items if s.metric == LOSS}
    for key, scores in evidence.items:
        kind = "loss" if scores.metric == LOSS else "score"
        wanted = kind == "loss" or (scores.split == "validation" and scores.suite in infos)
        if key in lossy and wanted:
            here = found.setdefault(key, {}).setdefault(scores.tokens, {})
            here[kind, scores.split, scores.suite] = scores
    return {key: dict(sorted(rungs.items())) for key, rungs in found.items()}


def _pairs(rungs: Mapping[int, _Rung], infos: Mapping[str, SuiteInfo]) -> list[tuple[int, int]]:
    """Neighbours, and the earlier rung with the best task score against the last."""
    tokens = list(rungs)
    pairs = list(pairwise(tokens))
    if len(tokens) > 2:
        best = max(tokens[:-1], key=lambda t: (_task_score(rungs[t], infos), t))
        if best != tokens[-2]:
            pairs.append((best, tokens[-1]))
    return pairs


def _comparisons(rungs: Mapping[int, _Rung], infos: Mapping[str, SuiteInfo]) -> int:
    """Each suite between neighbours, and between any earlier rung and the last."""
    rungs_seen = len(rungs)
    pairs = max(0, rungs_seen - 1) + max(0, rungs_seen - 2)
    last = rungs[max(rungs)]
    return pairs * sum(kind == "score" and suite in infos for kind, _, suite in last)


def _task_score(rung: _Rung, infos: Mapping[str, SuiteInfo]) -> float:
    gains = [s for s in _scores(rung) if infos[s.suite].measures == "gain"]
    signed = [metric_of(infos[s.suite].scorer).sign * s.mean for s in gains]
    return sum(signed) / len(signed) if signed else 0.0


def _scores(rung: _Rung) -> list[ItemScores]:
    return [s for (kind, _, _), s in rung.items() if kind == "score"]


def _losses(rung: _Rung, *, trained: bool) -> list[ItemScores]:
    return [
        s
        for (kind, split, _), s in rung.items()
        if kind == "loss" and (split == TRAINED) is trained
    ]


def _findings(
    run: RunRecord,
    rungs: Mapping[int, _Rung],
    before: int,
    after: int,
    infos: Mapping[str, SuiteInfo],
    confidence: float,
) -> Iterable[Finding]:
    first, later = (_losses(rungs[t], trained=False) for t in (before, after))
    loss = _change(first, later)
    fallen = Estimate() if loss is None else loss.estimate()
    if fallen.high is None or fallen.high >= 0:
        return
    earlier = {s.suite: s for s in _scores(rungs[before])}
    for scores in _scores(rungs[after]):
        info = infos[scores.suite]
        sign = metric_of(info.scorer).sign
        change = _change([earlier[info.name]] if info.name in earlier else [], [scores], sign)
        told = cautious(change, confidence)
        if told.high is not None and told.high < 0:
            yield Finding(
                trial=run.trial_id,
                model=run.model,
                seed=run.seed,
                suite=info.name,
                measures=info.measures,
                scorer=info.scorer,
                before=before,
                after=after,
                loss=fallen,
                change=told,
            )


def _change(
    before: Sequence[ItemScores], after: Sequence[ItemScores], sign: float = 1.0
) -> Uncertain | None:
    """After minus before on the same items; None where these are not the same."""
    if not _same_items(before, after):
        return None
    values = [sign * (b.values - a.values) for a, b in zip(before, after, strict=True)]
    block = _joined(after, np.concatenate(values)[:, None])
    return stats.combine([block], (), 1)


def _same_items(one: Sequence[ItemScores], other: Sequence[ItemScores]) -> bool:
    if not one or [s.suite for s in one] != [s.suite for s in other]:
        return False
    return all(np.array_equal(a.item_ids, b.item_ids) for a, b in zip(one, other, strict=True))


def _joined(scores: Sequence[ItemScores], values: Floats) -> Block:
    """Items of several suites as one draw: their mean is over all their weights."""
    codes: npt.NDArray[np.int64] | None = None
    if any(s.clusters for s in scores):
        names = [
            f"{s.suite}/i:{item}" if cluster is None else f"{s.suite}/c:{cluster}"
            for s in scores
            for item, cluster in zip(
                s.item_ids, s.clusters or [None] * len(s.item_ids), strict=True
            )
        ]
        codes = np.unique(names, return_inverse=True)[1].astype(np.int64)
    return Block(values, np.concatenate([s.weights for s in scores]), codes)


# -- train-validation gap --------------------------------------------------------------------


def _gaps(runs: Iterable[RunRecord], rungs: Mapping[str, Mapping[int, _Rung]]) -> tuple[Gap, ...]:
    every = list(runs)
    members: dict[tuple[str, str], list[RunRecord]] = {}
    for run in [r for r in every if r.stage is Stage.CONFIRM] or every:
        members.setdefault((run.model, run.trial_id), []).append(run)
    found = []
    for model in dict.fromkeys(model for model, _ in members):
        blocks: dict[str, tuple[Block, Block]] = {}
        for (of, trial), seeds in members.items():
            ends = [rungs[r.run_key][max(rungs[r.run_key])] for r in seeds]
            validation, training = (
                _over_seeds([_losses(e, trained=t) for e in ends]) for t in (False, True)
            )
            if of == model and validation is not None and training is not None:
                blocks[trial] = (validation, Block(-training.values, training.weights))
        pooled = stats.pool_seeds(list(blocks.values()))
        found += [_gap(trial, model, *both, pooled) for trial, both in blocks.items()]
    return tuple(found)


def _gap(
    trial: str, model: str, validation: Block, minus_training: Block, pooled: SeedVariance | None
) -> Gap:
    seeds = validation.values.shape[1]
    averaged = [validation.averaged(), minus_training.averaged()]
    level, minus = (float(b.means()[0]) for b in averaged)
    gap = stats.combine(averaged, [(pooled, 1 / seeds)], seeds)
    return Gap(trial, model, level, -minus, gap.estimate())


def _over_seeds(losses: Sequence[Sequence[ItemScores]]) -> Block | None:
    """Shape [items, seeds]; None where the seeds do not have the same items."""
    if not all(_same_items(losses[0], other) for other in losses):
        return None
    columns = [np.concatenate([s.values for s in of_seed]) for of_seed in losses]
    return _joined(losses[0], np.stack(columns, axis=1))
