"""P values adjusted for how many questions were asked.

Few contrasts that were declared beforehand: Holm (Scandinavian Journal of Statistics 6, 1979),
which bounds the chance of any false claim. All trials against their bases: Benjamini and Hochberg
(JRSS B 57, 1995), which bounds the expected share of false claims; it holds under the positive
dependence that shared items give (Benjamini & Yekutieli, Annals of Statistics 29, 2001).

Written out here, since importing statsmodels takes longer than a whole `analyze`; the tests hold
both against it.
"""

from collections.abc import Sequence

import numpy as np

from keepgain.core.items import Floats


def holm(p_values: Sequence[float]) -> Floats:
    """Adjusted P values, in the given order: a claim is made at level a if its value is <= a.

    The i-th smallest of m becomes ``max over j <= i of (m - j + 1) p_(j)``, at most 1.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return _in_order(stepped, order)


def benjamini_hochberg(p_values: Sequence[float]) -> Floats:
    """Adjusted P values, in the given order: claims with a value <= q have a false share <= q.

    The i-th smallest of m becomes ``min over j >= i of m / j p_(j)``, at most 1.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    scaled = p[order] * len(p) / np.arange(1, len(p) + 1)
    return _in_order(np.minimum.accumulate(scaled[::-1])[::-1], order)


def _in_order(adjusted: Floats, order: np.ndarray) -> Floats:
    found = np.empty_like(adjusted)
    found[order] = np.minimum(adjusted, 1.0)
    return found
