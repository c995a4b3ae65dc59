"""How YAML says one searched parameter: the forms of an entry of `space:`."""

import math
from typing import Any

from keepgain.core.errors import UserError
from keepgain.sweeps.search.dimensions import Choice, Dimension, Fixed, Ordered, Real, Whole
from keepgain.sweeps.search.searchable import check_value

_FORMS = ("log", "uniform", "int", "log_int", "ordered", "choice", "value")
_FORMS_HINT = (
    "Allowed: a value, a list of values, {ordered: [a, b, c]}, {uniform: [a, b]}, {log: [a, b]}, "
    "{int: [a, b]}, {log_int: [a, b]}, each with `when:`, and `step:` with uniform and int."
)


def parse_dimension(name: str, raw: Any, where: str) -> tuple[Dimension, Any]:
    """Reads one entry of a space.

    Args:
        name: A name in `SEARCHABLE`.
        raw: Its value in the YAML file.
        where: `file:space.NAME`, for messages.

    Returns:
        The dimension, and what stands under `when:` (None: nothing).

    Raises:
        UserError: Not one of the forms, or a value that the trial would not accept.
    """
    if isinstance(raw, list):
        return _choice(name, raw, where), None
    if not isinstance(raw, dict):
        return Fixed(check_value(name, raw, where)), None
    unknown = sorted(str(k) for k in raw if k not in (*_FORMS, "step", "when"))
    if unknown:
        raise UserError(f"unknown key '{unknown[0]}'.", where=where, hint=_FORMS_HINT)
    forms = [f for f in _FORMS if f in raw]
    if len(forms) != 1:
        given = " and ".join(forms) or "none"
        raise UserError(f"one range is needed; given: {given}.", where=where, hint=_FORMS_HINT)
    form, when = forms[0], raw.get("when")
    if "when" in raw and not isinstance(when, dict):
        raise UserError(
            f"`when` must be a mapping (given: {when!r}).", where=where, hint="when: {method: lora}"
        )
    if "step" in raw and form not in ("uniform", "int"):
        raise UserError(f"`step` has no meaning with `{form}`.", where=where, hint="Leave it out.")
    return _range(name, form, raw, where), when


def _choice(name: str, raw: Any, where: str) -> Choice:
    if not isinstance(raw, list) or not raw:
        raise UserError(
            f"a list with at least one value is needed (given: {raw!r}).",
            where=where,
            hint="For one value write it without a list.",
        )
    values = tuple(check_value(name, v, where) for v in raw)
    twice = [v for i, v in enumerate(values) if v in values[:i]]
    if twice:
        raise UserError(f"{twice[0]!r} is in the list twice.", where=where, hint="Keep one.")
    return Choice(values)


def _ordered(name: str, raw: Any, where: str) -> Dimension:
    values = _choice(name, raw, where).choices
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    if not numbers or list(values) != sorted(values):
        raise UserError(
            f"`ordered` needs numbers in ascending order (given: {raw!r}).",
            where=where,
            hint="Sort them; values without an order are a plain list.",
        )
    return Ordered(values) if len(values) > 1 else Fixed(values[0])


def _range(name: str, form: str, raw: dict[str, Any], where: str) -> Dimension:
    if form == "value":
        return Fixed(check_value(name, raw["value"], where))
    if form == "choice":
        return _choice(name, raw["choice"], where)
    if form == "ordered":
        return _ordered(name, raw["ordered"], where)
    low, high = _bounds(raw[form], form, where)
    if form in ("log", "log_int") and low <= 0:
        raise UserError(
            f"a logarithmic range needs a lower end above 0 (given: {low:g}).",
            where=where,
            hint="Use uniform or int, or a small positive lower end.",
        )
    if form in ("int", "log_int"):
        return _whole(name, form, low, high, raw.get("step", 1), where)
    for end in (float(low), float(high)):
        check_value(name, end, where, hint="For whole numbers use int or log_int.")
    if "step" not in raw:
        return Real(float(low), float(high), log=form == "log")
    step = _number(raw["step"], "step", where)
    count = math.floor((high - low) / step + 1e-9) if step > 0 else 0
    if count < 1:
        raise UserError(
            f"step {step:g} does not fit between {low:g} and {high:g}.",
            where=where,
            hint="It must be positive and at most the width of the range.",
        )
    # The last value reached is the upper end, as in Optuna, said here without its warning.
    return Real(float(low), float(f"{low + count * step:.12g}"), step=float(step))


def _whole(name: str, form: str, low: float, high: float, step: Any, where: str) -> Whole:
    for end in (low, high):
        if end != int(end):
            raise UserError(f"`{form}` needs whole numbers (given: {end:g}).", where=where)
        check_value(name, int(end), where)
    if isinstance(step, bool) or not isinstance(step, int) or not 1 <= step <= high - low:
        raise UserError(
            f"`step` must be a whole number from 1 to {high - low:g} (given: {step!r}).",
            where=where,
        )
    return Whole(int(low), int(low + (high - low) // step * step), form == "log_int", step)


def _bounds(raw: Any, form: str, where: str) -> tuple[float, float]:
    if not isinstance(raw, list) or len(raw) != 2:
        raise UserError(
            f"`{form}` needs two numbers (given: {raw!r}).", where=where, hint=f"{form}: [a, b]"
        )
    low, high = (_number(v, form, where) for v in raw)
    if low >= high:
        raise UserError(
            f"the lower end must be below the upper one (given: [{low:g}, {high:g}]).",
            where=where,
            hint="For one value write it without a range." if low == high else "Swap them.",
        )
    return low, high


def _number(raw: Any, what: str, where: str) -> float:
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not math.isfinite(raw):
        hint = "A number stands without quotes." if isinstance(raw, str) else None
        raise UserError(f"`{what}` needs a finite number (given: {raw!r}).", where=where, hint=hint)
    return raw
