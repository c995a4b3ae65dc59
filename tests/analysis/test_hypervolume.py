"""Hypervolumes against counted cells, published examples and known integrals; the fixed corner."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keepgain.analysis.hypervolume import hypervolume, reference_point
from keepgain.analysis.objectives import Objective
from keepgain.core.errors import UserError
from keepgain.core.record import ModelInfo, Question

SMALL = (ModelInfo(name="s", digest="s", parameters=1000),)


def columns(*directions: str) -> tuple[Objective, ...]:
    return tuple(Objective(f"o{n}", d, "share", 1) for n, d in enumerate(directions))


def volume(points: object, corner: float, *directions: str) -> float:
    named = columns(*directions)
    reference = {c.name: corner for c in named}
    return hypervolume(np.asarray(points, dtype=float), named, reference).value


def cells(points: np.ndarray, corner: int) -> int:
    """Unit cells below the corner that some point dominates; all objectives to be low."""
    lows = itertools.product(range(corner), repeat=points.shape[1])
    return sum(bool((points <= np.array(low)).all(axis=1).any()) for low in lows)


@settings(max_examples=60, deadline=None)
@given(st.data())
@pytest.mark.fault("N6")
def test_volumes_equal_counted_cells_with_ties_and_duplicates(data: st.DataObject) -> None:
    k = data.draw(st.integers(2, 4))
    rows = st.lists(st.tuples(*[st.integers(0, 5)] * k), min_size=1, max_size=8)
    points = np.array(data.draw(rows), dtype=float)
    expected = cells(points, 4)
    assert volume(points, 4, *["minimize"] * k) == pytest.approx(expected, abs=1e-9)
    # A turned objective is the same set seen from the other side.
    turned = points.copy()
    turned[:, 0] = 4 - turned[:, 0]
    named = columns("maximize", *["minimize"] * (k - 1))
    reference = {"o0": 0.0} | {f"o{n}": 4.0 for n in range(1, k)}
    found = hypervolume(turned, named, reference)
    assert found.value == pytest.approx(expected, abs=1e-9)
    assert found.beyond == int((points > 4).any(axis=1).sum())


def test_volumes_of_the_documented_example_of_moocore() -> None:
    """The manual of moocore 0.3, `hypervolume`: 38 and 39."""
    points = [[5, 5], [4, 6], [2, 7], [7, 4]]
    assert volume(points, 10, "minimize", "minimize") == 38
    assert volume(points, 0, "maximize", "maximize") == 39


def test_volume_of_zdt1_tends_to_two_thirds() -> None:
    """f2 = 1 - sqrt(f1) (Zitzler, Deb & Thiele 2000): the integral of sqrt(x) over [0, 1]."""
    x = np.linspace(0, 1, 20001)
    found = volume(np.column_stack([x, 1 - np.sqrt(x)]), 1, "minimize", "minimize")
    assert 2 / 3 - 1e-4 < found < 2 / 3


@pytest.mark.parametrize(
    ("corner", "expected"), [(1.0, 1 - math.pi / 6), (1.1, 1.331 - math.pi / 6)]
)
def test_volume_of_dtlz2_tends_to_the_cube_without_an_eighth_of_a_ball(
    corner: float, expected: float
) -> None:
    """The unit sphere's first octant (Deb et al. 2002): its ball has the volume pi / 6 there."""
    one, two = np.meshgrid(*[np.linspace(0, np.pi / 2, 150)] * 2)
    points = np.stack([np.cos(one) * np.cos(two), np.cos(one) * np.sin(two), np.sin(one)], -1)
    found = volume(points.reshape(-1, 3), corner, *["minimize"] * 3)
    assert expected - 0.03 < found < expected


def test_a_cost_counts_in_powers_of_ten() -> None:
    named = (Objective("gain", "maximize", "share", 1), Objective("parameters", "minimize", "", 1))
    found = hypervolume(np.array([[0.5, 1e6]]), named, {"gain": 0.0, "parameters": 1e9})
    assert found.value == pytest.approx(0.5 * 3)
    with pytest.raises(UserError, match=r"reference_point.parameters"):
        hypervolume(np.array([[0.5, 1e6]]), named, {"gain": 0.0, "parameters": 0.0})


def test_what_is_beyond_the_reference_covers_nothing_and_is_counted() -> None:
    named = columns("maximize", "minimize")
    reference = {"o0": 0.0, "o1": 1.0}
    points = np.array([[0.5, 0.5], [0.9, 1.2], [-0.1, 0.1], [0.0, 1.0]])
    found = hypervolume(points, named, reference)
    assert (found.value, found.beyond) == (pytest.approx(0.25), 2)
    assert hypervolume(np.empty((0, 2)), named, reference).value == 0


def test_the_corner_is_the_specs_or_fixed_by_rule_and_never_the_datas() -> None:
    gain = Objective("gain", "maximize", "share of items", 1)
    forgetting = Objective("forgetting", "minimize", "share of items", 1)
    size = Objective("parameters", "minimize", "parameters", 1)
    price = Objective("usd", "minimize", "USD", 1)
    bits = Objective("task_score", "minimize", "bits/byte", 1)
    rule = reference_point((gain, forgetting, size), Question(), SMALL)
    assert rule == {"gain": 0.0, "forgetting": 1.0, "parameters": pytest.approx(1050)}
    named = Question(max_forgetting=3.0, reference_point={"gain": 0.1, "usd": 5.0})
    assert reference_point((gain, forgetting, price), named, SMALL) == {
        "gain": 0.1,
        "forgetting": 3.0,
        "usd": 5.0,
    }
    assert reference_point((gain, price), Question(), SMALL) is None
    assert reference_point((bits,), Question(), SMALL) is None
