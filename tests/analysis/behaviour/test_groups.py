"""Worst groups, gaps, selection rates and counterfactual pairs, worked by hand."""

from dataclasses import replace

import numpy as np
import pytest

from keepgain.analysis.behaviour.families import family_figures
from keepgain.analysis.behaviour.figure import Figure
from keepgain.analysis.behaviour.groups import group_figures, pair_figures, selection_figures
from keepgain.analysis.behaviour.largest import largest, turned
from keepgain.analysis.behaviour.resample import (
    PartMeans,
    item_counts,
    part_means,
    seed_weights,
)
from keepgain.analysis.table import SuiteItems
from keepgain.core.positive import IS_POSITIVE
from keepgain.core.record import SuiteInfo


def suite(scorer: str, clusters: list[int] | None = None, **slices: list[str]) -> SuiteItems:
    n = len(next(iter(slices.values())))
    return SuiteItems(
        SuiteInfo(name="s", measures="behaviour", scorer=scorer),
        "test",
        np.array([f"i{k:04d}" for k in range(n)]),
        np.ones(n),
        None if clusters is None else np.array(clusters, dtype=np.int64),
        {name: np.array(values, dtype=np.str_) for name, values in slices.items()},
    )


def column(*parts: tuple[int, int]) -> np.ndarray:
    """Parts of (ones, items) one after the other, shape [n, 1]."""
    return np.concatenate([np.repeat([1.0, 0.0], [k, n - k]) for k, n in parts])[:, None]


def named(figures: list[Figure], name: str) -> Figure:
    return next(f for f in figures if f.name == name)


THREE = ["a"] * 400 + ["b"] * 600 + ["c"] * 20
"""c is too small to count."""


def test_the_worst_group_the_gap_and_the_average_are_those_of_the_groups_that_count():
    found = group_figures(
        suite("exact_match", group=THREE),
        column((100, 400), (450, 600), (0, 20)),
        column((200, 400), (300, 600), (0, 20)),
    )
    worst = named(found, "worst group")
    assert worst.estimate.value == 0.25 and worst.estimate.n_items == 400
    assert worst.base is not None and worst.base.value == 0.5
    assert worst.change is not None and worst.change.value == -0.25
    assert worst.change.high is not None and worst.change.high < 0
    assert worst.note.startswith(
        "a, n = 400; the worst of 2 groups; 1 groups of fewer than 30 items"
    )
    assert named(found, "best minus worst group").estimate.value == 0.5
    # 550 of the 1,000 items of both groups are right.
    assert named(found, "average minus worst group").estimate.value == pytest.approx(0.3)
    assert worst.direction == "maximize"
    assert named(found, "best minus worst group").direction == "minimize"


def test_the_average_weighs_items_as_the_suite_does():
    heavy = replace(suite("bits_per_byte", group=["a"] * 50 + ["b"] * 50), weights=WEIGHTS)
    scores = np.repeat([2.0, 1.0], 50)[:, None]
    found = group_figures(heavy, scores, None)
    # 150 of 200 bytes are of b: the average is 1.25 bits, and a has 2.
    assert named(found, "average minus worst group").estimate.value == pytest.approx(0.75)


WEIGHTS = np.repeat([1.0, 3.0], 50)


def test_of_very_many_groups_the_gap_has_no_interval():
    names = [f"g{k:03d}" for k in range(46) for _ in range(30)]
    parts = [(10, 30)] * 45 + [(20, 30)]
    found = group_figures(suite("exact_match", group=names), column(*parts), column(*parts))
    gap = named(found, "best minus worst group")
    assert gap.estimate.value == pytest.approx(1 / 3) and gap.estimate.low is None
    assert gap.base is not None and gap.base.value == pytest.approx(1 / 3)
    assert gap.change is not None and gap.change.value == 0 and gap.change.high is None
    assert named(found, "worst group").estimate.low is not None


def test_the_worst_of_a_scorer_that_is_to_fall_is_the_highest():
    found = group_figures(
        suite("brier", group=THREE), column((100, 400), (450, 600), (0, 20)), None
    )
    worst = named(found, "worst group")
    assert worst.estimate.value == 0.75 and worst.direction == "minimize"
    assert worst.base is None and worst.change is None
    assert named(found, "average minus worst group").estimate.value == pytest.approx(0.2)


def test_equal_groups_are_not_told_apart_and_the_bias_of_the_worst_is_said():
    many = [name for name in "abcdefgh" for _ in range(40)]
    found = group_figures(suite("exact_match", group=many), column(*[(20, 40)] * 8), None)
    worst, gap = named(found, "worst group"), named(found, "best minus worst group")
    assert worst.estimate.value == 0.5
    assert worst.estimate.low < 0.5 < worst.estimate.high
    assert gap.estimate.value == 0
    # The least of 8 means of 40 fair coins lies 1.42 sqrt(.25 / 40) below, on average.
    said = float(worst.note.split("resampled one is ")[1].split()[0])
    assert said == pytest.approx(1.42 * (0.25 / 40) ** 0.5, abs=0.01)


