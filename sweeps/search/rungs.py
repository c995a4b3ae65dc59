"""Who goes on at a rung: a pure function of what the trials of one base model scored there.

Order, best first: trials within the limit on forgetting before those beyond it, which follow by
how far they are beyond; within the limit by layers of non-domination (gain up, forgetting down);
inside a layer the two extremes first, then always the trial farthest from those already taken, so
that the best few spread over the front. (The idea of layers with an epsilon-net is that of
MO-ASHA: Schmucker et al. 2021, arXiv:2106.12639.) Ties go to the lower draw number.

Below the grace share forgetting is no reason to stop a trial, since it is not monotone, nor is
gain alone a reason to let it go on: a trial that learns slowly and keeps what the base knew shows
little gain so early. So two orders take turns, and the limit does not count: by gain, and by layers
in which a smooth measure of gain stands in (`proxy_for`), where there is one. Half of the places
are those of the best on gain, whatever they forget. (`docs/DECISIONS.md` has the figures of
both orders, and of others.)

Audit trials run to the end whatever their rank, to check the rungs. They are ranked like all
others and hold the place that they rank at: so no trial's fate depends on whether its neighbours
are audits, and what goes on beyond the places are only the audits that ranked badly.
"""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from keepgain.core.spread import farthest_first
from keepgain.sweeps.search.ledger import Asked


@dataclass(frozen=True)
class RungPolicy:
    """How many go on, compared with whom."""

    keep: float = 1 / 2
    """Share of the trials compared that goes on."""
    grace: float = 0.2
    """Share of the budget below which forgetting stops none of the best on gain."""
    audit_trials: int = 12
    """Of each base model; see `audits`."""
    minimum: int = 1
    """So many trials of a generation go on at least (asynchronously: of the base model)."""
    asynchronous: bool = False
    """Promote whenever a report arrives (ASHA), not when a generation has reached the rung."""


@dataclass(frozen=True)
class Entry:
    """One trial at one rung."""

    run_key: str
    number: int
    """Of the draw in its base model's study: settles ties."""
    generation: int
    gain: float
    """Up is good."""
    forgetting: float = 0.0
    """Up is bad; the same for all where it is not measured."""
    excess: float = 0.0
    """By how much the worst suite drops beyond the limit on forgetting; 0 within it."""
    audit: bool = False
    proxy_gain: float | None = None
    """Of the suites that stand in below the full budget; None: there are none."""
    lost: bool = False
    """It failed after this rung and before the next: its place is free again."""


@dataclass(frozen=True)
class Ranking:
    """The trials compared at a rung."""

    order: tuple[Entry, ...]
    """Best first."""
    places: int
    """So many, from the front, are good enough to go on."""

    def rank_of(self, run_key: str) -> int:
        """From 1. Raises StopIteration for a trial that is not compared."""
        return next(i for i, e in enumerate(self.order, 1) if e.run_key == run_key)


def audits(asked: Iterable[Asked], count: int) -> frozenset[str]:
    """Run keys of the audit trials: of each base model the first quasi-random draws by number.

    Args:
        asked: Search draws.
        count: `RungPolicy.audit_trials`.
    """
    of_model: dict[str, list[Asked]] = {}
    for one in asked:
        if one.origin == "quasi_random":
            of_model.setdefault(one.model, []).append(one)
    return frozenset(
        one.run_key
        for draws in of_model.values()
        for one in sorted(draws, key=lambda a: a.number or 0)[:count]
    )


def compared(entries: Iterable[Entry], generation: int) -> list[Entry]:
    """Those of a base model at a rung that a generation is ranked with: it and those before it."""
    return [e for e in entries if e.generation <= generation]


def rank(entries: Collection[Entry], policy: RungPolicy, share: float) -> Ranking:
    """Ranks the trials of one base model at one rung.

    Args:
        entries: Of whom one is compared with; their order does not matter.
        share: Of the budget, at the rung.
    """
    places = math.floor(policy.keep * len(entries) + 1e-9)
    if share >= policy.grace - 1e-9:
        return Ranking(tuple(_by_layers(entries)), places)
    by_gain = sorted(entries, key=lambda e: (-e.gain, e.forgetting, e.number))
    smooth = [e if e.proxy_gain is None else replace(e, gain=e.proxy_gain) for e in entries]
    of_key = {e.run_key: e for e in entries}
    in_layers = [of_key[e.run_key] for e in _in_layers(smooth)]
    in_turn = (e for pair in zip(by_gain, in_layers, strict=True) for e in pair)
    return Ranking(tuple(dict.fromkeys(in_turn)), places)


def going_on(ranking: Ranking, members: Collection[str], policy: RungPolicy) -> tuple[str, ...]:
    """Run keys of the members that go on, best first.

    A lost member's place goes to the next best member. Audits go on in any case.

    Args:
        members: Run keys of the generation (asynchronously: all of the base model).
    """
    own = [e for e in ranking.order if e.run_key in members]
    wanted = sum(e.run_key in members for e in ranking.order[: ranking.places])
    wanted = max(wanted, policy.minimum)
    chosen: set[str] = set()
    for entry in own:
        if wanted <= 0:
            break
        chosen.add(entry.run_key)
        wanted -= not entry.lost
    return tuple(e.run_key for e in own if e.audit or e.run_key in chosen)


def _by_layers(entries: Iterable[Entry]) -> list[Entry]:
    """Within the limit in layers; then the others by how far they are beyond it."""
    within = [e for e in entries if e.excess <= 0]
    beyond = [e for e in entries if e.excess > 0]
    beyond.sort(key=lambda e: (e.excess, -e.gain, e.number))
    return _in_layers(within) + beyond


def _in_layers(entries: Iterable[Entry]) -> list[Entry]:
    left = sorted(entries, key=lambda e: (-e.gain, e.forgetting, e.number))
    order: list[Entry] = []
    while left:
        layer, left = _split(left)
        layer.sort(key=lambda e: e.number)
        order += [layer[i] for i in farthest_first([(e.gain, e.forgetting) for e in layer])]
    return order


def _split(entries: Sequence[Entry]) -> tuple[list[Entry], list[Entry]]:
    """The non-dominated and the others, of entries by descending gain, then forgetting.

    Whoever comes earlier has at least as much gain, so one is dominated unless it forgets less
    than all before it, or is equal in both to the last of the layer.
    """
    layer: list[Entry] = []
    others: list[Entry] = []
    for entry in entries:
        last = layer[-1] if layer else None
        if last is None or entry.forgetting < last.forgetting:
            layer.append(entry)
        elif (entry.gain, entry.forgetting) == (last.gain, last.forgetting):
            layer.append(entry)
        else:
            others.append(entry)
    return layer, others
