"""How far a judge model agrees with people who judged the same answers.

Scores: Krippendorff's alpha for numbers, here of two raters with nothing missing,
``1 - mean (a - b)² / 2 s²`` with s² the variance of all 2n values (Krippendorff, *Content
Analysis*, 2004, ch. 11); its interval is a percentile bootstrap over items. Pairs: the share of
the same preference (first, second or a tie), with Wilson's interval over items.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keepgain.analysis.draws import SEED
from keepgain.analysis.stats import CONFIDENCE
from keepgain.analysis.table import Codes
from keepgain.core.items import Floats
from keepgain.core.judged import Labelled, Of
from keepgain.core.proportions import wilson

DRAWS = 2000


@dataclass(frozen=True)
class Agreement:
    """Of the judge with people."""

    of: Of
    value: float
    """Krippendorff's alpha of scores; share of the same preference of pairs."""
    low: float
    high: float
    """95 %."""
    labels: int
    """That both have judged."""
    items: int
    """Different items of these: what the interval counts."""

    @property
    def name(self) -> str:
        """Of the statistic."""
        return "alpha" if self.of == "scores" else "same preference"


def agreement(labelled: Sequence[Labelled], of: Of) -> Agreement | None:
    """How far the judge agrees with people; None where nothing can be said.

    That is with fewer than two items, and for scores where only one was ever given. Labels that the
    judge gave no readable reply to are left out.
    """
    both = [x for x in labelled if x.of == of and x.judge is not None]
    items = np.unique([x.item for x in both], return_inverse=True)[1].astype(np.int64)
    n = int(items.max()) + 1 if len(items) else 0
    if n < 2:
        return None
    people = np.array([x.people for x in both])
    judge = np.array([x.judge for x in both], dtype=np.float64)
    if of == "pairs":
        value = float(np.mean(people == judge))
        return Agreement(of, value, *wilson(value * n, n), len(both), n)
    alpha = interval_alpha(people, judge)
    if alpha is None:
        return None
    return Agreement(of, alpha, *_alpha_interval(people, judge, items, alpha), len(both), n)


def interval_alpha(first: Floats, second: Floats) -> float | None:
    """Krippendorff's alpha of two raters' numbers, shape [n] each; None if all are one number."""
    spread = float(np.var(np.concatenate([first, second]), ddof=1))
    return None if spread == 0 else float(1 - np.mean((first - second) ** 2) / (2 * spread))


def _alpha_interval(
    first: Floats, second: Floats, items: Codes, value: float
) -> tuple[float, float]:
    """Draws of items with all their labels. Where nobody ever differed, the low end is that of a
    share: one label in so many may differ by as much as chance would have it."""
    n, tail = int(items.max()) + 1, (1 - CONFIDENCE) / 2
    if value == 1:
        return tail ** (1 / n), 1.0
    of_label = (
        np.full(len(items), 2.0),
        (first - second) ** 2,
        first + second,
        first**2 + second**2,
    )
    sums = np.stack([np.bincount(items, weights=w) for w in of_label], axis=1)
    drawn = np.random.default_rng(SEED).multinomial(n, np.full(n, 1 / n), size=DRAWS) @ sums
    values, squares, total, raw = drawn.T
    spread = (raw - total**2 / values) / (values - 1)
    alphas = 1 - squares / (values / 2) / (2 * np.where(spread > 1e-12, spread, np.nan))
    low, high = (float(q) for q in np.nanquantile(alphas, (tail, 1 - tail)))
    return low, high