def test_bounds_hold_the_true_worst_group_and_gap_where_percentiles_do_not():
    rng = np.random.default_rng(2)
    each = np.eye(6)
    pairs = np.concatenate([each - np.roll(each, k, axis=0) for k in range(1, 6)])
    truth = np.full(6, 0.5)
    held = {"worst": 0, "gap": 0, "percentiles": 0}
    for _ in range(150):
        means = rng.binomial(50, truth) / 50
        drawn = rng.binomial(50, means, size=(300, 6)) / 50
        sides = [PartMeans(means, drawn, 1)]
        worst = turned(largest(-each, sides, [50])).tuned
        gap = largest(pairs, sides, [300]).tuned
        held["worst"] += worst.low <= 0.5 <= worst.high
        held["gap"] += gap.low <= 0
        low, high = np.quantile(drawn.min(axis=1), (0.025, 0.975))
        held["percentiles"] += low <= 0.5 <= high
    assert held["worst"] >= 132 and held["gap"] >= 132  # .88 of 150
    assert held["percentiles"] <= 45


def test_the_change_of_the_worst_group_holds_the_truth_when_another_group_becomes_the_worst():
    rng = np.random.default_rng(4)
    each, before, after = np.eye(4), np.array([0.5, 0.6, 0.7, 0.7]), np.array([0.6, 0.3, 0.7, 0.8])
    held, resolved = 0, 0
    for _ in range(100):
        means = [rng.binomial(200, p) / 200 for p in (after, before)]
        sides = [PartMeans(m, rng.binomial(200, m, size=(300, 4)) / 200, 1) for m in means]
        change = turned(largest(-each, sides, [200, 200])).change
        held += change.low <= 0.3 - 0.5 <= change.high
        resolved += change.high < 0
    assert held >= 93 and resolved >= 60


def test_a_field_of_the_spec_is_a_grouping_too_and_one_group_is_none():
    items = suite("exact_match", group=["x"] * 80, language=["de"] * 40 + ["fr"] * 40)
    found = group_figures(items, column((30, 40), (20, 40)), None)
    assert [f.name for f in found] == [
        "worst value of language",
        "best minus worst value of language",
        "average minus worst value of language",
    ]
    assert found[0].estimate.value == 0.5


def test_seeds_widen_the_interval_of_items():
    tuned = np.hstack([column((16, 40), (30, 40)), column((28, 40), (30, 40))])
    items = suite("exact_match", group=["a"] * 40 + ["b"] * 40)
    both = named(group_figures(items, tuned, None), "worst group").estimate
    one = named(group_figures(items, tuned[:, :1], None), "worst group").estimate
    assert both.value == pytest.approx(0.55) and both.n_seeds == 2
    assert one.interval_method == "items_simultaneous_bootstrap"
    assert both.interval_method == "items_and_seeds_simultaneous_bootstrap"
    assert both.high - both.low > one.high - one.low


def test_rates_of_selection_and_of_errors_by_group():
    # Each group has 40 positive and 40 other items; a gets 30 + 10 positive labels, b 20 + 0.
    items = suite(
        "selected",
        group=["a"] * 80 + ["b"] * 80,
        **{IS_POSITIVE: (["yes"] * 40 + ["no"] * 40) * 2},
    )
    tuned = column((30, 40), (10, 40), (20, 40), (0, 40))
    found = selection_figures(items, tuned, column((40, 40), (0, 40), (40, 40), (0, 40)))
    ratio = named(found, "selection rate, lowest over highest, by group")
    assert ratio.estimate.value == 0.5 and ratio.base is not None and ratio.base.value == 1
    assert ratio.change is not None and ratio.change.value == -0.5
    assert ratio.direction == "maximize" and "reference only" in ratio.note
    true_gap = named(found, "true positive rate, gap, by group")
    assert true_gap.estimate.value == 0.25 and true_gap.estimate.n_items == 80
    assert named(found, "false positive rate, gap, by group").estimate.value == 0.25
    assert group_figures(items, tuned, None) == [], "no selection rate is the worst"
    assert family_figures(items, tuned, None) == selection_figures(items, tuned, None)


def test_nobody_selected_has_no_ratio():
    items = suite("selected", group=["a"] * 40 + ["b"] * 40, **{IS_POSITIVE: ["no"] * 80})
    found = selection_figures(items, np.zeros((80, 1)), None)
    assert [f.estimate.value for f in found] == [None, 0.0]
    assert found[1].name == "false positive rate, gap, by group"


