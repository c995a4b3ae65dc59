"""Agreement of raters."""

import numpy as np
import pytest

from keepgain.core.agreement import Ints, Level, krippendorff_alpha, krippendorff_alpha_of_scale

OBSERVERS = """1 2 3 3 2 1 4 1 2 . . .
               1 2 3 3 2 2 4 1 2 5 . 3
               . 3 3 3 2 3 4 2 2 5 1 .
               1 2 3 3 2 4 4 1 2 5 1 ."""
"""Four observers, twelve units, of Computing Krippendorff's Alpha-Reliability (2011), part C."""


def observed() -> tuple[Ints, Ints]:
    """Units and values."""
    cells = [
        (unit, int(value))
        for line in OBSERVERS.splitlines()
        for unit, value in enumerate(line.split())
        if value != "."
    ]
    units, values = np.array(cells, dtype=np.int64).T
    return units, values


def test_alpha_by_hand() -> None:
    """Two raters on four units: 00, 11, 01, 00. D_o = 2/8; of 8 values 5 are 0 and 3 are 1, so
    D_e = 2*5*3/(8*7) = 30/56 and alpha = 1 - 14/30."""
    found = krippendorff_alpha(np.repeat(np.arange(4), 2), np.array([0, 0, 1, 1, 0, 1, 0, 0]))
    assert found is not None
    assert found.alpha == pytest.approx(1 - 14 / 30)
    assert (found.units, found.values) == (4, 8)


def test_alpha_of_krippendorffs_own_example_with_missing_values() -> None:
    """Nominal alpha .743; .7434211 by the library `krippendorff` 0.9.0."""
    found = krippendorff_alpha(*observed())
    assert found is not None
    assert found.alpha == pytest.approx(0.743421052631579)
    assert (found.units, found.values) == (11, 40)


def test_nothing_is_said_without_two_values_of_a_unit_or_of_one_value_alone() -> None:
    assert krippendorff_alpha(np.array([0, 1, 2]), np.array([0, 1, 0])) is None
    assert krippendorff_alpha(np.array([0, 0, 1, 1]), np.array([3, 3, 3, 3])) is None
    assert krippendorff_alpha(np.zeros(0, np.int64), np.zeros(0, np.int64)) is None


@pytest.mark.parametrize(
    ("level", "published", "library"),
    [("ordinal", 0.815, 0.8153875037548814), ("interval", 0.849, 0.8491071428571428)],
)
def test_alpha_of_the_same_example_on_a_scale(
    level: Level, published: float, library: float
) -> None:
    """As published, and by the library `krippendorff` 0.9.0 (GPL, and so no part of us)."""
    found = krippendorff_alpha_of_scale(*observed(), level)
    assert found is not None
    assert found.alpha == pytest.approx(published, abs=0.0005)
    assert found.alpha == pytest.approx(library)
    assert (found.units, found.values) == (11, 40)


def test_alpha_on_a_scale_by_hand() -> None:
    """Two raters on three units: 00, 02, 11. Totals 3, 2, 1 of n = 6.

    Interval: the one disagreement has distance 4, twice, so D_o = 8/6; D_e = 2 (3*2*1 + 3*1*4 +
    2*1*1) / 30 = 40/30. Ordinal distances: 0-1 (3/2 + 2/2)^2 = 6.25, 0-2 (3/2 + 2 + 1/2)^2 = 16,
    1-2 (2/2 + 1/2)^2 = 2.25: D_o = 32/6, D_e = 2 (37.5 + 48 + 4.5) / 30 = 6.
    """
    units, values = np.repeat(np.arange(3), 2), np.array([0, 0, 0, 2, 1, 1])
    interval = krippendorff_alpha_of_scale(units, values, "interval")
    ordinal = krippendorff_alpha_of_scale(units, values, "ordinal")
    assert interval is not None and ordinal is not None
    assert interval.alpha == pytest.approx(0.0)
    assert ordinal.alpha == pytest.approx(1 - 32 / 36)
    assert krippendorff_alpha_of_scale(np.array([0, 1]), np.array([0, 1]), "ordinal") is None
