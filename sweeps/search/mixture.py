"""The mixture: shares of the training tokens that one trial takes from each source."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keepgain.core.errors import UserError
from keepgain.sweeps.search.searchable import nearest
from keepgain.sweeps.search.simplex import (
    check_feasible,
    round_shares,
    simplex_uniforms,
    simplex_weights,
)

MIXTURE = "mixture"
SHARE_DIGITS = 6
_ROUNDING = 10**-SHARE_DIGITS


@dataclass(frozen=True)
class Mixture:
    """Shares of the training tokens, uniform on the simplex within bounds (see `simplex`)."""

    sources: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    @property
    def free(self) -> tuple[int, ...]:
        """Positions of the sources with a range; the others have one share."""
        ends = zip(self.low, self.high, strict=True)
        return tuple(i for i, (low, high) in enumerate(ends) if low < high)

    @property
    def raw_names(self) -> tuple[str, ...]:
        """`mixture#0` ..: one uniform fewer than there are free sources."""
        return tuple(f"{MIXTURE}#{i}" for i in range(len(self.free) - 1))

    def shares(self, uniforms: Sequence[float]) -> dict[str, float]:
        """Source → share, from the values of `raw_names`."""
        weights = list(self.low)
        if self.free:
            left, low, high = self._ranges()
            for i, w in zip(self.free, simplex_weights(uniforms, low, high), strict=True):
                weights[i] = w * left
        rounded = round_shares(weights, self.low, self.high, SHARE_DIGITS)
        return dict(zip(self.sources, rounded, strict=True))

    def uniforms(self, shares: Mapping[str, float]) -> tuple[float, ...]:
        """The values of `raw_names` that give these shares; the inverse of `shares`.

        Raises:
            ValueError: Shares beyond the bounds, or a source that is not of this mixture.
        """
        given = [float(shares.get(name, 0.0)) for name in self.sources]
        unknown = sorted(set(shares) - set(self.sources))
        if unknown:
            raise ValueError(f"unknown source '{unknown[0]}'")
        for name, w, a, b in zip(self.sources, given, self.low, self.high, strict=True):
            if not a - _ROUNDING <= w <= b + _ROUNDING:
                raise ValueError(f"the share {w:g} of '{name}' is not from {a:g} to {b:g}")
        if abs(sum(given) - 1) > len(given) * _ROUNDING:
            raise ValueError(f"the shares sum to {sum(given):g}, not to 1")
        if not self.free:
            return ()
        left, low, high = self._ranges()
        return simplex_uniforms([given[i] / left for i in self.free], low, high)

    def corner(self, source: str) -> dict[str, float]:
        """Shares with as much as possible of one source, the others filled up by name."""
        shares = dict(zip(self.sources, self.low, strict=True))
        ends = dict(zip(self.sources, self.high, strict=True))
        for name in (source, *self.sources):
            room = max(0.0, 1 - sum(shares.values()))
            shares[name] = min(ends[name], shares[name] + room)
        return shares

    def _ranges(self) -> tuple[float, list[float], list[float]]:
        """What the fixed sources leave, and the bounds of the free ones as shares of that."""
        left = max(1 - sum(a for i, a in enumerate(self.low) if i not in self.free), 1e-6)
        return (
            left,
            [self.low[i] / left for i in self.free],
            [self.high[i] / left for i in self.free],
        )


def parse_mixture(raw: Any, sources: Sequence[str], where: str) -> Mixture:
    if not isinstance(raw, dict) or not raw:
        raise UserError(
            f"a mapping of sources to shares is needed (given: {raw!r}).",
            where=where,
            hint="mixture: {tickets: [0.5, 1], general: [0, 0.5]}",
        )
    for name in raw:
        if name not in sources:
            hint = nearest(str(name), list(sources))
            raise UserError(f"unknown source '{name}'.", where=f"{where}.{name}", hint=hint)
    names = tuple(sorted(sources))
    ends = [_share_range(raw[n], f"{where}.{n}") if n in raw else (0.0, 0.0) for n in names]
    low, high = tuple(a for a, _ in ends), tuple(b for _, b in ends)
    check_feasible(low, high, where=where)
    return Mixture(names, low, high)


def _share_range(raw: Any, where: str) -> tuple[float, float]:
    given = raw if isinstance(raw, list) else [raw, raw]
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in given)
    if len(given) != 2 or not numbers or not all(0 <= v <= 1 for v in given):
        raise UserError(
            f"a share or a range of shares from 0 to 1 is needed (given: {raw!r}).",
            where=where,
            hint="For example 0.2 or [0, 0.5].",
        )
    low, high = (round(float(v), SHARE_DIGITS) for v in given)
    if isinstance(raw, list) and low >= high:
        raise UserError(
            f"the lower end must be below the upper one (given: {raw}).",
            where=where,
            hint="For one share write it without a range." if low == high else "Swap them.",
        )
    return low, high


def shares_by_role(
    replay: float, synthetic: float, weights: Mapping[str, float], roles: Mapping[str, str]
) -> dict[str, float]:
    """Shares of the sources, from the two that people think in.

    Args:
        replay: Share of the tokens that replays what must not be forgotten.
        synthetic: Share of the other tokens that is synthetic.
        weights: Source → weight among the sources of its role, e.g. its rows.
        roles: Source → `task`, `synthetic` or `replay`.

    Returns:
        Source → share; they sum to 1 within rounding to `SHARE_DIGITS`.

    Raises:
        ValueError: A role that gets a share has no source.
    """
    of_role = {
        "replay": replay,
        "synthetic": (1 - replay) * synthetic,
        "task": (1 - replay) * (1 - synthetic),
    }
    shares = dict.fromkeys(weights, 0.0)
    for role, amount in of_role.items():
        members = [name for name in weights if roles[name] == role]
        if amount > 0 and not members:
            raise ValueError(f"no source has the role '{role}'")
        total = sum(weights[name] for name in members)
        for name in members:
            shares[name] = round(amount * weights[name] / total, SHARE_DIGITS)
    return shares
