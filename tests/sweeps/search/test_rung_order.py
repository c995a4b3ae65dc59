"""The rung check ranks as the rungs do: `analysis` cannot import `sweeps`, so both are compared."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from keepgain.analysis.fronts import early_order, layered_order
from keepgain.sweeps.search.rungs import Entry, RungPolicy, rank

# Coarse values, so that ties and dominated points are common.
COARSE = st.integers(0, 6).map(lambda i: i / 8)
TRIAL = st.tuples(COARSE, COARSE, st.sampled_from([0.0, 0.0, 0.0, 0.25, 0.5]))


@given(st.lists(TRIAL, min_size=1, max_size=14))
def test_both_orders_are_the_same(trials: list[tuple[float, float, float]]) -> None:
    entries = [
        Entry(run_key=f"t{i}", number=i, generation=0, gain=g, forgetting=f, excess=x)
        for i, (g, f, x) in enumerate(trials)
    ]
    ranked = rank(entries, RungPolicy(), share=1.0)
    gain, forgetting, excess = (np.array(column) for column in zip(*trials, strict=True))
    assert layered_order(gain, forgetting, excess) == [e.number for e in ranked.order]


@given(st.lists(st.tuples(COARSE, COARSE, COARSE), min_size=1, max_size=14))
def test_both_early_orders_are_the_same(trials: list[tuple[float, float, float]]) -> None:
    entries = [
        Entry(run_key=f"t{i}", number=i, generation=0, gain=g, forgetting=f, proxy_gain=p)
        for i, (g, p, f) in enumerate(trials)
    ]
    ranked = rank(entries, RungPolicy(), share=0.1)
    gain, smooth, forgetting = (np.array(column) for column in zip(*trials, strict=True))
    assert early_order(gain, smooth, forgetting) == [e.number for e in ranked.order]
