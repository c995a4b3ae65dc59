"""Adjusted P values by hand, and against statsmodels."""

import numpy as np
import pytest

from keepgain.core.multiplicity import benjamini_hochberg, holm

BY_HAND = [0.01, 0.04, 0.03, 0.005]


def test_holm_by_hand() -> None:
    # Sorted .005 .01 .03 .04 times 4 3 2 1 = .02 .03 .06 .04, then never falling.
    assert holm(BY_HAND) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_benjamini_hochberg_by_hand() -> None:
    # Sorted .005 .01 .03 .04 times 4/1 4/2 4/3 4/4 = .02 .02 .04 .04.
    assert benjamini_hochberg(BY_HAND) == pytest.approx([0.02, 0.04, 0.04, 0.02])


def test_never_above_one_and_nothing_of_nothing() -> None:
    assert holm([0.9, 0.8]).tolist() == [1.0, 1.0]
    assert benjamini_hochberg([]).tolist() == [] == holm([]).tolist()


def test_as_statsmodels() -> None:
    from statsmodels.stats.multitest import multipletests

    rng = np.random.default_rng(0)
    for size in (1, 2, 7, 40):
        p = np.round(rng.uniform(0, 0.3, size) ** 2, 3)  # with ties and zeros
        for ours, name in ((holm, "holm"), (benjamini_hochberg, "fdr_bh")):
            assert ours(p) == pytest.approx(multipletests(p, method=name)[1])
