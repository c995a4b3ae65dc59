"""One searched parameter: what a range is, and what a drawn value becomes; `forms` reads them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

SIGNIFICANT_DIGITS = 6
"""Reals drawn from a continuum are rounded to these, so that ids are readable and follow from what
is printed."""
STEP_DIGITS = 12
"""Reals on a grid are rounded to these: enough to take off what the steps' sum has of noise, and
too many to make two points of a grid one."""


@dataclass(frozen=True)
class Fixed:
    """One value for every trial."""

    value: Any

    @property
    def distribution(self) -> None:
        """Nothing is drawn."""
        return None

    @property
    def count(self) -> int:
        """Number of values."""
        return 1

    def __str__(self) -> str:
        return f"{self.value} (fixed)"


@dataclass(frozen=True)
class Choice:
    """One of several values, in the order given."""

    choices: tuple[Any, ...]

    @property
    def distribution(self) -> BaseDistribution:
        """For Optuna."""
        return CategoricalDistribution(self.choices)

    @property
    def count(self) -> int | None:
        """Number of values."""
        return len(self.choices)

    def points(self) -> Iterator[Any]:
        """Every raw value."""
        return iter(self.choices)

    def suggest(self, trial: optuna.Trial, name: str) -> Any:
        """Draws."""
        return trial.suggest_categorical(name, self.choices)

    def settle(self, raw: Any) -> Any:
        """The value that a recorded draw stands for; ValueError where it is none of ours."""
        return self.choices[self.choices.index(raw)]

    def raw(self, value: Any) -> Any:
        """The raw value of a value; ValueError where it is none of ours."""
        return self.settle(value)

    def __str__(self) -> str:
        return f"one of {', '.join(map(str, self.choices))}"


@dataclass(frozen=True)
class Ordered:
    """One of several numbers in ascending order, drawn by its place: neighbours are near."""

    values: tuple[Any, ...]

    @property
    def distribution(self) -> BaseDistribution:
        """For Optuna: of the place, from 0."""
        return IntDistribution(0, len(self.values) - 1)

    @property
    def count(self) -> int | None:
        """Number of values."""
        return len(self.values)

    def points(self) -> Iterator[int]:
        """Every raw value."""
        return iter(range(len(self.values)))

    def suggest(self, trial: optuna.Trial, name: str) -> int:
        """Draws the place."""
        return trial.suggest_int(name, 0, len(self.values) - 1)

    def settle(self, raw: Any) -> Any:
        """The value at a recorded place; ValueError where there is none."""
        if isinstance(raw, bool) or raw not in range(len(self.values)):
            raise ValueError(raw)
        return self.values[int(raw)]

    def raw(self, value: Any) -> int:
        """The place of a value; ValueError where it is none of ours."""
        return self.values.index(value)

    def __str__(self) -> str:
        return f"one of {', '.join(map(str, self.values))}, in this order"


@dataclass(frozen=True)
class Real:
    """A real number in [low, high]; in steps from `low`, or evenly in the logarithm, or evenly."""

    low: float
    high: float
    log: bool = False
    step: float | None = None

    @property
    def distribution(self) -> BaseDistribution:
        """For Optuna."""
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    @property
    def count(self) -> int | None:
        """Number of values; None: a continuum."""
        return None if self.step is None else round((self.high - self.low) / self.step) + 1

    def points(self) -> Iterator[float]:
        """Every raw value; only with a step."""
        assert self.count is not None
        return (self._at(place) for place in range(self.count))

    def suggest(self, trial: optuna.Trial, name: str) -> float:
        """Draws, unrounded."""
        return trial.suggest_float(name, self.low, self.high, log=self.log, step=self.step)

    def settle(self, raw: Any) -> float:
        """Rounds, never beyond the range; ValueError outside of it."""
        if self.step is not None:  # the last points may be beyond by the noise of their sum
            place = round((float(raw) - self.low) / self.step)
            value = self._at(place)
            if not 0 <= place < (self.count or 0) or not math.isclose(value, raw, abs_tol=1e-12):
                raise ValueError(raw)
        elif self.low <= float(raw) <= self.high:
            value = float(f"{float(raw):.{SIGNIFICANT_DIGITS}g}")
        else:
            raise ValueError(raw)
        return min(max(value, self.low), self.high)

    def _at(self, place: int) -> float:
        return float(f"{self.low + place * (self.step or 0.0):.{STEP_DIGITS}g}")

    def raw(self, value: Any) -> float:
        """A raw value that settles to this one, or to it rounded; ValueError outside the range."""
        self.settle(value)
        return float(value)

    def __str__(self) -> str:
        how = "log" if self.log else f"steps of {self.step:g}" if self.step else "uniform"
        return f"{self.low:g} to {self.high:g}, {how}"


@dataclass(frozen=True)
class Whole:
    """A whole number in [low, high]; in steps from `low`, or evenly in the logarithm, or evenly."""

    low: int
    high: int
    log: bool = False
    step: int = 1

    @property
    def distribution(self) -> BaseDistribution:
        """For Optuna."""
        return IntDistribution(self.low, self.high, log=self.log, step=self.step)

    @property
    def count(self) -> int | None:
        """Number of values."""
        return (self.high - self.low) // self.step + 1

    def points(self) -> Iterator[int]:
        """Every raw value."""
        return iter(range(self.low, self.high + 1, self.step))

    def suggest(self, trial: optuna.Trial, name: str) -> int:
        """Draws."""
        return trial.suggest_int(name, self.low, self.high, log=self.log, step=self.step)

    def settle(self, raw: Any) -> int:
        """The value that a recorded draw stands for; ValueError where it is none of ours."""
        if raw != int(raw) or raw not in range(self.low, self.high + 1, self.step):
            raise ValueError(raw)
        return int(raw)

    def raw(self, value: Any) -> int:
        """The raw value of a value; ValueError where it is none of ours."""
        return self.settle(value)

    def __str__(self) -> str:
        how = "log" if self.log else f"steps of {self.step}"
        return f"{self.low} to {self.high}, whole, {how}"


Dimension = Fixed | Choice | Ordered | Real | Whole


def ends(dimension: Dimension) -> tuple[Any, ...]:
    """The ends of a range, or all values where there is no range: what the extremes are made of."""
    match dimension:
        case Fixed():
            return (dimension.value,)
        case Choice():
            return dimension.choices
        case Ordered():
            return dimension.values
        case Real() | Whole():
            return (dimension.low, dimension.high)
