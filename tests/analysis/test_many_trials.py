"""Trials that are measured together get, to the last bit, what each would get by itself."""

from dataclasses import replace

import numpy as np
import pytest

from keepgain.analysis import measures as measures_module
from keepgain.analysis import objectives
from keepgain.analysis.churn import Flip
from keepgain.analysis.measures import Measures
from keepgain.analysis.slices import SliceFigure, slices_of
from keepgain.analysis.stats import Block, SeedVariance, combine, combine_columns
from keepgain.analysis.table import build_table
from keepgain.core.record import Evidence
from tests.analysis.evidence import Trial, base, build, scores


def search(monkeypatch: pytest.MonkeyPatch) -> Evidence:
    """Nine trials with one seed, two replicated; also scores beyond 0 and 1, clusters, weights."""
    monkeypatch.setattr(measures_module, "_TOGETHER", 4)
    trials = [Trial(f"t{k}", "s", 0.3 + 0.04 * k, 0.75 - 0.01 * k, seeds=0) for k in range(9)]
    confirmed = [Trial(f"c{k}", "s", 0.5, 0.7, seeds=3) for k in range(2)]
    evidence = build([base("s"), *trials, *confirmed], n_items=150, test=False)
    rng = np.random.default_rng(3)
    weights = rng.uniform(0.5, 9, 150)
    clusters = tuple(None if i % 3 else f"c{i // 9}" for i in range(150))
    items = []
    for n, (key, s) in enumerate(evidence.items):
        values = np.sqrt(s.values + 0.1) if n == 4 else s.values
        given = scores(s.suite, s.split, values, s.tokens, weights=weights, clusters=clusters)
        given = replace(given, groups=tuple(f"g{i % 4}" for i in range(150)))
        items.append((key, given if s.suite != "sums" else s))
    return Evidence(evidence.sweep, tuple(items))


def test_every_figure_is_the_same_to_the_last_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    table = build_table(search(monkeypatch))
    together, alone = Measures(table), Measures(table)
    monkeypatch.setattr(alone, "_measure_alike", lambda *_: None)
    suites = table.suites["validation"]
    quantities = [
        *(n for n in objectives.NAMES if n != "max_forgetting"),
        *(f"drop:{n}" for n in suites),
        *(Flip(n, lost) for n in suites for lost in (True, False)),
        *(
            SliceFigure(s, gain=g)
            for i in suites.values()
            for s in slices_of(i)
            for g in (False, True)
        ),
    ]
    assert any(isinstance(q, SliceFigure) for q in quantities)
    who = table.trials("s", "validation")
    assert sum(c.seeds("validation") == 1 for c in who) == 9
    for quantity in quantities:
        for c in who:
            assert together.measure(c, "validation", quantity) == alone.measure(
                c, "validation", quantity
            )
    figures = {together.measure(c, "validation", "gain") for c in who}
    assert len(figures) == len(who)


def test_a_point_of_one_seed_is_the_estimate_and_of_several_the_mean_of_their_means(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measures = Measures(build_table(search(monkeypatch)))
    for c in measures.table.trials("s", "validation"):
        terms = measures.blocks(c, "validation", "gain")
        assert terms is not None
        by_hand = sum(float(b.means().mean()) for b in terms)
        assert measures.point(c, "validation", "gain") == by_hand


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("n", [1, 2, 37])
def test_columns_combine_as_each_does_alone(n: int, clustered: bool) -> None:
    rng = np.random.default_rng(n)
    clusters = np.arange(n) // 3 if clustered else None
    blocks = [
        Block(rng.normal(size=(n, 5)), rng.uniform(1, 3, n), clusters),
        Block(rng.normal(size=(n + 4, 5)), np.ones(n + 4)),
    ]
    seeds = [(SeedVariance(0.02, 0.001, 4), 1.0)]
    for at, found in enumerate(combine_columns(blocks, seeds, 1)):
        column = [Block(b.values[:, [at]].copy(), b.weights, b.clusters) for b in blocks]
        assert found == combine(column, seeds, 1)
