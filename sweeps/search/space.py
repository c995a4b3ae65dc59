"""The search space: what a draw may be, and how a draw becomes the settings of a trial.

A space is data. `Space.__call__` asks Optuna for the raw values of one trial; `Space.resolve` turns
raw values into settings and is pure, so that a recorded draw replays to the same trial. Settings
are flat: `learning_rate`, `lora.rank`, `mixture.tickets`. Rounded where they are drawn from a
continuum (reals to 6 significant digits, shares of a mixture to 6 decimals that sum to 1); raw
values are kept as drawn.

The order of keys in the file does not matter, neither for the identity nor for the draws.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution

from keepgain.core.errors import UserError
from keepgain.core.identity import fingerprint
from keepgain.sweeps.search.conditions import Parameter, parents_first, parse_conditions
from keepgain.sweeps.search.dimensions import Dimension, Fixed
from keepgain.sweeps.search.forms import parse_dimension
from keepgain.sweeps.search.mixture import MIXTURE, Mixture, parse_mixture
from keepgain.sweeps.search.searchable import (
    OF_SOURCE,
    REPLAY_SHARE,
    SEARCHABLE,
    SYNTHETIC_SHARE,
    nearest,
    setting_type,
)


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

    @property
    def continuous(self) -> tuple[str, ...]:
        """Names of what has no grid: ranges of reals without a step, and free shares."""
        names = [p.name for p in self.parameters if p.dimension.count is None]
        return (*names, *([MIXTURE] if self.mixture and self.mixture.raw_names else []))

    def grid(self) -> Iterator[dict[str, Any]]:
        """Raw values of every configuration, those of inactive parameters left out.

        The first parameter changes slowest. Only for spaces that are not `continuous`.
        """
        assert not self.continuous, f"continuous: {self.continuous}"
        return self._grid(0, {}, {})

    def _grid(
        self, position: int, raw: dict[str, Any], params: dict[str, Any]
    ) -> Iterator[dict[str, Any]]:
        if position == len(self.parameters):
            yield raw
            return
        p = self.parameters[position]
        if not p.is_active(params):
            yield from self._grid(position + 1, raw, params)
        elif isinstance(p.dimension, Fixed):
            yield from self._grid(position + 1, raw, {**params, p.name: p.dimension.value})
        else:
            for value in p.dimension.points():
                settled = {**params, p.name: p.dimension.settle(value)}
                yield from self._grid(position + 1, {**raw, p.name: value}, settled)

    def grid_points(self) -> int | None:
        """Number of different configurations; None where a parameter is continuous."""
        return None if self.continuous else self._count(0, {})

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
        if is_parent:
            values = [p.dimension.settle(point) for point in p.dimension.points()]
            return sum(self._count(position + 1, {**params, p.name: v}) for v in values)
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
        batch_size: {ordered: [8, 16, 64]}                    numbers drawn by their place
        max_length: 512                                       fixed
        mixture: {tickets: [0.5, 1], general: [0, 0.5]}       shares of the training tokens

    In place of `mixture`, `replay_share` (of all tokens) and `synthetic_share` (of the others) are
    parameters like any other; `sweeps.shares` makes a mixture of them. `filter.SOURCE` chooses a
    filter of the source by its name, `repeat_limit.SOURCE` caps its share.

    `lora.*` exists only where the method is `lora`, whether the file says so or not; a condition
    that says otherwise is refused. A source that `mixture` leaves out gets 0; without `mixture` the
    settings say nothing of shares.

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
    for name in (REPLAY_SHARE, SYNTHETIC_SHARE):
        if name in raw and MIXTURE in raw:
            raise UserError(
                f"both `{name}` and `{MIXTURE}` say what the sources' shares are.",
                where=f"{where}:space.{name}",
                hint="Keep one of them.",
            )
    dimensions: dict[str, Dimension] = {}
    conditions: dict[str, Any] = {}
    for name in sorted(map(str, raw)):
        if name == MIXTURE:
            continue
        here = f"{where}:space.{name}"
        if setting_type(name) is None:
            hint = nearest(name, [*SEARCHABLE, MIXTURE, *(f"{n}.SOURCE" for n in OF_SOURCE)])
            raise UserError(f"unknown parameter '{name}'.", where=here, hint=hint)
        kind, _, source = name.partition(".")
        if kind in OF_SOURCE and source not in sources:
            hint = f"Known sources: {', '.join(sources)}."
            raise UserError(f"unknown source '{source}'.", where=here, hint=hint)
        dimensions[name], conditions[name] = parse_dimension(name, raw[name], here)
    parameters = {
        name: Parameter(
            name, d, parse_conditions(name, conditions[name], dimensions, f"{where}:space")
        )
        for name, d in dimensions.items()
    }
    mixture = (
        parse_mixture(raw[MIXTURE], sources, f"{where}:space.{MIXTURE}") if MIXTURE in raw else None
    )
    return Space(parents_first(parameters, f"{where}:space"), mixture)
