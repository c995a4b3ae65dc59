"""Figures whose terms are pairs of items of one suite: an item and its changed copy, a whole and
its parts."""

from collections.abc import Sequence
from dataclasses import dataclass

from keepgain.analysis import stats
from keepgain.analysis.behaviour.figure import Figure
from keepgain.analysis.slices import careful
from keepgain.analysis.stats import Block, Estimate
from keepgain.analysis.table import SuiteItems
from keepgain.core.items import Floats
from keepgain.core.made_items import origin_of
from keepgain.core.metrics import Direction


@dataclass(frozen=True)
class Named:
    """What a figure is called."""

    name: str
    unit: str
    direction: Direction
    note: str = ""


def members(suite: SuiteItems, field: str) -> dict[str, dict[str, int]]:
    """Name of a made item's origin → what it is there → its index.

    Args:
        suite: Whose items are called as `core.made_items` has it; others are left out.
        field: Slice that says what an item is there.
    """
    found: dict[str, dict[str, int]] = {}
    for index, what in enumerate(suite.slices[field].tolist()):
        origin = origin_of(str(suite.item_ids[index]), what)
        if what and origin is not None:
            found.setdefault(origin, {})[what] = index
    return found


def figure(
    called: Named,
    suite: SuiteItems,
    of: Sequence[int],
    tuned: Floats,
    base: Floats | None,
) -> Figure:
    """A mean over pairs of the tuned configuration and of its base, and the change, pair by pair.

    Intervals are t intervals over items and the configuration's own seeds; clusters are draws. One
    seed shows none of its variance, and the method then says that items alone are behind it.

    Args:
        called: Its name.
        suite: Of the items.
        of: Index of the item that each pair is weighted and clustered by, shape [n].
        tuned: Terms of the pairs, shape [n, S].
        base: Of the base, shape [n, 1]; None: it was not scored.
    """
    before = None if base is None else _estimate(suite, of, base)
    change = None if base is None else _estimate(suite, of, tuned - base.mean(axis=1)[:, None])
    return Figure(
        called.name,
        called.unit,
        called.direction,
        _estimate(suite, of, tuned),
        before,
        change,
        called.note,
    )


def _estimate(suite: SuiteItems, of: Sequence[int], values: Floats) -> Estimate:
    at = list(of)
    block = Block(values, suite.weights[at], suite.clusters_of(at))
    found = careful(stats.combine_own_seeds([block]))
    assert found is not None, "there are item terms"
    return found.estimate()
