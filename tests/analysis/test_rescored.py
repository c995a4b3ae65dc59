"""The same weights on old and new items."""

import math

import numpy as np
import pytest

from keepgain.analysis.rescored import (
    Pair,
    change,
    gain,
    gain_change,
    judge,
    level,
    more_items,
    without,
)
from keepgain.analysis.stats import t_quantile
from keepgain.core.items import ItemScores


def scores(
    values: list[float],
    metric: str = "exact_match",
    name: str = "i",
    clusters: tuple[str | None, ...] = (),
) -> ItemScores:
    ids = np.array([f"{name}{k}" for k in range(len(values))])
    return ItemScores(
        suite="gain",
        split="test",
        metric=metric,
        item_ids=ids,
        values=np.array(values, dtype=float),
        weights=np.ones(len(values)),
        clusters=clusters,
    )


def share(right: int, of: int, name: str = "i") -> ItemScores:
    return scores([1.0] * right + [0.0] * (of - right), name=name)


def test_a_change_is_welchs_t_of_two_independent_means() -> None:
    old, new = scores([1, 1, 1, 0], name="o"), scores([1, 0, 0, 0, 1, 0], name="n")
    found = change(old, new)
    a, b = 0.25 / 4, (4 * (1 / 3) ** 2 + 2 * (2 / 3) ** 2) / 5 / 6  # s² / n
    df = (a + b) ** 2 / (a**2 / 3 + b**2 / 5)
    reach = t_quantile(0.975, df) * math.sqrt(a + b)
    e = found.estimate()
    assert e.value == pytest.approx(1 / 3 - 3 / 4)
    assert e.low == pytest.approx(1 / 3 - 3 / 4 - reach)
    assert e.high == pytest.approx(1 / 3 - 3 / 4 + reach)


def test_a_gain_is_paired_by_item_and_its_change_is_not() -> None:
    base, tuned = scores([0, 0, 1, 1]), scores([1, 0, 1, 1])
    old = Pair(base, tuned)
    assert gain(old).value == pytest.approx(0.25)
    assert gain(old).variance == pytest.approx(0.25 / 4)  # of the differences 1, 0, 0, 0
    new = Pair(scores([0, 0], name="n"), scores([1, 1], name="n"))
    found = gain_change(old, new)
    assert found.value == pytest.approx(0.75)
    assert found.variance == pytest.approx(0.25 / 4 + 0.0)


def test_of_bits_per_byte_more_is_worse() -> None:
    old, new = scores([1.0, 1.2], "bits_per_byte"), scores([1.4, 1.6], "bits_per_byte")
    assert change(old, new).value == pytest.approx(-0.4)
    assert judge(old, new, 0.1).drop.value == pytest.approx(0.4)
    assert level(new).value == pytest.approx(1.5)
    assert gain(Pair(new, old)).value == pytest.approx(0.4)


def test_a_drop_beyond_the_threshold_calls_for_a_new_sweep() -> None:
    found = judge(share(900, 1000), share(800, 1000, "n"), 0.02)
    assert (found.answer, found.more_items) == ("yes", None)
    assert found.drop.value == pytest.approx(0.1)
    low = found.drop.estimate().low
    assert low is not None and low > 0.02


def test_no_drop_does_not() -> None:
    assert judge(share(900, 1000), share(905, 1000, "n"), 0.05).answer == "no"


def test_what_is_not_resolved_says_how_many_more_new_items_would_do() -> None:
    old, new = share(9000, 10000), share(170, 200, "n")
    found = judge(old, new, 0.02)
    assert found.answer == "not_resolved"
    n, v_new, v_old = 200, 0.85 * 0.15 / 199, 0.9 * 0.1 / 9999
    z = 1.959964 + 0.841621
    needed = math.ceil(n * v_new / ((0.03 / z) ** 2 - v_old))
    assert found.more_items == needed - n
    enough = judge(old, share(round(0.85 * needed), needed, "n"), 0.02)
    assert enough.answer == "yes"


def test_too_few_old_items_cannot_be_made_up_for_by_new_ones() -> None:
    found = judge(share(18, 20), share(850, 1000, "n"), 0.02)
    assert (found.answer, found.more_items) == ("not_resolved", None)
    assert more_items(old=0.01, new=0.001, n=100, distance=0.1) is None
    assert more_items(old=0.0, new=0.001, n=100, distance=0.0) is None


def test_one_item_gives_no_interval_and_no_answer() -> None:
    found = judge(share(90, 100), share(0, 1, "n"), 0.02)
    assert (found.answer, found.more_items) == ("not_resolved", None)
    assert found.drop.estimate().low is None


def test_items_of_a_cluster_count_as_one_draw() -> None:
    apart = scores([1, 1, 0, 0])
    together = scores([1, 1, 0, 0], clusters=("a", "a", "b", "b"))
    alone = scores([1, 1, 0, 0], clusters=(None, None, None, "b"))
    assert level(together).variance == pytest.approx(0.25)  # of two draws, 1 and 0
    assert level(alone).variance == pytest.approx(level(apart).variance)


def test_items_can_be_left_out_with_their_clusters() -> None:
    kept = without(scores([1, 0, 0], clusters=("a", "b", None)), ["i1", "other"])
    assert kept.item_ids.tolist() == ["i0", "i2"]
    assert (kept.values.tolist(), kept.clusters) == ([1, 0], ("a", None))


def test_items_that_all_score_alike_are_not_known_for_certain() -> None:
    few = judge(share(60, 60), share(0, 3, "n"), 0.02)
    assert few.answer == "yes", "three wrong ones of three, after sixty right ones"
    lucky = judge(share(40, 80), share(3, 3, "n"), 0.02)
    assert (lucky.answer, lucky.drop.value) == ("not_resolved", -0.5)
    alike = change(share(300, 300), share(300, 300, "n")).estimate()
    assert alike.high is not None and alike.high > 1 - 0.025 ** (1 / 300)
    assert judge(share(5, 5), share(5, 5, "n"), 0.02).answer == "not_resolved"
    assert judge(share(2000, 2000), share(2000, 2000, "n"), 0.02).answer == "no"


def test_no_bound_is_made_up_for_what_is_no_share() -> None:
    old, new = scores([1.0, 1.0], "bits_per_byte"), scores([2.0, 2.0], "bits_per_byte", "n")
    assert change(old, new).estimate().low is None
    assert judge(old, new, 0.1).answer == "not_resolved"


def test_what_is_common_to_both_sets_is_taken_off_once() -> None:
    old = scores([1, 0, 1, 0, 1, 1])
    assert change(old, old).variance == pytest.approx(0.0, abs=1e-12)
    clusters = scores([1, 0, 1, 0, 1, 1], clusters=("a", "a", "b", "b", "c", None))
    assert change(clusters, clusters).variance == pytest.approx(0.0, abs=1e-12)
    values = np.random.default_rng(0).integers(0, 2, 400).astype(float).tolist()
    part, whole = scores(values[:300]), scores(values)
    apart = change(scores(values[:300], name="o"), whole)
    # mean(300) - mean(400) = (mean(300) - mean(the other 100)) / 4
    exact = (np.var(values[:300], ddof=1) / 300 + np.var(values[300:], ddof=1) / 100) / 16
    assert change(part, whole).variance == pytest.approx(exact, rel=0.03)
    assert apart.variance > 5 * exact
