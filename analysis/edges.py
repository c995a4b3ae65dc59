"""Ranges that may be too narrow: the best trial of a size lies at the edge of one.

Within 5 % of an end (of the logarithm for logarithmic ranges), or at the first or last value of an
ordered list, the optimum may lie beyond. Each warning comes with a wider range in the spec's
syntax, to paste: half the range again on that side, never beyond what the setting itself accepts.
An end that cannot be moved (a share of 0) is no edge; a list of two has no inside, so none either.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from keepgain.core.record import SpaceDimension

NEAR = 0.05
"""Of the range's width."""
WIDER = 0.5
"""Of the range's width is added."""
_LOG = ("log", "log_int")
_WHOLE = ("int", "log_int")

Side = Literal["low", "high"]


@dataclass(frozen=True)
class Edge:
    """One setting of the best trial of a size that lies at the edge of what was searched."""

    model: str
    trial: str
    name: str
    value: float
    side: Side
    wider: str
    """Line for the spec's `space:`; `mixture: {...}` says all sources."""


def edges(
    model: str, trial: str, params: Mapping[str, object], space: Sequence[SpaceDimension]
) -> tuple[Edge, ...]:
    """The settings at an edge, in the space's order.

    Args:
        params: Of the best trial of `model`, flat.
    """
    found: dict[str, tuple[float, Side]] = {}
    wider: dict[str, SpaceDimension] = {}
    for d in space:
        value = params.get(d.name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        side = _side(d, float(value))
        moved = None if side is None else _widened(d, side)
        if side is not None and moved is not None:
            found[d.name], wider[d.name] = (float(value), side), moved
    shares = [wider.get(d.name, d) for d in space if d.form == "share"]
    return tuple(
        Edge(
            model,
            trial,
            name,
            value,
            side,
            _mixture_yaml(shares) if wider[name].form == "share" else _yaml(wider[name]),
        )
        for name, (value, side) in found.items()
    )


def _side(d: SpaceDimension, value: float) -> Side | None:
    """The end that `value` is near; the nearer one of a very short range."""
    if d.form in ("choice", "ordered"):
        values = _ordered(d)
        if len(values) < 3 or value not in (values[0], values[-1]):
            return None
        return "low" if value == min(values) else "high"
    if d.low is None or d.high is None or not d.low <= value <= d.high:
        return None
    low, high, at = (math.log(v) if d.form in _LOG else v for v in (d.low, d.high, value))
    below, above = at - low, high - at
    if min(below, above) > NEAR * (high - low):
        return None
    return "low" if below <= above else "high"


def _ordered(d: SpaceDimension) -> list[float]:
    """Numbers in ascending or descending order; empty where the list has none."""
    numbers = [v for v in d.choices if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) < len(d.choices) or numbers not in (sorted(numbers), sorted(numbers)[::-1]):
        return []
    return numbers


def _widened(d: SpaceDimension, side: Side) -> SpaceDimension | None:
    """The dimension with one end moved out; None where the setting accepts nothing beyond."""
    if d.form in ("choice", "ordered"):
        return _longer(d, side)
    assert d.low is not None and d.high is not None, "ranges have ends"
    sign = -1 if side == "low" else 1
    end = d.low if side == "low" else d.high
    if d.form in _LOG:
        moved = end * (d.high / d.low) ** (sign * WIDER)
    else:
        width = WIDER * (d.high - d.low)
        moved = end + sign * (math.ceil(width / d.step) * d.step if d.step else width)
    if not d.step:
        moved = _readable(moved, side, d.form in _WHOLE)
    moved = _within(d, moved)
    if (moved - end) * sign <= 0:
        return None
    return d.model_copy(update={side: moved})


def _longer(d: SpaceDimension, side: Side) -> SpaceDimension | None:
    """A list with one more value: the same factor, or the same distance, as the last two have."""
    values = sorted(_ordered(d))
    last, before = (values[0], values[1]) if side == "low" else (values[-1], values[-2])
    moved = last * last / before if before * last > 0 else 2 * last - before
    whole = all(isinstance(v, int) for v in values)
    moved = _within(d, _readable(moved, side, whole))
    moved = int(moved) if whole else moved
    if moved in values:
        return None
    descending = list(d.choices) != values
    first = (side == "low") != descending
    return d.model_copy(update={"choices": (moved, *d.choices) if first else (*d.choices, moved)})


def _readable(value: float, side: Side, whole: bool) -> float:
    """Three digits, or the next whole number outwards."""
    if whole:
        return math.floor(value) if side == "low" else math.ceil(value)
    return float(f"{value:.3g}")


def _within(d: SpaceDimension, value: float) -> float:
    if d.least is not None:
        value = max(value, d.least)
    return value if d.most is None else min(value, d.most)


def _yaml(d: SpaceDimension) -> str:
    """`lora.rank: {log_int: [4, 256], when: {method: lora}}`"""
    if d.form == "choice" and not d.when:
        return f"{d.name}: [{_list(d.choices)}]"
    ends: list[object] = [d.low, d.high]
    step: object = d.step
    if d.form in _WHOLE and d.low is not None and d.high is not None:
        ends, step = [int(d.low), int(d.high)], None if d.step is None else int(d.step)
    parts = [
        f"{d.form}: [{_list(d.choices or ends)}]",
        *([f"step: {_number(step)}"] if step else []),
        *([f"when: {{{_conditions(d)}}}"] if d.when else []),
    ]
    return f"{d.name}: {{{', '.join(parts)}}}"


def _conditions(d: SpaceDimension) -> str:
    return ", ".join(
        f"{name}: {_number(values[0]) if len(values) == 1 else f'[{_list(values)}]'}"
        for name, values in d.when.items()
    )


def _mixture_yaml(shares: Sequence[SpaceDimension]) -> str:
    said = [
        f"{d.name.partition('.')[2]}: "
        + (_number(d.low) if d.low == d.high else f"[{_list((d.low, d.high))}]")
        for d in shares
    ]
    return f"mixture: {{{', '.join(said)}}}"


def _list(values: Sequence[object]) -> str:
    return ", ".join(_number(v) for v in values)


def _number(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
