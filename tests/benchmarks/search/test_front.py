"""Areas by hand, and against moocore for any points."""

import moocore
import pytest
from front import Point, front, hypervolume
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


def test_a_point_dominates_its_gain_times_what_it_kept() -> None:
    assert hypervolume([Point(0.5, 0.2)]) == pytest.approx(0.5 * 0.8)


def test_two_points_that_trade_add_up_without_their_overlap() -> None:
    # 0.8 x 0.4 for the first; the second is higher by 0.4 over a width of 0.5.
    assert hypervolume([Point(0.5, 0.2), Point(0.8, 0.6)]) == pytest.approx(0.32 + 0.20)


def test_a_dominated_or_equal_point_adds_nothing() -> None:
    one = [Point(0.5, 0.2)]
    assert hypervolume([*one, Point(0.4, 0.3), Point(0.5, 0.2), Point(0.5, 0.9)]) == hypervolume(
        one
    )


def test_what_gains_nothing_or_keeps_nothing_adds_nothing() -> None:
    assert hypervolume([]) == 0.0
    assert hypervolume([Point(0.0, 0.0), Point(-0.3, -0.2), Point(0.9, 1.0), Point(0.9, 1.2)]) == 0


def test_a_model_better_than_its_base_on_general_suites_counts_for_more_than_its_gain() -> None:
    assert hypervolume([Point(0.5, -0.1)]) == pytest.approx(0.5 * 1.1)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.builds(Point, st.floats(-0.5, 1, width=32), st.floats(-0.5, 1.5, width=32)), max_size=12
    )
)
def test_any_points_have_the_area_that_moocore_computes(points: list[Point]) -> None:
    found = hypervolume(points)
    losses = [[-p.gain, p.forgetting] for p in points] or [[0.0, 1.0]]
    assert found == pytest.approx(moocore.hypervolume(losses, ref=[0.0, 1.0]), abs=1e-12)


def test_a_front_keeps_what_is_not_dominated_by_falling_gain() -> None:
    points = {
        "careful": Point(0.3, 0.0),
        "dominated": Point(0.3, 0.1),
        "middle": Point(0.5, 0.2),
        "same as middle": Point(0.5, 0.2),
        "greedy": Point(0.8, 0.6),
        "worse than greedy": Point(0.7, 0.6),
    }
    assert front(points) == ["greedy", "middle", "careful"]
