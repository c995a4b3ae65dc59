"""Agreement of people (or models) who gave values to the same units."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Level = Literal["ordinal", "interval"]
"""What the distance of two values goes by: how many values lie between, or their difference."""


@dataclass(frozen=True)
class Agreement:
    """Krippendorff's alpha."""

    alpha: float
    """1: all agree; 0: as chance would; below 0: less than chance would."""
    units: int
    """Units with two or more values: only these tell."""
    values: int
    """Values of these units."""


def krippendorff_alpha(units: Ints, values: Ints) -> Agreement | None:
    """Nominal alpha of ratings in long form; any number of raters, any of them missing.

    ``alpha = 1 - D_o / D_e`` with ``D_o = 1/n sum_u sum_(c != k) n_uc n_uk / (m_u - 1)`` and
    ``D_e = sum_(c != k) n_c n_k / (n (n - 1))``, over the units with m_u >= 2 values, n values in
    all (Krippendorff, Computing Krippendorff's Alpha-Reliability, 2011).

    Args:
        units: Which unit each rating is of, from 0; of shape [ratings].
        values: What was given, from 0; of shape [ratings].

    Returns:
        None where nothing can be said: no unit has two values, or only one value was ever given.
    """
    of_unit = np.bincount(units) if len(units) else np.zeros(0, dtype=np.int64)
    told = of_unit[units] >= 2
    units, values = units[told], values[told]
    n = len(values)
    totals = np.bincount(values) if n else np.zeros(0, dtype=np.int64)
    if np.count_nonzero(totals) < 2:
        return None
    cells, counts = np.unique(np.stack([units, values]), axis=1, return_counts=True)
    rated = of_unit[cells[0]]
    # sum over c != k of n_uc n_uk = sum over c of n_uc (m_u - n_uc)
    observed = float((counts * (rated - counts) / (rated - 1)).sum()) / n
    expected = float((totals * (n - totals)).sum()) / (n * (n - 1))
    return Agreement(1 - observed / expected, int(np.count_nonzero(of_unit >= 2)), n)


def krippendorff_alpha_of_scale(units: Ints, values: Ints, level: Level) -> Agreement | None:
    """Alpha of ratings on a scale, in long form: a near value disagrees less than a far one.

    As `krippendorff_alpha`, with each pair of values c, k counted ``delta(c, k)`` times: interval
    ``(c - k)^2``; ordinal ``(sum_(g=c..k) n_g - (n_c + n_k) / 2)^2``.

    Args:
        units: Which unit each rating is of, from 0; of shape [ratings].
        values: Steps of the scale, from 0; of shape [ratings].
        level: The distance.

    Returns:
        None as of `krippendorff_alpha`.
    """
    of_unit = np.bincount(units) if len(units) else np.zeros(0, dtype=np.int64)
    told = of_unit[units] >= 2
    units, values = units[told], values[told]
    n = len(values)
    totals = np.bincount(values) if n else np.zeros(0, dtype=np.int64)
    if np.count_nonzero(totals) < 2:
        return None
    table = np.zeros((len(of_unit), len(totals)))
    np.add.at(table, (units, values), 1.0)
    table = table[of_unit >= 2]
    share = 1.0 / (table.sum(axis=1) - 1)
    # Values that meet in a unit; a value does not meet itself, which has distance 0 anyway.
    met = (table * share[:, None]).T @ table
    steps = np.arange(len(totals), dtype=np.float64)
    place = np.cumsum(totals) - totals / 2 if level == "ordinal" else steps
    distance = (place[:, None] - place[None, :]) ** 2
    observed = float((met * distance).sum()) / n
    expected = float((np.outer(totals, totals) * distance).sum()) / (n * (n - 1))
    return Agreement(1 - observed / expected, len(table), n)
