"""Configurations that are given and not drawn: the raw values that stand for settings.

For `sampler: list`, `sweep add` and a warm start, so that a given trial goes through the study as a
drawn one does.
"""

from collections.abc import Mapping
from typing import Any

from keepgain.core.errors import UserError
from keepgain.sweeps.search.conditions import Parameter
from keepgain.sweeps.search.dimensions import Fixed
from keepgain.sweeps.search.mixture import MIXTURE, Mixture
from keepgain.sweeps.search.searchable import check_value, nearest
from keepgain.sweeps.search.space import Space

SHARE_TOLERANCE = 1e-4
"""How far a share may come back from what was given: see `simplex_uniforms` on corners."""


def raw_of(space: Space, params: Mapping[str, Any]) -> dict[str, Any]:
    """Raw values that `space.resolve` turns into these settings; its inverse.

    Reals of a continuum come back rounded, and shares within `SHARE_TOLERANCE`.

    Args:
        space: The space.
        params: Flat settings; `mixture` may also be one mapping, `lora.targets` a list of names.

    Raises:
        UserError: A setting that this space does not have, or does not allow, or lacks; without
            a place, which the caller knows.
    """
    left = _flat(params)
    raw: dict[str, Any] = {}
    settled: dict[str, Any] = {}
    for p in space.parameters:
        if not p.is_active(settled):
            continue
        if isinstance(p.dimension, Fixed):
            settled[p.name] = p.dimension.value
            given = left.pop(p.name, p.dimension.value)
            if _plain(p.name, given) != p.dimension.value:
                raise _not_allowed(p, given)
            continue
        if p.name not in left:
            raise UserError(f"{p.name} is missing.", hint=f"The space has {p.name}: {p}.")
        value = left.pop(p.name)
        try:
            raw[p.name] = p.dimension.raw(_plain(p.name, value))
        except (ValueError, TypeError):
            raise _not_allowed(p, value) from None
        settled[p.name] = p.dimension.settle(raw[p.name])
    if space.mixture is not None:
        raw |= _raw_mixture(space.mixture, left)
    if left:
        raise _left_over(space, next(iter(left)))
    return raw


def _raw_mixture(mixture: Mixture, left: dict[str, Any]) -> dict[str, float]:
    """Takes the shares out of `left`."""
    prefix = f"{MIXTURE}."
    names = [name for name in left if name.startswith(prefix)]
    shares = {name.removeprefix(prefix): left.pop(name) for name in names}
    try:
        raw = mixture.uniforms(shares)
    except (ValueError, TypeError) as error:
        hint = "Shares are of all training tokens; give one for every source."
        raise UserError(f"{MIXTURE}: {error}.", hint=hint) from None
    back = mixture.shares(raw)
    if any(abs(back[name] - share) > SHARE_TOLERANCE for name, share in shares.items()):
        raise UserError(
            f"{MIXTURE}: these shares are so far in a corner of the space that no draw gives them.",
            hint="Narrow the ranges of the space around them, or move them inwards.",
        )
    return dict(zip(mixture.raw_names, raw, strict=True))


def _flat(params: Mapping[str, Any]) -> dict[str, Any]:
    """A copy with `mixture: {a: x}` as `mixture.a: x`."""
    rest = dict(params)
    if isinstance(rest.get(MIXTURE), Mapping):
        nested = rest.pop(MIXTURE)
        rest |= {f"{MIXTURE}.{name}": share for name, share in nested.items()}
    return rest


def _plain(name: str, value: Any) -> Any:
    """As the space holds it: 1 as 1.0, a list of modules as one text, as such a text stands."""
    if name == "lora.targets" and isinstance(value, str):
        return value
    try:
        return check_value(name, value, name)
    except UserError as error:
        raise UserError(f"{name}: {error.problem}", hint=error.hint) from None


def _not_allowed(p: Parameter, value: Any) -> UserError:
    return UserError(f"{p.name} = {value!r} is not in the space.", hint=f"Allowed: {p}.")


def _left_over(space: Space, name: str) -> UserError:
    known = {p.name: p for p in space.parameters}
    hint = f"{name}: {known[name]}." if name in known else nearest(name, list(known))
    return UserError(f"{name} is not a setting of this trial.", hint=hint)
