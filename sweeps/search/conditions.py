"""Conditions between parameters: which exist when, and in which order they must be drawn."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keepgain.core.config import LORA_FAMILY
from keepgain.core.errors import UserError
from keepgain.sweeps.search.dimensions import Choice, Dimension, Fixed, Ordered
from keepgain.sweeps.search.searchable import nearest


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


def parse_conditions(
    name: str, raw: Any, dimensions: Mapping[str, Dimension], where: str
) -> tuple[tuple[str, tuple[Any, ...]], ...]:
    found = {
        str(parent): _condition(str(parent), values, dimensions, f"{where}.{name}")
        for parent, values in (raw or {}).items()
    }
    if name.startswith("lora."):
        methods = _lora_methods(name, dimensions, f"{where}.{name}")
        if not set(found.setdefault("method", methods)) <= set(methods):
            raise UserError(
                f"{name} exists only where the method is {_FAMILY}, and its condition names "
                "another.",
                where=f"{where}.{name}",
                hint="Leave `method` out of its `when:`.",
            )
    return tuple(sorted(found.items()))


_FAMILY = f"{', '.join(LORA_FAMILY[:-1])} or {LORA_FAMILY[-1]}"


def _lora_methods(name: str, dimensions: Mapping[str, Dimension], where: str) -> tuple[Any, ...]:
    """Methods of the space that have settings under `lora.`."""
    methods = _values(dimensions["method"]) if "method" in dimensions else ()
    found = tuple(m for m in methods if m in LORA_FAMILY)
    if not found:
        raise UserError(
            f"{name} is searched, but no trial has the method {_FAMILY}.",
            where=where,
            hint="Add `method: [full, lora]` or `method: lora`, or leave it out.",
        )
    return found


def _values(dimension: Dimension) -> tuple[Any, ...]:
    match dimension:
        case Fixed():
            return (dimension.value,)
        case Choice():
            return dimension.choices
        case Ordered():
            return dimension.values
    return ()


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
            hint="A condition needs a parameter with a list of values, or `ordered` ones.",
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


def parents_first(parameters: Mapping[str, Parameter], where: str) -> tuple[Parameter, ...]:
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
