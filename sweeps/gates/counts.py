"""Statistics of counts: intervals of shares, and tables of two categories."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from keepgain.core.multiplicity import holm
from keepgain.core.proportions import Z_95 as Z_95
from keepgain.core.proportions import difference_interval as difference_interval
from keepgain.core.proportions import wilson as wilson
from keepgain.sweeps.gates.columns import Column

Table = npt.NDArray[np.int64]
MAX_CELLS = 200_000
"""Tables with more cells are of columns that group nothing."""


@dataclass(frozen=True)
class Cell:
    """A cell of a table that chance does not explain."""

    row: int
    column: int
    count: int
    share: float
    """Of its row."""
    elsewhere: float
    """Share of this column in the other rows."""

    @property
    def difference(self) -> float:
        """Of the two shares."""
        return self.share - self.elsewhere


def half_width(n: int) -> float:
    """Of the widest Wilson interval that n items can give: that of one half."""
    low, high = wilson(n / 2, n)
    return (high - low) / 2


def crosstab(rows: Column, columns: Column) -> Table:
    """Counts of shape [values of `rows`, values of `columns`]; what lacks one is left out."""
    both = (rows.codes >= 0) & (columns.codes >= 0)
    width = len(columns.values)
    flat = rows.codes[both].astype(np.int64) * width + columns.codes[both]
    return np.bincount(flat, minlength=len(rows.values) * width).reshape(-1, width)


def counts(column: Column) -> Table:
    """Rows of each value, of shape [values]."""
    return np.bincount(column.codes[column.codes >= 0], minlength=len(column.values))


def chi_squared(table: Table) -> tuple[float, int]:
    """Pearson's statistic and its degrees of freedom; empty rows and columns do not count."""
    table = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
    if min(table.shape, default=0) < 2:
        return 0.0, 0
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    return float(((table - expected) ** 2 / expected).sum()), math.prod(s - 1 for s in table.shape)


def chi_squared_p(table: Table) -> float:
    """P value of no association; 1 where there is nothing to compare."""
    from scipy.stats import chi2

    statistic, freedom = chi_squared(table)
    return float(chi2.sf(statistic, freedom)) if freedom else 1.0


def cramers_v(table: Table) -> float:
    """Cramér's V without its bias upwards (Bergsma, J. Korean Stat. Soc. 42, 2013); 0 to 1."""
    statistic, freedom = chi_squared(table)
    n = int(table.sum())
    if not freedom or n < 2:
        return 0.0
    rows, columns = (int((table.sum(axis=a) > 0).sum()) for a in (1, 0))
    phi = max(0.0, statistic / n - freedom / (n - 1))
    shrunk = [k - (k - 1) ** 2 / (n - 1) for k in (rows, columns)]
    return math.sqrt(phi / (min(shrunk) - 1)) if min(shrunk) > 1 else 0.0


def odd_cells(table: Table, level: float, difference: float) -> list[Cell]:
    """Cells that hold more or fewer than the other rows would lead to expect, largest first.

    Each cell is tested exactly (hypergeometric, given row and column totals, both sides), since
    small cells are what matters here; Holm over all cells keeps the chance of any false one below
    `level`. Cells off by less than `difference` in their share of the row are left out: in many
    rows everything is significant.
    """
    from scipy.stats import hypergeom

    of_row, of_column, n = table.sum(axis=1), table.sum(axis=0), int(table.sum())
    if not n or table.size > MAX_CELLS:
        return []
    rows, columns = np.meshgrid(*(np.arange(s) for s in table.shape), indexing="ij")
    kept = (of_row[rows] > 0) & (of_column[columns] > 0) & (of_row[rows] < n)
    rows, columns = rows[kept], columns[kept]
    if not len(rows):
        return []
    found, a, b = table[rows, columns], of_row[rows], of_column[columns]
    low, high = hypergeom.cdf(found, n, b, a), hypergeom.sf(found - 1, n, b, a)
    adjusted = holm(np.minimum(1.0, 2 * np.minimum(low, high)).tolist())
    cells = [
        Cell(int(i), int(j), int(k), float(k / in_row), float((in_column - k) / (n - in_row)))
        for i, j, k, in_row, in_column, p in zip(rows, columns, found, a, b, adjusted, strict=True)
        if p < level
    ]
    odd = [c for c in cells if abs(c.difference) >= difference]
    return sorted(odd, key=lambda c: -abs(c.difference))


def odd_rows(table: Table, level: float, difference: float) -> list[Cell]:
    """The oddest cell of each row that does not fit the others, the oddest row first.

    A row that is found is left out before the others are compared, or each would be odd beside it.
    """
    table, found = table.copy(), []
    while cells := odd_cells(table, level, difference):
        found.append(cells[0])
        table[cells[0].row] = 0
    return found


def total_variation(a: Table, b: Table) -> float:
    """Distance of two distributions over the same cells, 0 to 1: half the sum of differences of
    their shares."""
    return float(np.abs(a / max(1, a.sum()) - b / max(1, b.sum())).sum() / 2)


def effective_number(of_value: Table) -> float:
    """Values that would be as diverse if they were equally frequent: exp of the entropy."""
    p = of_value[of_value > 0] / of_value.sum()
    return float(np.exp(-(p * np.log(p)).sum()))