def test_pairs_flip_where_the_two_scores_differ():
    # 40 pairs: 10 flip when tuned, none in the base.
    clusters = [k for k in range(40) for _ in range(2)]
    items = suite("exact_match", clusters, group=["she", "he"] * 40)
    tuned = np.tile([[1.0], [1.0]], (40, 1))
    tuned[:20:2] = 0.0
    (flips,) = pair_figures(items, tuned, np.ones((80, 1)))
    assert flips.name == "pairs that flip" and flips.estimate.value == 0.25
    assert flips.estimate.n_items == 40 and flips.note == "40 pairs"
    assert flips.base is not None and flips.base.value == 0 and flips.base.low is None
    assert flips.change is not None and flips.change.value == 0.25
    # t of 39 degrees of freedom: .25 +- 2.0227 * sqrt(.25 * .75 / 39).
    assert flips.estimate.high == pytest.approx(0.25 + 2.0227 * (0.1875 / 39) ** 0.5, abs=1e-4)


def test_scores_that_are_not_right_or_wrong_have_an_amount_too():
    items = suite("brier", [0, 0, 1, 1], group=["x", "y", "x", "y"])
    flips, amount = pair_figures(items, np.array([[0.5], [0.2], [0.4], [0.4]]), None)
    assert flips.estimate.value == 0.5
    assert amount.name == "mean difference within pairs"
    assert amount.estimate.value == pytest.approx(0.15)


def test_clusters_that_are_no_pairs_have_no_pair_figures():
    scores = np.ones((6, 1))
    groups = ["x", "y", "x", "y", "x", "y"]
    assert pair_figures(suite("exact_match", None, group=groups), scores, None) == []
    assert pair_figures(suite("exact_match", [0, 0, 0, 1, 1, 2], group=groups), scores, None) == []
    assert (
        pair_figures(suite("exact_match", [0, 0, 1, 1, 2, 2], group=["x"] * 6), scores, None) == []
    )
    (alone,) = pair_figures(suite("exact_match", [0, 0, 1, 1, 2, 3], group=groups), scores, None)
    assert alone.note == "2 pairs; 2 items without their other half are left out"


def test_draws_keep_clusters_whole_and_part_means_are_those_of_the_items():
    items = suite("exact_match", [0, 0, 1, 1, 1, 2], group=["x", "x", "y", "y", "y", "x"])
    counts = np.concatenate(list(item_counts(items, 50)))
    assert counts.shape == (50, 6)
    assert np.array_equal(counts[:, 0], counts[:, 1])
    assert np.all(counts[:, [0, 2, 5]].sum(axis=1) == 3)
    scores = np.array([[1, 0.5], [0, 0.5], [1, 1], [1, 0], [0, 0], [1, 1.0]])
    inside = np.array([[1, 1, 0, 0, 0, 1], [0, 0, 1, 1, 1, 0]]).T.astype(float)
    both, means = part_means(items, inside, [scores, scores[:, :1]], 50)
    assert both.values == pytest.approx([2 / 3, (2 / 3 + 1 / 3) / 2])
    for d in range(50):
        for p in range(2):
            share = counts[d] * inside[:, p]
            if share.sum():
                assert means.draws[d, p] == pytest.approx(share @ scores[:, 0] / share.sum())
            else:
                assert np.isnan(means.draws[d, p])


def test_seed_weights_give_students_interval_of_a_mean_of_seeds():
    weights = seed_weights(3, 100_000)
    assert weights.sum(axis=1) == pytest.approx(np.ones(100_000))
    values = np.array([0.0, 0.3, 0.9])
    low, high = np.quantile(weights @ values, (0.025, 0.975))
    reach = 4.303 * np.std(values, ddof=1) / 3**0.5  # t of 2 degrees of freedom
    assert (low, high) == pytest.approx((0.4 - reach, 0.4 + reach), rel=0.03)


def test_all_groups_tell_how_far_a_seed_moves_one_of_them():
    """Seeds that move single groups: (-.1, .1, 0) and back; items do not vary."""
    items = suite("exact_match", group=["a"] * 30 + ["b"] * 30 + ["c"] * 30)
    scores = np.repeat([[0.4, 0.6], [0.6, 0.4], [0.5, 0.5]], 30, axis=0)
    inside = np.repeat(np.eye(3), 30, axis=0)
    (means,) = part_means(items, inside, [scores], 20_000)
    assert means.plain is not None
    # Sum of squares .04 over (2 - 1)(3 - 1) degrees of freedom, halved for two seeds.
    apart = means.plain[:, 0] - means.plain[:, 2]
    assert apart.std() == pytest.approx((2 * 0.04 / 2 / 2) ** 0.5, rel=0.03)
    tails = (means.draws[:, 0] - means.draws[:, 2] - apart.mean()) / apart.std()
    assert np.quantile(tails, 0.975) == pytest.approx(4.303, rel=0.1)
