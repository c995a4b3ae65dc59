"""Which items are drawn: proportions, weights, sizes, and that nothing is biased."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepgain.sweeps.review.sample import Kind, Sample, Unit, draw, items_needed, resolved

KINDS: tuple[Kind, ...] = ("same_text", "same_score", "other_score")


def units(**counts: int) -> list[Unit]:
    """`KIND__GROUP=n`."""
    made = []
    for place, n in counts.items():
        kind, _, group = place.partition("__")
        made += [Unit(f"{place}-{i:03d}", group, kind) for i in range(n)]  # type: ignore[arg-type]
    return made


def total(sample: Sample) -> float:
    return sum(c.weight for c in sample.chosen) + sample.share_identical


def test_the_size_follows_from_the_largest_variance_of_a_preference() -> None:
    # (1.959964 + .841621)^2 * .25 / .1^2 = 196.2
    assert items_needed(1.0, 0.1) == 197
    assert items_needed(0.5, 0.1) == 50  # half of the items are ties for certain: a quarter
    assert items_needed(1.0, 0.05) == 785
    assert resolved(1.0, 197) == pytest.approx(0.0998, abs=5e-5)
    assert resolved(0.5, 50) <= 0.1 < resolved(0.5, 49)


def test_strata_give_in_proportion_and_their_weights_make_up_for_it() -> None:
    every = units(same_text=40, same_score__en=100, same_score__de=40, other_score__en=20)
    sample = draw(every, 32, 1)
    assert sample.strata == {
        "same_score / en": (100, 20),
        "same_score / de": (40, 8),
        "other_score / en": (20, 4),
    }
    assert (sample.identical, sample.of) == (40, 200)
    by_stratum = {c.stratum: c.weight for c in sample.chosen}
    assert by_stratum["same_score / en"] == pytest.approx(100 / 200 / 20)
    assert total(sample) == pytest.approx(1.0)
    assert not any(c.id.startswith("same_text") for c in sample.chosen)


def test_each_stratum_gives_two_and_those_too_small_for_it_are_one() -> None:
    every = units(same_score__a=100, other_score__a=3, other_score__b=2, other_score__c=2)
    sample = draw(every, 20, 1)
    assert sample.strata == {"same_score / a": (100, 18), "other_score / others": (7, 2)}
    assert total(sample) == pytest.approx(1.0)


def test_fewer_than_the_strata_need_are_drawn_from_all() -> None:
    sample = draw(units(same_score=50, other_score=50), 3, 1)
    assert sample.strata == {"all": (100, 3)}


def test_all_items_are_drawn_where_there_are_not_more() -> None:
    every = units(same_text=10, same_score=5, other_score=5)
    for wanted in (None, 10, 99):
        sample = draw(every, wanted, 1)
        assert len(sample.chosen) == 10
        assert [c.weight for c in sample.chosen] == pytest.approx([1 / 20] * 10)


def test_the_draw_follows_from_the_seed_and_not_from_the_order_of_the_items() -> None:
    every = units(same_score=50, other_score=50)
    assert draw(every, 20, 1) == draw(every[::-1], 20, 1)
    assert draw(every, 20, 1) != draw(every, 20, 2)


def test_weighted_means_are_unbiased_although_strata_give_unequally() -> None:
    every = units(same_text=50, same_score=300, other_score=10)
    rng = np.random.default_rng(3)
    truth = {u.id: 0.5 if u.kind == "same_text" else float(rng.random() < 0.3) for u in every}
    truth |= {u.id: 1.0 for u in every if u.kind == "other_score"}
    found, plain = [], []
    for seed in range(600):
        sample = draw(every, 12, seed)
        assert sample.strata["other_score"] == (10, 2)  # in proportion it would be 0.4
        found.append(
            sum(c.weight * truth[c.id] for c in sample.chosen) + 0.5 * sample.share_identical
        )
        mean = np.mean([truth[c.id] for c in sample.chosen])
        plain.append(0.5 * 50 / 360 + mean * 310 / 360)
    right = np.mean(list(truth.values()))
    reach = 4 * np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found) - right) < reach
    assert np.mean(plain) - right > reach  # the same draws without their weights


@given(
    st.lists(st.tuples(st.sampled_from(KINDS), st.sampled_from("abcdef")), min_size=1, max_size=80),
    st.integers(1, 90),
    st.integers(0, 99),
)
def test_weights_always_make_one_and_no_item_comes_twice(
    places: list[tuple[Kind, str]], wanted: int, seed: int
) -> None:
    every = [Unit(f"{i}", group, kind) for i, (kind, group) in enumerate(places)]
    sample = draw(every, wanted, seed)
    asked = sum(u.kind != "same_text" for u in every)
    assert len({c.id for c in sample.chosen}) == len(sample.chosen) == min(wanted, asked)
    assert total(sample) == pytest.approx(1.0)
    assert sum(drawn for _, drawn in sample.strata.values()) == len(sample.chosen)
    for stratum, (n, drawn) in sample.strata.items():
        weights = [c.weight for c in sample.chosen if c.stratum == stratum]
        assert len(weights) == drawn <= n
        assert sum(weights) == pytest.approx(n / len(every))
