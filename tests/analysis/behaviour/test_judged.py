"""What a judge said as figures, and whether people agree with it, by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepgain.analysis.behaviour.judge_agreement import agreement, interval_alpha
from keepgain.analysis.behaviour.judged import figures_of, judged_usable, standing
from keepgain.core.agreement import krippendorff_alpha_of_scale
from keepgain.core.items import ItemScores
from keepgain.core.judged import (
    ORDERS,
    PAIR,
    SCORE,
    Counts,
    Judged,
    JudgedItems,
    JudgeFacts,
    Labelled,
    Of,
)


def judged(*labelled: Labelled, least: float = 0.6) -> Judged:
    facts = JudgeFacts(
        endpoint="g",
        base_url="http://localhost/v1",
        model="m-1",
        rubric="Good?",
        scale=(1, 5),
        prompts="p",
        min_agreement=least,
        min_labels=30,
    )
    return Judged(
        suite="gain",
        split="test",
        judge=facts,
        items="judged/x.parquet",
        scores=Counts(questions=9),
        pairs=Counts(questions=9),
        labelled=labelled,
    )


def pair(of: Of, n: int, people: float, judge: float | None) -> Labelled:
    return Labelled(of=of, item=f"i{n}", people=people, judge=judge)


def test_alpha_of_numbers_is_that_of_the_textbook_formula() -> None:
    """(1, 2), (3, 3), (5, 4): mean square 2/3; the six values have mean 3 and variance 10/5."""
    found = interval_alpha(np.array([1.0, 3.0, 5.0]), np.array([2.0, 3.0, 4.0]))
    assert found == pytest.approx(1 - (2 / 3) / (2 * 2))
    assert interval_alpha(np.ones(3), np.ones(3)) is None


SCORES = st.integers(1, 5)


@given(st.lists(st.tuples(SCORES, SCORES), min_size=2, max_size=30))
def test_of_whole_numbers_it_is_the_alpha_of_scales(ratings: list[tuple[int, int]]) -> None:
    """People's mean scores are no steps of a scale, so that alpha is computed from numbers here."""
    first, second = (np.array(side) for side in zip(*ratings, strict=True))
    units = np.tile(np.arange(len(ratings)), 2)
    known = krippendorff_alpha_of_scale(units, np.concatenate([first, second]) - 1, "interval")
    ours = interval_alpha(first.astype(np.float64), second.astype(np.float64))
    assert (ours is None) == (known is None)
    if ours is not None and known is not None:
        assert ours == pytest.approx(known.alpha)


def test_preferences_agree_by_their_share_with_wilsons_interval() -> None:
    """45 of 50: (.9 + z²/100) / (1 + z²/50) -+ ...; what the judge did not answer is left out."""
    labels = [pair("pairs", n, 1, 1 if n < 45 else 0) for n in range(50)]
    found = agreement([*labels, pair("pairs", 99, 1, None)], "pairs")
    assert found is not None and (found.labels, found.items) == (50, 50)
    assert (found.value, found.low, found.high) == pytest.approx((0.9, 0.7864, 0.9565), abs=1e-4)
    assert judged_usable(judged(*labels), "pairs") is None
    assert "0.90 [0.79, 0.96], 50 labels of 50 items" in standing(judged(*labels), "pairs")


def test_labels_of_one_item_are_one_draw() -> None:
    once = [pair("pairs", n, 1, 1 if n < 45 else 0) for n in range(50)]
    thrice = agreement([x for x in once for _ in range(3)], "pairs")
    found = agreement(once, "pairs")
    assert found is not None and thrice is not None and thrice.labels == 150
    assert (thrice.low, thrice.high) == (found.low, found.high)


def test_what_may_enter_a_decision_is_what_people_agree_with_for_certain() -> None:
    def close(n: int) -> Labelled:
        return pair("scores", n, n % 5 + 1, min(5, n % 5 + 1 + (n % 3 == 0)))

    def far(n: int) -> Labelled:
        return pair("scores", n, n % 5 + 1, 5 - n % 5)

    good = [close(n) for n in range(60)]
    found = agreement(good, "scores")
    assert found is not None and found.low < found.value < found.high < 1
    assert judged_usable(judged(*good), "scores") is None
    assert "people disagree with it: alpha" in str(
        judged_usable(judged(*[far(n) for n in range(60)]), "scores")
    )
    between = judged_usable(judged(*good, least=round(found.value, 2)), "scores")
    assert "for certain; more labels may tell" in str(between)
    assert "29 labels by people, 30 are needed" in str(judged_usable(judged(*good[:29]), "scores"))
    assert judged_usable(judged(), "scores") == "not validated: no labels by people"
    assert judged_usable(judged(*good), "pairs") == "not validated: no labels by people"
    same = [pair("scores", n, 3, 3) for n in range(40)]
    assert "only ever gave one score" in str(judged_usable(judged(*same), "scores"))


def items(metric: str, values: list[float], orders: tuple[str, ...] | None = None) -> ItemScores:
    return ItemScores(
        suite="gain",
        split="test",
        metric=metric,
        item_ids=np.array([f"i{n:03d}" for n in range(len(values))]),
        values=np.array(values),
        weights=np.ones(len(values)),
        slices={} if orders is None else {ORDERS: orders},
    )


def test_scores_are_paired_with_the_base_item_by_item() -> None:
    """Changes of +2 and 0 by halves: mean 1, s² = 200/199, t(199) = 1.97196."""
    base = items(SCORE, [1.0, 2.0] * 100)
    tuned = items(SCORE, [3.0, 2.0] * 100)
    found = JudgedItems({"b": base, "t": tuned}, {})
    (figure,) = figures_of(judged(), found, ["t", "elsewhere"], ["b"])
    reach = 1.97196 * math.sqrt(200 / 199 / 200)
    assert figure.change is not None and figure.change.value == 1.0
    assert figure.change.low == pytest.approx(1 - reach, abs=1e-5)
    assert (figure.estimate.value, figure.estimate.n_seeds) == (2.5, 1)
    assert figure.base is not None and figure.base.value == 1.5
    assert "may not enter the decision" in figure.note


def test_an_item_counts_by_its_pairs_where_orders_differ() -> None:
    """Two runs: of 3 pairs that were asked 2 differ, although each run has an equal text."""
    one = items(PAIR, [0.5, 0.5, 0.5], ("differ", "differ", "same"))
    two = items(PAIR, [1.0, 0.5, 0.5], ("agree", "same", "same"))
    won, bias = figures_of(judged(), JudgedItems({}, {"1": one, "2": two}), ["1", "2"], [])
    assert bias.estimate.value == pytest.approx(2 / 3) and bias.estimate.n_items == 2
    assert "3 of 6 pairs are equal texts" in bias.note
    assert won.estimate.value == pytest.approx((1.5 + 2) / 6) and won.estimate.n_seeds == 2
