"""Agreement of raters."""

import numpy as np
import pytest

from keepgain.core.agreement import krippendorff_alpha


def test_alpha_by_hand() -> None:
    """Two raters on four units: 00, 11, 01, 00. D_o = 2/8; of 8 values 5 are 0 and 3 are 1, so
    D_e = 2*5*3/(8*7) = 30/56 and alpha = 1 - 14/30."""
    found = krippendorff_alpha(np.repeat(np.arange(4), 2), np.array([0, 0, 1, 1, 0, 1, 0, 0]))
    assert found is not None
    assert found.alpha == pytest.approx(1 - 14 / 30)
    assert (found.units, found.values) == (4, 8)


def test_alpha_of_krippendorffs_own_example_with_missing_values() -> None:
    """Four observers, twelve units, of Computing Krippendorff's Alpha-Reliability (2011), part C:
    nominal alpha .743."""
    table = """1 2 3 3 2 1 4 1 2 . . .
               1 2 3 3 2 2 4 1 2 5 . 3
               . 3 3 3 2 3 4 2 2 5 1 .
               1 2 3 3 2 4 4 1 2 5 1 ."""
    cells = [
        (unit, int(value))
        for line in table.splitlines()
        for unit, value in enumerate(line.split())
        if value != "."
    ]
    found = krippendorff_alpha(*np.array(cells, dtype=np.int64).T)
    assert found is not None
    assert found.alpha == pytest.approx(0.743, abs=0.0005)
    assert (found.units, found.values) == (11, 40)


def test_nothing_is_said_without_two_values_of_a_unit_or_of_one_value_alone() -> None:
    assert krippendorff_alpha(np.array([0, 1, 2]), np.array([0, 1, 0])) is None
    assert krippendorff_alpha(np.array([0, 0, 1, 1]), np.array([3, 3, 3, 3])) is None
    assert krippendorff_alpha(np.zeros(0, np.int64), np.zeros(0, np.int64)) is None
