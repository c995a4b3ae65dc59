"""Which items people are asked about: a stratified random sample, as large as it has to be.

Items that both answered alike are ties and are not asked about. The others are strata: what the
scorer tells apart or not, in each group. Each stratum gives items in proportion to its size, two at
least; the weight of an item, N_h / (N n_h), keeps the win rate unbiased (Horvitz & Thompson, JASA
47, 1952). Nothing is assumed of what people will prefer: sizes are for the largest variance that a
preference can have.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special

from keepgain.core.identity import derive_seed

CONFIDENCE = 0.95
POWER = 0.8
LARGEST_VARIANCE = 0.25
"""Of a preference (1, 1/2 or 0): all wins and losses, as many of each."""
LEAST = 2
"""Items of a stratum: one tells nothing of how they differ."""

Kind = Literal["same_text", "same_score", "other_score"]
OTHERS = "others"
"""Groups too small to be strata are one."""


@dataclass(frozen=True)
class Unit:
    """An item that both arms answered."""

    id: str
    group: str
    """Its group and slices as one text; empty where it has none."""
    kind: Kind
    """How far the two answers differ: not at all, but not by the scorer, or by the scorer too."""


@dataclass(frozen=True)
class Chosen:
    """An item that people are asked about."""

    id: str
    stratum: str
    weight: float
    """Share of all items that it stands for."""


@dataclass(frozen=True)
class Sample:
    """Weights of the chosen and the share of `identical` make 1."""

    chosen: tuple[Chosen, ...]
    identical: int
    """Items that both answered alike."""
    of: int
    """All items."""
    strata: Mapping[str, tuple[int, int]]
    """Stratum → (items, of these chosen)."""

    @property
    def share_identical(self) -> float:
        """Of all items."""
        return self.identical / self.of


def items_needed(share: float, resolve: float) -> int:
    """Items to ask about, so that a win rate `resolve` away from 1/2 is told from it.

    ``n = s^2 / 4 (z_.975 + z_.8)^2 / resolve^2``: power 80 %, two-sided 5 %, with the share s of
    items on which the answers differ (the others are ties for certain).

    Args:
        share: s.
        resolve: Distance, in shares: .1 is 10 points.
    """
    return math.ceil(round(share**2 * LARGEST_VARIANCE * (_reach() / resolve) ** 2, 9))


def resolved(share: float, items: int) -> float:
    """The distance from 1/2 that so many items tell with 80 % power; see `items_needed`."""
    return _reach() * share * math.sqrt(LARGEST_VARIANCE / items)


def draw(units: Sequence[Unit], items: int | None, seed: int) -> Sample:
    """Draws the sample; the same one for the same units, in any order, and the same seed.

    Args:
        units: All items; ids differ.
        items: To ask about; None, or more than there are: all on which the answers differ.
        seed: Of the draw.
    """
    asked = [u for u in units if u.kind != "same_text"]
    wanted = len(asked) if items is None else min(items, len(asked))
    strata = _strata(asked, wanted)
    counts = _allocate({name: len(ids) for name, ids in strata.items()}, wanted)
    chosen = []
    for name, ids in strata.items():
        rng = np.random.default_rng(derive_seed(seed, "review", name))
        drawn = rng.choice(len(ids), size=counts[name], replace=False)
        weight = len(ids) / (len(units) * counts[name])
        chosen += [Chosen(ids[i], name, weight) for i in sorted(drawn.tolist())]
    return Sample(
        chosen=tuple(sorted(chosen, key=lambda c: c.id)),
        identical=len(units) - len(asked),
        of=len(units),
        strata={name: (len(ids), counts[name]) for name, ids in strata.items()},
    )


def _reach() -> float:
    return float(special.ndtri((1 + CONFIDENCE) / 2) + special.ndtri(POWER))


def _strata(units: Sequence[Unit], wanted: int) -> dict[str, list[str]]:
    """Stratum → ids, in order. Those that would not give `LEAST` items are put together."""
    by_place: dict[tuple[str, str], list[str]] = defaultdict(list)
    for unit in units:
        by_place[unit.kind, unit.group].append(unit.id)
    found: dict[str, list[str]] = defaultdict(list)
    for (kind, group), ids in sorted(by_place.items()):
        small = wanted < len(units) and wanted * len(ids) < LEAST * len(units)
        name = f"{kind} / {OTHERS if small else group}" if group else kind
        found[name] += ids
    if sum(min(LEAST, len(ids)) for ids in found.values()) > wanted:
        return {"all": sorted(u.id for u in units)}
    return {name: sorted(ids) for name, ids in sorted(found.items())}


def _allocate(sizes: Mapping[str, int], wanted: int) -> dict[str, int]:
    """Items of each stratum: in proportion, `LEAST` at least, all of them at most."""
    total = sum(sizes.values())
    counts = {name: min(LEAST, n, wanted) for name, n in sizes.items()}
    while sum(counts.values()) < wanted:
        open_ = [name for name, n in sizes.items() if counts[name] < n]
        counts[max(open_, key=lambda h: (wanted * sizes[h] / total - counts[h], h))] += 1
    return counts
