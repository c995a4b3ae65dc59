"""Ways to choose one point: limits by their bounds, weights with their ranges, knee and price."""

import numpy as np
import pytest

from keepgain.analysis.choosing import by_limits, by_weights, knee, trades
from keepgain.analysis.fronts import Front, front_of
from keepgain.analysis.objectives import Objective
from keepgain.analysis.points import Points, of_arrays

GAIN = Objective("gain", "maximize", "share", 1)
LOSS = Objective("loss", "minimize", "share", 1)
USD = Objective("usd", "minimize", "USD", 1)


def points(rows: dict[str, tuple[float, ...]], *named: Objective, error: float = 0.0) -> Points:
    values = np.array(list(rows.values()), dtype=float)
    errors = np.full(values.shape, error)
    return of_arrays(list(rows), named or (GAIN, LOSS), values, standard_errors=errors)


def front(rows: dict[str, tuple[float, ...]], *named: Objective, error: float = 0.0) -> Front:
    return front_of(points(rows, *named, error=error), draws=0)


ROWS = {"mild": (0.5, 0.10), "middle": (0.7, 0.18), "wild": (0.9, 0.40), "poor": (0.4, 0.30)}


def test_a_limit_counts_by_its_bound_and_not_by_the_figure() -> None:
    assert by_limits(front(ROWS), {"loss": 0.2}) == "middle"
    # With a standard error of .02 the bound of .18 is .213.
    assert by_limits(front(ROWS, error=0.02), {"loss": 0.2}) == "mild"
    assert by_limits(front(ROWS, error=0.02), {"loss": 0.22}) == "middle"
    assert by_limits(front(ROWS), {"loss": 0.05}) is None
    assert by_limits(front(ROWS), {"loss": 0.5, "gain": 0.8}) == "wild"


def test_unknown_uncertainty_chooses_nothing() -> None:
    assert by_limits(front(ROWS, error=np.nan), {"loss": 0.5}) is None


def test_weights_choose_and_say_how_far_each_may_move() -> None:
    found = by_weights(front(ROWS), {"gain": 1.0, "loss": 2.0})
    assert found is not None and found.row == "middle"  # .34 against .30 and .10
    gain, loss = found.ranges
    # mild ahead: .5 g - .2 >= .7 g - .36, g <= .8; wild: .9 g - .8 >= .7 g - .36, g >= 2.2.
    assert (gain.low, gain.high) == pytest.approx((0.8, 2.2))
    assert (loss.low, loss.high) == pytest.approx((0.2 / 0.22, 0.2 / 0.08))


def test_beyond_its_range_a_weight_chooses_another() -> None:
    for weight, row in ((0.79, "mild"), (0.81, "middle"), (2.19, "middle"), (2.21, "wild")):
        found = by_weights(front(ROWS), {"gain": weight, "loss": 2.0})
        assert found is not None and found.row == row


def test_the_knee_bulges_most_and_a_straight_front_has_none() -> None:
    assert knee(front(ROWS)) == "middle"
    straight = {"a": (0.2, 0.1), "b": (0.4, 0.2), "c": (0.6, 0.3)}
    assert knee(front(straight)) is None
    assert knee(front({"a": (0.2, 0.1)})) is None
    corners = {"a": (1.0, 1.0, 9.0), "b": (0.1, 0.0, 9.0), "c": (0.1, 1.0, 1.0)}
    three = front(corners | {"mid": (0.8, 0.2, 3.0)}, GAIN, LOSS, USD)
    assert knee(three) == "mid"


def test_prices_are_those_of_the_upper_hull() -> None:
    # b lies below the line from a to c: at no price is it the best.
    rows = {"a": (0.5, 1.0), "b": (0.55, 4.0), "c": (0.8, 7.0), "d": (0.9, 17.0), "e": (0.7, 20.0)}
    found = trades(points(rows, GAIN, USD), "gain", "usd")
    assert [(t.cheaper, t.dearer) for t in found] == [("a", "c"), ("c", "d")]
    assert [t.price for t in found] == pytest.approx([20.0, 100.0])
    for price, best in ((19, "a"), (21, "c"), (99, "c"), (101, "d")):
        worth = {n: price * gain - usd for n, (gain, usd) in rows.items()}
        assert max(worth, key=lambda n: worth[n]) == best
