"""What a judge model said, as figures with intervals.

A judge is an instrument, and nobody has to believe it: its agreement with people stands beside
every figure, and `judged_usable` says why its figures may not enter a decision.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from keepgain.analysis.behaviour.bounds import floored_within
from keepgain.analysis.behaviour.figure import Figure
from keepgain.analysis.behaviour.judge_agreement import agreement
from keepgain.analysis.stats import Block, Estimate, combine, combine_own_seeds
from keepgain.analysis.table import Codes, Configuration
from keepgain.core.config import Split
from keepgain.core.items import Floats, ItemScores
from keepgain.core.judged import (
    ORDERS,
    Judged,
    JudgedItems,
    Of,
    read_judged,
    read_judged_items,
)


def judged_usable(judged: Judged, of: Of) -> str | None:
    """Why the judge's scores, or pairs, may not enter a decision; None if they may.

    They may if enough labels by people are there, and the low end of the agreement's interval
    reaches the minimum that the spec has declared.
    """
    least, needed = judged.judge.min_agreement, judged.judge.min_labels
    labels = [x for x in judged.labelled if x.of == of]
    if not labels:
        return "not validated: no labels by people"
    found = agreement(labels, of)
    if found is None or found.labels < needed:
        said = sum(x.judge is not None for x in labels)
        if said < needed:
            return f"not validated: {said} labels by people, {needed} are needed"
        return "not validated: people and judge only ever gave one score"
    if found.low >= least:
        return None
    known = f"{found.name} {found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"
    if found.high < least:
        return f"people disagree with it: {known}, below {least:g}"
    return f"not validated: {known} is not above {least:g} for certain; more labels may tell"


def standing(judged: Judged, of: Of) -> str:
    """The agreement with people in words, and what follows from it."""
    if (why := judged_usable(judged, of)) is not None:
        return f"{why}: may not enter the decision"
    found = agreement(judged.labelled, of)
    assert found is not None, "usable figures have an agreement"
    return (
        f"agreement with people: {found.name} {found.value:.2f} [{found.low:.2f}, "
        f"{found.high:.2f}], {found.labels} labels of {found.items} items"
    )


def judged_figures(
    folders: Mapping[str, Path], who: Configuration, base: Configuration | None, split: Split
) -> list[tuple[str, Figure]]:
    """(suite, figure) of every suite that was judged, for a configuration; empty where none was.

    Args:
        folders: Run key → folder of its sweep; runs that are elsewhere have no figures.
        who: The configuration.
        base: Of its model.
        split: Of the answers.

    Raises:
        UserError: A record of judgements that cannot be read.
    """
    runs = [r.run_key for r in who.runs.get(split, ())]
    before = [r.run_key for r in base.runs.get(split, ())] if base is not None else []
    found: list[tuple[str, Figure]] = []
    for folder in dict.fromkeys(folders[k] for k in runs if k in folders):
        for judged in read_judged(folder):
            if judged.split == split:
                items = read_judged_items(folder, judged)
                found += [(judged.suite, f) for f in figures_of(judged, items, runs, before)]
    return found


def figures_of(
    judged: Judged, items: JudgedItems, runs: Sequence[str], base: Sequence[str]
) -> list[Figure]:
    """Mean score, win rate and consistency of one suite.

    Args:
        judged: Who judged.
        items: What was said.
        runs: Keys of the configuration's runs.
        base: Of its base's.
    """
    mine = [items.scores[k] for k in runs if k in items.scores]
    theirs = [items.scores[k] for k in base if k in items.scores]
    found = [_score_figure(judged, mine, theirs)] if mine else []
    pairs = [items.pairs[k] for k in runs if k in items.pairs]
    return [*found, *_pair_figures(judged, pairs)] if pairs else found


def _score_figure(
    judged: Judged, mine: Sequence[ItemScores], theirs: Sequence[ItemScores]
) -> Figure:
    low, high = judged.judge.scale
    aligned = _aligned([*mine, *theirs])
    tuned, before = aligned.values[:, : len(mine)], aligned.values[:, len(mine) :]
    at_base = before.mean(axis=1, keepdims=True) if theirs else None
    return Figure(
        name="judge's score",
        unit=f"{low} to {high}",
        direction="maximize",
        estimate=_within(_estimate(tuned, aligned, high - low), low, high),
        base=None
        if at_base is None
        else _within(_estimate(at_base, aligned, high - low), low, high),
        change=None if at_base is None else _estimate(tuned - at_base, aligned, high - low),
        note=_note(judged, "scores", judged.scores.missing, judged.scores.questions),
    )


def _pair_figures(judged: Judged, pairs: Sequence[ItemScores]) -> list[Figure]:
    """The share of wins, ties as half; and of pairs whose winner changed with the order."""
    assert judged.pairs is not None, "there are pairs"
    aligned = _aligned(pairs)
    note = _note(judged, "pairs", judged.pairs.missing, judged.pairs.questions)
    won = Figure(
        name="win rate against the base",
        unit="share of items",
        direction="maximize",
        estimate=_within(_estimate(aligned.values, aligned, 1.0), 0, 1),
        base=None,
        change=None,
        note=f"ties count half; {note}",
    )
    orders = [o for p in pairs for o in p.slices[ORDERS]]
    same = orders.count("same")
    bias = Figure(
        name="order decides",
        unit="share of pairs",
        direction="minimize",
        estimate=_within(_order_decides(pairs), 0, 1),
        base=None,
        change=None,
        note=f"each is a tie; {same:,} of {len(orders):,} pairs are equal texts and were not asked",
    )
    return [won, bias]


def _order_decides(pairs: Sequence[ItemScores]) -> Estimate:
    """Share of the pairs that were asked; an item counts by its pairs over all runs."""
    asked: dict[str, list[float]] = {}
    for run in pairs:
        for item, order in zip(run.item_ids.tolist(), run.slices[ORDERS], strict=True):
            if order != "same":
                asked.setdefault(item, []).append(float(order == "differ"))
    if not asked:
        return Estimate(n_seeds=len(pairs))
    items = sorted(asked)
    values = np.array([[sum(asked[i]) / len(asked[i])] for i in items])
    weights = np.array([len(asked[i]) for i in items], dtype=np.float64)
    clusters = _clusters(items, pairs)
    found = combine([Block(values, weights, clusters)], [], len(pairs))
    return floored_within(found, _draws(len(items), clusters), 1.0).estimate()


@dataclass(frozen=True)
class _Aligned:
    """Items that all runs have: a reply that is missing takes its item from all of them."""

    values: Floats
    """Shape [n, runs]."""
    clusters: Codes | None
    """Shape [n]."""


def _aligned(runs: Sequence[ItemScores]) -> _Aligned:
    by_run = [dict(zip(r.item_ids.tolist(), r.values.tolist(), strict=True)) for r in runs]
    common = sorted(set(by_run[0]).intersection(*by_run[1:]))
    values = np.array([[of[i] for of in by_run] for i in common], dtype=np.float64)
    return _Aligned(values.reshape(len(common), len(runs)), _clusters(common, runs))


def _clusters(items: Sequence[str], runs: Sequence[ItemScores]) -> Codes | None:
    """Index of each item's cluster, shape [n]; None where the data name none."""
    named = {
        item: cluster
        for run in runs
        for item, cluster in zip(run.item_ids.tolist(), run.clusters, strict=False)
        if cluster is not None
    }
    if not named:
        return None
    names = [f"c:{named[i]}" if i in named else f"i:{i}" for i in items]
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def _draws(items: int, clusters: Codes | None) -> int:
    return items if clusters is None else int(clusters.max()) + 1


def _estimate(values: Floats, aligned: _Aligned, span: float) -> Estimate:
    """Mean of scores that differ by at most `span`, shape [n, S]. Seeds count where there are two
    or more; the interval of one training is of that model, over items."""
    n, seeds = values.shape
    if n == 0:
        return Estimate(n_seeds=seeds)
    found = combine_own_seeds([Block(values, np.ones(n), aligned.clusters)])
    return floored_within(found, _draws(n, aligned.clusters), span).estimate()


def _within(found: Estimate, least: float, most: float) -> Estimate:
    """An interval that stays where scores can be."""
    if found.low is None or found.high is None:
        return found
    return replace(found, low=max(least, found.low), high=min(most, found.high))


def _note(judged: Judged, of: Of, missing: int, questions: int) -> str:
    said = [f"by {judged.judge.model}", standing(judged, of)]
    if missing:
        said.append(f"{missing:,} of {questions:,} questions got no readable reply: left out")
    if judged.judges > 1:
        said.append(f"the newest of {judged.judges} judges or rubrics that were tried")
    return "; ".join(said)
