"""Rounds of iterative tuning: what each round did to what was learnt before it.

R[t, i] is the score after round t on task i, turned so that up is good. Round 0 is the original
base. With `learnt[i]` the round that learnt task i, and T the last round:

* backward transfer, ``mean over i with learnt[i] < T of R[T, i] - R[learnt[i], i]`` (Lopez-Paz &
  Ranzato 2017, arXiv 1706.08840: there task i is learnt in round i); below 0 is forgetting;
* average forgetting, ``mean over the same i of max over learnt[i] <= t < T of R[t, i] - R[T, i]``
  (Chaudhry et al. 2018, arXiv 1801.10112). The maximum is over noisy figures, so it is biased
  upwards: for description only.

A sweep that tunes a tuned model (`models: [{start: ID/best}]`) has three of the rounds: the
original base, the model it started from, and its own choice. Its general suites were known to the
base (round 0), its task suites were learnt last. In between lie what earlier rounds were tuned for:
name those suites under `suites` of later rounds with `measures: forgetting`, and they count here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from keepgain.analysis.measures import Measures
from keepgain.analysis.table import Configuration
from keepgain.core.config import Split
from keepgain.core.items import Floats


@dataclass(frozen=True)
class Rounds:
    """Of one base model."""

    model: str
    split: Split
    rounds: tuple[str, ...]
    """`base`, `previous round`, `this round`."""
    trial: str
    """Of this round."""
    tasks: tuple[str, ...]
    learnt: tuple[int, ...]
    """Round that learnt each task."""
    scores: tuple[tuple[float, ...], ...]
    """R, in the suites' units and directions: a row a round, a column a task."""
    items: tuple[int, ...]
    """Of each task."""
    seeds: int
    """Of the last row."""
    backward_transfer: float | None
    """None with tasks of several units, as the next."""
    average_forgetting: float | None


def backward_transfer(scores: Floats, learnt: Sequence[int]) -> float | None:
    """See the module.

    Args:
        scores: R, shape [rounds, tasks], up is good.
        learnt: Row of `scores` in which each task was learnt.

    Returns:
        None if no task was learnt before the last round.
    """
    last = len(scores) - 1
    earlier = [i for i, t in enumerate(learnt) if t < last]
    if not earlier:
        return None
    return float(np.mean([scores[last, i] - scores[learnt[i], i] for i in earlier]))


def average_forgetting(scores: Floats, learnt: Sequence[int]) -> float | None:
    """See the module; arguments as of `backward_transfer`."""
    last = len(scores) - 1
    earlier = [i for i, t in enumerate(learnt) if t < last]
    if not earlier:
        return None
    return float(np.mean([scores[learnt[i] : last, i].max() - scores[last, i] for i in earlier]))


def rounds(
    measures: Measures, split: Split, picks: Mapping[str, Configuration]
) -> tuple[Rounds, ...]:
    """Of every base model that this sweep started from a tuned model.

    Args:
        picks: Base model → this round's choice.
    """
    found = []
    for who in measures.table.configurations:
        base, pick = measures.base(who.model), picks.get(who.model)
        if who.arm != "previous_round" or base is None or pick is None:
            continue
        chain = (base, who, pick)
        if all(c.has(split) for c in chain):
            found.append(_rounds(measures, split, chain))
    return tuple(found)


def _rounds(measures: Measures, split: Split, chain: Sequence[Configuration]) -> Rounds:
    suites = measures.table.suites[split]
    tasks = [n for n in suites if all(n in c.scores[split] for c in chain)]
    scores = np.array(
        [
            [np.average(c.scores[split][n].mean(axis=1), weights=suites[n].weights) for n in tasks]
            for c in chain
        ]
    )
    signs = np.array([suites[n].sign for n in tasks])
    learnt = [len(chain) - 1 if suites[n].info.measures == "gain" else 0 for n in tasks]
    before = {suites[n].info.scorer for n, t in zip(tasks, learnt, strict=True) if t == 0}
    comparable = len(before) == 1
    return Rounds(
        chain[-1].model,
        split,
        ("base", "previous round", "this round"),
        chain[-1].trial_id,
        tuple(tasks),
        tuple(learnt),
        tuple(tuple(float(v) for v in row) for row in scores),
        tuple(len(suites[n].item_ids) for n in tasks),
        chain[-1].seeds(split),
        backward_transfer(scores * signs, learnt) if comparable else None,
        average_forgetting(scores * signs, learnt) if comparable else None,
    )
