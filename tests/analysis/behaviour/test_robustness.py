"""Drops and flips under changes of the prompt, worked by hand."""

import numpy as np
import pytest

from keepgain.analysis.behaviour.families import family_figures
from keepgain.analysis.behaviour.figure import Figure
from keepgain.analysis.behaviour.robustness import robustness_figures
from keepgain.analysis.stats import ITEMS_ONLY, UNKNOWN, t_quantile
from keepgain.analysis.table import SuiteItems
from keepgain.core.items import Floats
from keepgain.core.record import SuiteInfo

N = 100


def suite(
    kinds: dict[str, list[int]], scorer: str = "exact_match", clusters: list[int] | None = None
) -> SuiteItems:
    """Kind → parents that have it; each parent is a cluster unless they are given (by parent)."""
    made = sorted((f"p{p:03d}~{kind}", kind, p) for kind, parents in kinds.items() for p in parents)
    ids, what, parents = zip(*made, strict=True)
    return SuiteItems(
        SuiteInfo(name="s", measures="behaviour", scorer=scorer),
        "test",
        np.array(ids),
        np.ones(len(ids)),
        np.array([p if clusters is None else clusters[p] for p in parents], dtype=np.int64),
        {"perturbation": np.array(what)},
    )


def scores(items: SuiteItems, **right: set[int]) -> Floats:
    """1 for the parents named under a kind, shape [n, 1]."""
    values = []
    for name in items.item_ids.tolist():
        parent, _, kind = name.partition("~")
        values.append(float(int(parent[1:]) in right[kind]))
    return np.array(values)[:, None]


def named(figures: list[Figure], name: str) -> Figure:
    return next(f for f in figures if f.name == name)


BOTH = suite({"none": list(range(N)), "typos": list(range(N))})
TUNED = scores(BOTH, none=set(range(80)), typos=set(range(20, 85)))
"""80 right as they are; of these 20 are lost to typos and 5 others won: 65."""
BASE = scores(BOTH, none=set(range(50)), typos=set(range(45)))
"""50 right, 5 lost, none won."""


def test_a_drop_is_paired_and_set_against_the_bases():
    found = named(robustness_figures(BOTH, TUNED, BASE), "drop under typos")
    assert found.direction == "minimize" and found.unit == "share of items"
    assert found.estimate.value == pytest.approx(0.15)
    # Terms: 20 of +1, 5 of -1, 75 of 0: variance of a mean of 100 with mean .15.
    variance = (20 + 5 - N * 0.15**2) / (N - 1) / N
    half = t_quantile(0.975, N - 1) * np.sqrt(variance)
    assert found.estimate.low == pytest.approx(0.15 - half)
    assert found.estimate.high == pytest.approx(0.15 + half)
    assert (found.estimate.n_items, found.estimate.interval_method) == (N, ITEMS_ONLY)
    assert found.base is not None and found.base.value == pytest.approx(0.05)
    assert found.change is not None and found.change.value == pytest.approx(0.10)
    assert found.change.low is not None
    assert found.note == "0.800 as they are, 0.650 changed (base 0.500 as they are, 0.450 changed)"


def test_flips_count_both_directions():
    found = named(robustness_figures(BOTH, TUNED, BASE), "flips under typos")
    assert found.estimate.value == pytest.approx(0.25)
    assert found.base is not None and found.base.value == pytest.approx(0.05)
    assert found.change is not None and found.change.value == pytest.approx(0.20)
    assert found.note == (
        "right to wrong 0.200, wrong to right 0.050 "
        "(base right to wrong 0.050, wrong to right 0.000)"
    )


def test_equal_means_can_hide_flips():
    tuned = scores(BOTH, none=set(range(50)), typos=set(range(50, 100)))
    found = robustness_figures(BOTH, tuned, None)
    assert named(found, "drop under typos").estimate.value == 0
    assert named(found, "flips under typos").estimate.value == 1
    assert all(f.base is None and f.change is None for f in found)


def test_an_item_that_a_kind_could_not_change_is_in_no_pair_of_that_kind():
    items = suite({"none": list(range(N)), "casing": list(range(60)), "typos": list(range(N))})
    tuned = scores(items, none=set(range(N)), casing=set(range(30)), typos=set(range(N)))
    found = robustness_figures(items, tuned, None)
    assert [f.name for f in found] == [
        "drop under casing", "flips under casing", "drop under typos", "flips under typos",
    ]  # fmt: skip
    drop = named(found, "drop under casing").estimate
    assert (drop.value, drop.n_items) == (0.5, 60)


def test_of_a_loss_more_is_worse_and_nothing_flips():
    items = suite({"none": list(range(N)), "suffix": list(range(N))}, scorer="bits_per_byte")
    losses = np.where(items.slices["perturbation"] == "none", 1.0, 1.5)[:, None]
    losses += np.linspace(0, 0.1, 2 * N)[:, None]
    found = robustness_figures(items, losses, None)
    assert [f.name for f in found] == ["drop under suffix"]
    assert found[0].estimate.value == pytest.approx(0.5, abs=0.01)
    assert found[0].unit == "bits/byte"


def test_seeds_are_averaged_and_clusters_are_draws():
    tuned = np.hstack([TUNED, TUNED, scores(BOTH, none=set(range(80)), typos=set(range(80)))])
    drop = named(robustness_figures(BOTH, tuned, BASE), "drop under typos")
    assert drop.estimate.value == pytest.approx(0.10)
    assert drop.estimate.n_seeds == 3
    wide = suite(
        {"none": list(range(N)), "typos": list(range(N))}, clusters=[i // 20 for i in range(N)]
    )
    found = named(robustness_figures(wide, TUNED, None), "drop under typos").estimate
    alone = named(robustness_figures(BOTH, TUNED, None), "drop under typos").estimate
    assert None not in (found.low, found.high, alone.low, alone.high)
    assert found.high - found.low > alone.high - alone.low  # type: ignore[operator]


def test_few_items_have_a_figure_without_an_interval():
    items = suite({"none": list(range(20)), "typos": list(range(20))})
    tuned = scores(items, none=set(range(20)), typos=set(range(10)))
    drop = robustness_figures(items, tuned, None)[0].estimate
    assert (drop.value, drop.low, drop.interval_method) == (0.5, None, UNKNOWN)


def test_it_is_told_of_every_suite_with_perturbed_items_and_of_no_other():
    names = [f.name for f in family_figures(BOTH, TUNED, BASE)]
    assert "drop under typos" in names
    foreign = suite({"none": list(range(N)), "typos": list(range(N))})
    foreign.item_ids[:] = [f"row {i}" for i in range(2 * N)]
    assert robustness_figures(foreign, TUNED, BASE) == [], "a user's own field of that name"
