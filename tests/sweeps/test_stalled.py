"""The rule that ends a search whose fronts have stopped growing."""

import pytest

from keepgain.sweeps.spec_search import StalledSpec
from keepgain.sweeps.stalled import Scored, reference_point, volume, why_stalled

RULE = StalledSpec(generations=2, min_rise=0.05)


def test_the_volume_is_the_area_between_front_and_reference() -> None:
    reference = reference_point(0.03, 2)
    assert reference == (0.0, 1.0)
    # 0.2 wide up to forgetting 0.1; from there to 0.5 gain up to forgetting 0.4.
    assert volume([(0.2, 0.1), (0.5, 0.4)], reference) == pytest.approx(0.2 * 0.9 + 0.3 * 0.6)
    # Dominated, without gain, or beyond the reference: nothing.
    assert volume([(0.1, 0.2), (-0.1, 0.0), (0.5, 1.2), (0.2, 0.1)], reference) == pytest.approx(
        0.18
    )
    # Less forgotten than the base is worth more.
    assert volume([(0.5, -0.2)], reference) == pytest.approx(0.6)
    assert volume([], reference) == 0


def test_the_reference_follows_the_question_alone() -> None:
    assert reference_point(None, 2) == (0.0, 1.0)
    assert reference_point(3.0, 2) == (0.0, 3.0)
    assert reference_point(3.0, 1) == (0.0,)
    assert volume([(0.3,), (0.5,)], (0.0,)) == pytest.approx(0.5)


def rising(*gains: float, model: str = "a") -> list[Scored]:
    """One trial a generation, nothing forgotten: the volume is the best gain."""
    return [Scored(model, g, (gain, 0.0)) for g, gain in enumerate(gains)]


@pytest.mark.parametrize(
    ("gains", "stalls"),
    [
        ((0.5, 0.5, 0.5), True),
        ((0.5, 0.52, 0.54), True),  # by 4 % and 3.8 %
        ((0.5, 0.53, 0.53), False),  # 6 % in the last but one
        ((0.5, 0.5, 0.53), False),
        ((0.1, 0.5, 0.1, 0.2), True),  # what is behind the front raises nothing
        ((0.5, 0.5), False),  # one generation to judge, two are asked for
        ((-0.1, -0.2, -0.3), True),  # nothing gains: there is no rise
        ((-0.1, -0.2, 0.1), False),  # the first gain rises from nothing
    ],
)
def test_it_stalls_after_enough_generations_without_a_rise(
    gains: tuple[float, ...], stalls: bool
) -> None:
    found = why_stalled(RULE, rising(*gains), ["a"], len(gains), None)
    assert (found is not None) == stalls
    if found:
        assert "search.stalled" in found and "last 2 generations" in found


def test_one_base_model_that_still_grows_keeps_the_search_going() -> None:
    scored = rising(0.5, 0.5, 0.5) + rising(0.1, 0.2, 0.3, model="b")
    assert why_stalled(RULE, scored, ["a", "b"], 3, None) is None
    assert why_stalled(RULE, scored, ["a"], 3, None) is not None


def test_a_model_without_any_result_keeps_nothing_going() -> None:
    assert why_stalled(RULE, rising(0.5, 0.5, 0.5), ["a", "b"], 3, None) is not None


def test_the_order_of_the_results_changes_nothing() -> None:
    scored = rising(0.5, 0.5, 0.5)
    assert why_stalled(RULE, scored[::-1], ["a"], 3, None) == why_stalled(
        RULE, scored, ["a"], 3, None
    )
