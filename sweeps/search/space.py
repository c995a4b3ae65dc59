"""The search space: what a draw may be, and how a draw becomes the settings of a trial.

A space is data. `Space.__call__` asks Optuna for the raw values of one trial; `Space.resolve` turns
raw values into settings and is pure, so that a recorded draw replays to the same trial. Settings
are flat: `learning_rate`, `lora.rank`, `mixture.tickets`. Rounded where they are drawn from a
continuum (reals to 6 significant digits, shares of a mixture to 6 decimals that sum to 1); raw
values are kept as drawn.

The order of keys in the file does not matter, neither for the identity nor for the draws.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution

from keepgain.core.errors import UserError
from keepgain.core.identity import fingerprint
from keepgain.sweeps.search.dimensions import (
    SEARCHABLE,
    Choice,
    Dimension,
    Fixed,
    nearest,
    parse_dimension,
)
from keepgain.sweeps.search.simplex import check_feasible, round_shares, simplex_weights

MIXTURE = "mixture"
SHARE_DIGITS = 6


@dataclass(frozen=True)
class Parameter:
    """A dimension with a name and the conditions under which it exists."""

    name: str
    dimension: Dimension
    when: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    """(parameter, values): active if each of these parameters is active with one of its values."""

    def is_active(self, params: Mapping[str, Any]) -> bool:
        """Whether it exists, given the settings of the parameters before it."""
        return all(name in params and params[name] in values for name, values in self.when)

    def __str__(self) -> str:
        conditions = [f"{n} = {' or '.join(map(str, v))}" for n, v in self.when]
        return f"{self.dimension}{'; when ' if conditions else ''}{' and '.join(conditions)}"


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
            fixed = sum(a for i, a in enumerate(self.low) if i not in self.free)
            left = max(1 - fixed, 1e-6)  # the ranges share what the fixed sources leave
            low = [self.low[i] / left for i in self.free]
            high = [self.high[i] / left for i in self.free]
            for i, w in zip(self.free, simplex_weights(uniforms, low, high), strict=True):
                weights[i] = w * left
        rounded = round_shares(weights, self.low, self.high, SHARE_DIGITS)
        return dict(zip(self.sources, rounded, strict=True))


@dataclass(frozen=True)
class Space:
    """Parameters in an order in which conditions come after what they depend on."""

    parameters: tuple[Parameter, ...]
    mixture: Mixture | None = None

    def __call__(self, trial: optuna.Trial) -> dict[str, Any]:
        """Draws one trial's settings; the raw values are then in `trial.params`."""
        raw: dict[str, Any] = {}
        params: dict[str, Any] = {}
        for p in self.parameters:
            if p.is_active(params):
                if not isinstance(p.dimension, Fixed):
                    raw[p.name] = p.dimension.suggest(trial, p.name)
                params[p.name] = _settle(p, raw)
        for name in self.mixture.raw_names if self.mixture else ():
            raw[name] = trial.suggest_float(name, 0.0, 1.0)
        return self.resolve(raw)

    def resolve(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """The settings that raw values stand for; values of inactive parameters are ignored.

        Raises:
            UserError: A value is missing or not of this space: the record is of another one.
        """
        params: dict[str, Any] = {}
        for p in self.parameters:
            if p.is_active(params):
                params[p.name] = _settle(p, raw)
        if self.mixture:
            uniforms = [_uniform(name, raw) for name in self.mixture.raw_names]
            shares = self.mixture.shares(uniforms)
            params.update({f"{MIXTURE}.{source}": share for source, share in shares.items()})
        return params

    def active_raw(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """The raw values that count: those of parameters that are active and not fixed."""
        params = self.resolve(raw)
        names = [n for n in self.raw_distributions() if n in params or n.startswith(f"{MIXTURE}#")]
        return {name: raw[name] for name in names}

    def raw_distributions(self) -> dict[str, BaseDistribution]:
        """Everything that can be drawn, conditional or not, for samplers that want a box."""
        found: dict[str, BaseDistribution] = {}
        for p in self.parameters:
            if not isinstance(p.dimension, Fixed):
                found[p.name] = p.dimension.distribution
        for name in self.mixture.raw_names if self.mixture else ():
            found[name] = FloatDistribution(0.0, 1.0)
        return found

    def grid_points(self) -> int | None:
        """Number of different configurations; None where a parameter is continuous."""
        if self.mixture and self.mixture.raw_names:
            return None
        if any(p.dimension.count is None for p in self.parameters):
            return None
        return self._count(0, {})

    def _count(self, position: int, params: dict[str, Any]) -> int:
        """Configurations of the parameters from `position` on, given settings before it."""
        if position == len(self.parameters):
            return 1
        p = self.parameters[position]
        if not p.is_active(params):
            return self._count(position + 1, params)
        if isinstance(p.dimension, Fixed):
            return self._count(position + 1, {**params, p.name: p.dimension.value})
        is_parent = any(p.name == name for q in self.parameters for name, _ in q.when)
        if is_parent and isinstance(p.dimension, Choice):
            choices = p.dimension.choices
            return sum(self._count(position + 1, {**params, p.name: v}) for v in choices)
        return (p.dimension.count or 1) * self._count(position + 1, params)

    def to_json(self) -> dict[str, Any]:
        """Plain data that says all of it: for the record and the identity."""
        found: dict[str, Any] = {
            p.name: {
                "kind": type(p.dimension).__name__.lower(),
                **_plain(asdict(p.dimension)),
                "when": {name: list(values) for name, values in p.when},
            }
            for p in self.parameters
        }
        if self.mixture:
            ends = zip(self.mixture.low, self.mixture.high, strict=True)
            found[MIXTURE] = dict(zip(self.mixture.sources, map(list, ends), strict=True))
        return found

    @property
    def identity(self) -> str:
        """Fingerprint of `to_json`: equal if, and only if, the same draws mean the same trials."""
        return fingerprint(self.to_json())

    def describe(self) -> list[str]:
        """One line a parameter, for people."""
        lines = [f"{p.name}: {p}" for p in self.parameters]
        if self.mixture:
            for source, a, b in zip(*(getattr(self.mixture, f) for f in _MIXTURE), strict=True):
                share = f"{a:g} (fixed)" if a == b else f"{a:g} to {b:g}, uniform on the simplex"
                lines.append(f"{MIXTURE}.{source}: {share}")
        return lines


_MIXTURE = ("sources", "low", "high")


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in value.items()}


def _settle(p: Parameter, raw: Mapping[str, Any]) -> Any:
    if isinstance(p.dimension, Fixed):
        return p.dimension.value
    try:
        return p.dimension.settle(raw[p.name])
    except (KeyError, ValueError, TypeError):
        raise _foreign(p.name, raw) from None


def _uniform(name: str, raw: Mapping[str, Any]) -> float:
    value = raw.get(name)
    if not isinstance(value, int | float) or not 0 <= value <= 1:
        raise _foreign(name, raw)
    return float(value)


def _foreign(name: str, raw: Mapping[str, Any]) -> UserError:
    return UserError(
        f"the recorded draw has {name} = {raw.get(name)!r}, which this space does not allow.",
        hint="It was made from another space; start a sweep of its own.",
    )


def parse_space(raw: Any, *, sources: Sequence[str], where: str) -> Space:
    """Reads the `space:` of a sweep's file.

    ::

        method: [full, lora]                                  one of a list
        learning_rate: {log: [1e-5, 1e-3]}                    also uniform, int, log_int; step
        lora.rank: {log_int: [4, 64], when: {method: lora}}   exists only under a condition
        batch_size: 16                                        fixed
        mixture: {tickets: [0.5, 1], general: [0, 0.5]}       shares of the training tokens

    `lora.*` exists only where the method is `lora`, whether the file says so or not. A source that
    `mixture` leaves out gets 0; without `mixture` the settings say nothing of shares.

    Args:
        raw: What stands under `space:`.
        sources: Names of the training sources.
        where: The file, for messages.

    Raises:
        UserError: As `where:space.KEY`, what is wrong with it, what is allowed, what to do.
    """
    if not isinstance(raw, dict) or not raw:
        raise UserError(
            f"a space needs at least one parameter (given: {raw!r}).",
            where=f"{where}:space",
            hint="For example `learning_rate: {log: [1e-5, 1e-3]}`.",
        )
    dimensions: dict[str, Dimension] = {}
    conditions: dict[str, Any] = {}
    for name in sorted(map(str, raw)):
        if name == MIXTURE:
            continue
        here = f"{where}:space.{name}"
        if name not in SEARCHABLE:
            hint = nearest(name, [*SEARCHABLE, MIXTURE])
            raise UserError(f"unknown parameter '{name}'.", where=here, hint=hint)
        dimensions[name], conditions[name] = parse_dimension(name, raw[name], here)
    parameters = {
        name: Parameter(name, d, _conditions(name, conditions[name], dimensions, f"{where}:space"))
        for name, d in dimensions.items()
    }
    mixture = (
        _mixture(raw[MIXTURE], sources, f"{where}:space.{MIXTURE}") if MIXTURE in raw else None
    )
    return Space(_ordered(parameters, f"{where}:space"), mixture)


def _conditions(
    name: str, raw: Any, dimensions: Mapping[str, Dimension], where: str
) -> tuple[tuple[str, tuple[Any, ...]], ...]:
    found = {
        str(parent): _condition(str(parent), values, dimensions, f"{where}.{name}")
        for parent, values in (raw or {}).items()
    }
    if name.startswith("lora.") and "method" not in found:
        found["method"] = _lora_only(name, dimensions, f"{where}.{name}")
    return tuple(sorted(found.items()))


def _lora_only(name: str, dimensions: Mapping[str, Dimension], where: str) -> tuple[Any, ...]:
    if "method" in dimensions and "lora" in _values(dimensions["method"]):
        return ("lora",)
    raise UserError(
        f"{name} is searched, but no trial has the method lora.",
        where=where,
        hint="Add `method: [full, lora]` or `method: lora`, or leave it out.",
    )


def _values(dimension: Dimension) -> tuple[Any, ...]:
    if isinstance(dimension, Fixed):
        return (dimension.value,)
    return dimension.choices if isinstance(dimension, Choice) else ()


def _condition(
    parent: str, raw: Any, dimensions: Mapping[str, Dimension], where: str
) -> tuple[Any, ...]:
    if parent not in dimensions:
        raise UserError(
            f"the condition names '{parent}', which is not in the space.",
            where=where,
            hint=nearest(parent, sorted(dimensions)),
        )
    allowed = _values(dimensions[parent])
    if not allowed:
        raise UserError(
            f"the condition names '{parent}', which is a range.",
            where=where,
            hint="A condition needs a parameter with a list of values.",
        )
    given = raw if isinstance(raw, list) else [raw]
    for value in given:
        if not any(value == a and isinstance(value, bool) == isinstance(a, bool) for a in allowed):
            raise UserError(
                f"the condition asks for {parent} = {value!r}, which is never drawn.",
                where=where,
                hint=f"Values of {parent}: {', '.join(map(str, allowed))}.",
            )
    if not given:
        raise UserError(f"the condition on '{parent}' allows no value.", where=where)
    return tuple(a for a in allowed if a in given)


def _ordered(parameters: Mapping[str, Parameter], where: str) -> tuple[Parameter, ...]:
    """Parents first, otherwise by name: the order of the file must not matter."""
    left = dict(sorted(parameters.items()))
    found: list[Parameter] = []
    while left:
        ready = [p for p in left.values() if not any(n in left for n, _ in p.when)]
        if not ready:
            names = ", ".join(left)
            raise UserError(
                f"the conditions of {names} go in a circle.",
                where=f"{where}.{next(iter(left))}",
                hint="Remove one of them.",
            )
        found.append(ready[0])
        del left[ready[0].name]
    return tuple(found)


def _mixture(raw: Any, sources: Sequence[str], where: str) -> Mixture:
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
