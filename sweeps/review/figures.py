"""What a review says: win rate, rubric, agreement of raters, and of the scorer with people.

An item counts with its sampling weight, and its value is the mean over raters: the interval is over
items, for these raters. The variance is that of a weighted mean, linearised and by clusters
(`analysis.stats.mean_variance`). It is the one for draws with replacement, which holds what the
strata differ by and no finite population correction, so that the figures speak of items like these
and the interval is a little too wide rather than too narrow. Degrees of freedom: draws asked about,
less 1; items that both answered alike are known ties and count as such.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from keepgain.analysis.stats import CONFIDENCE, Block, combine, mean_variance
from keepgain.core.agreement import Ints, krippendorff_alpha, krippendorff_alpha_of_scale
from keepgain.core.items import Floats
from keepgain.core.review_record import (
    EVEN,
    Prefers,
    Rating,
    ReviewFigure,
    ReviewRecord,
    ReviewRubric,
)
from keepgain.sweeps.review.bundle import Key
from keepgain.sweeps.review.ratings import HIGH, LOW, Rated

_CODES: Mapping[Prefers, int] = {"b": 0, "tie": 1, "a": 2}
_NOTHING = 1e-18
"""Of a variance: what is left of 0 by rounding."""


@dataclass(frozen=True)
class Reviewed:
    """A review, with what only its sender sees."""

    record: ReviewRecord
    raters: tuple[str, ...]
    """Names, in the order of `record.by_rater`."""
    disputed: tuple[tuple[str, tuple[Prefers, ...]], ...]
    """`SUITE/ITEM` and what each rater prefers, where they differ: opposite ones first."""


def review(key: Key, rated: Sequence[Rated]) -> Reviewed:
    """All figures of a review.

    Args:
        key: Of the page.
        rated: Every item once by every rater, as `read_ratings` gives them.
    """
    raters = tuple(dict.fromkeys(r.rater for r in rated))
    ids = list(key.items)
    by_place = {(r.rater, r.item): r for r in rated}
    table = [[by_place[rater, item] for rater in raters] for item in ids]
    values = np.array([[one.value for one in row] for row in table])
    items = _Items.on_page(key)
    disputed = [
        (f"{key.items[i].suite}/{key.items[i].item}", tuple(one.prefers for one in row))
        for i, row in zip(ids, table, strict=True)
        if len({one.prefers for one in row}) > 1
    ]
    record = ReviewRecord(
        export=key.export,
        split=key.split,
        suites=key.suites,
        a=key.a,
        b=key.b,
        a_run=key.a_run,
        b_run=key.b_run,
        items=len(ids),
        identical=key.identical,
        of=key.of,
        raters=len(raters),
        win_rate=items.win_rate(values.mean(axis=1)),
        ties=float(items.weights @ (values == EVEN).mean(axis=1)) + key.identical / key.of,
        by_rater=tuple(items.win_rate(column) for column in values.T),
        alpha=_alpha_of_preferences(table),
        disputed=len(disputed),
        rubric={name: _rubric(name, table, items) for name in key.rubric},
        metric_agreement=_metric_agreement(key, values.mean(axis=1), items),
        ratings=tuple(
            Rating(
                rater=n,
                suite=key.items[i].suite,
                item=key.items[i].item,
                prefers=one.prefers,
                a=one.a,
                b=one.b,
            )
            for i, row in zip(ids, table, strict=True)
            for n, one in enumerate(row, start=1)
        ),
    )
    disputed.sort(key=lambda d: (not {"a", "b"} <= set(d[1]), d[0]))
    return Reviewed(record, raters, tuple(disputed))


@dataclass(frozen=True)
class _Items:
    """Of those that people were asked about, arrays of shape [n]."""

    weights: Floats
    """Share of all items that each stands for."""
    clusters: tuple[str, ...]
    """Draw that each belongs to: an item without a cluster is its own."""
    identical: int
    of: int
    identical_clusters: tuple[str, ...]

    @staticmethod
    def on_page(key: Key) -> "_Items":
        return _Items(
            weights=np.array([item.weight for item in key.items.values()], dtype=np.float64),
            clusters=tuple(
                f"i:{name}" if item.cluster is None else f"c:{item.cluster}"
                for name, item in key.items.items()
            ),
            identical=key.identical,
            of=key.of,
            identical_clusters=tuple(f"c:{name}" for name in key.identical_clusters),
        )

    def win_rate(self, values: Floats) -> ReviewFigure:
        """Over all items, those that both answered alike as ties."""
        return self._figure(values, (0.0, 1.0), ties=self.identical)

    def mean(
        self, values: Floats, ends: tuple[float, float], only: npt.NDArray[np.bool_] | None = None
    ) -> ReviewFigure:
        """Over the items asked about, or some of them.

        Args:
            values: Shape [n].
            ends: The range that a value may have.
            only: Shape [n]; at least one is True.
        """
        if only is None:
            return self._figure(values, ends)
        clusters = tuple(c for c, kept in zip(self.clusters, only, strict=True) if kept)
        some = replace(self, weights=self.weights[only], clusters=clusters)
        return some._figure(values[only], ends)

    def _figure(self, values: Floats, ends: tuple[float, float], ties: int = 0) -> ReviewFigure:
        weights = np.append(self.weights, np.full(ties, 1 / self.of))
        every = np.append(values, np.full(ties, EVEN))
        own = [f"t:{n}" for n in range(ties)]
        if ties:  # those with a cluster are drawn with it
            own[: len(self.identical_clusters)] = self.identical_clusters
        codes = np.unique([*self.clusters, *own], return_inverse=True)[1].astype(np.int64)
        draws = len(set(self.clusters))
        found = combine([Block(every[:, None], weights, codes)], [], 1)
        terms = ((found.item_variance, max(1.0, draws - 1.0)),)
        estimate = replace(found, terms=terms).estimate()
        low, high = estimate.low, estimate.high
        if self._are_alike(values):
            mean = float(self.weights @ values / self.weights.sum())
            low, high = (self._alike(mean, end, draws, ties) for end in ends)
        elif draws == 1:
            low = high = None  # of what draws differ by, one says nothing
        return ReviewFigure(
            value=found.value,
            low=None if low is None else max(low, ends[0]),
            high=None if high is None else min(high, ends[1]),
            items=len(values),
        )

    def _are_alike(self, values: Floats) -> bool:
        """All draws have one value: they differ by nothing, and an interval would have no width."""
        codes = np.unique(self.clusters, return_inverse=True)[1].astype(np.int64)
        return bool(np.ptp(values) == 0) or mean_variance(values, self.weights, codes) < _NOTHING

    def _alike(self, v: float, end: float, draws: int, ties: int) -> float:
        """The bound where all that was seen is one value v: the share of other values is at most
        ``q = 1 - (alpha/2)^(1/n)`` (Clopper & Pearson, Biometrika 26, 1934), each as far away as
        the end of the range is."""
        q = 1 - ((1 - CONFIDENCE) / 2) ** (1 / draws)
        share = 1 - ties / self.of
        return share * (v + q * (end - v)) + (1 - share) * EVEN


def _alpha_of_preferences(table: Sequence[Sequence[Rated]]) -> float | None:
    units, codes = _long([[_CODES[one.prefers] for one in row] for row in table])
    found = krippendorff_alpha(units, codes)
    return None if found is None else found.alpha


def _rubric(name: str, table: Sequence[Sequence[Rated]], items: _Items) -> ReviewRubric:
    a = np.array([[one.a[name] for one in row] for row in table], dtype=np.float64)
    b = np.array([[one.b[name] for one in row] for row in table], dtype=np.float64)
    units, codes = _long([*(a - LOW).astype(int).tolist(), *(b - LOW).astype(int).tolist()])
    agreed = krippendorff_alpha_of_scale(units, codes, "ordinal")
    total = items.weights.sum()
    reach = float(HIGH - LOW)
    return ReviewRubric(
        a=float(items.weights @ a.mean(axis=1) / total),
        b=float(items.weights @ b.mean(axis=1) / total),
        difference=items.mean((a - b).mean(axis=1), (-reach, reach)),
        alpha=None if agreed is None else agreed.alpha,
    )


def _long(rows: Sequence[Sequence[int]]) -> tuple[Ints, Ints]:
    """Units and values of a table with a unit a row."""
    units = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    return units.astype(np.int64), np.array([v for row in rows for v in row], dtype=np.int64)


def _metric_agreement(key: Key, values: Floats, items: _Items) -> ReviewFigure | None:
    leads = np.array([item.lead for item in key.items.values()])
    told = (leads != 0) & (values != EVEN)
    if not told.any():
        return None
    agree = ((values > EVEN) == (leads > 0)).astype(np.float64)
    return items.mean(agree, (0.0, 1.0), told)
