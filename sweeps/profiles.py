"""Profiles: named overrides of a spec, nested or dotted, merged before anything is checked."""

from collections.abc import Mapping
from typing import Any

ATOMIC = frozenset({"space"})
"""Mappings whose entries are replaced whole: half a distribution of one parameter and half of
another make no sense."""


def merge(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `overrides` merged in; neither is changed.

    Mappings merge, everything else (lists too) replaces, null removes. A dotted key goes down the
    path it names; a key that exists as it is written (`lora.rank` in the space) is not split.
    """
    result = dict(base)
    for key, value in overrides.items():
        _assign(result, key, value, top=True)
    return result


def _assign(target: dict[str, Any], key: str, value: Any, *, top: bool, deep: bool = True) -> None:
    owner = None if key in target else _owner(target, key, top)
    if owner is not None:
        head, rest = owner
        child = target.get(head)
        inner = dict(child) if isinstance(child, Mapping) else {}
        _assign(inner, rest, value, top=False, deep=not (top and head in ATOMIC))
        target[head] = inner
    elif value is None:
        target.pop(key, None)
    elif isinstance(value, Mapping) and isinstance(target.get(key), Mapping) and deep:
        inner = dict(target[key])
        for name, item in value.items():
            _assign(inner, name, item, top=False, deep=not (top and key in ATOMIC))
        target[key] = inner
    else:
        target[key] = value


def _owner(target: Mapping[str, Any], key: str, top: bool) -> tuple[str, str] | None:
    """The longest prefix of a dotted key that is a mapping here, and the rest of the key.

    At the top every dot separates: no key of a spec contains one.
    """
    parts = key.split(".")
    for n in range(len(parts) - 1, 0, -1):
        head = ".".join(parts[:n])
        if isinstance(target.get(head), Mapping):
            return head, ".".join(parts[n:])
    return (parts[0], ".".join(parts[1:])) if top and len(parts) > 1 else None


def profile_lines(lines: Mapping[str, int], profile: str) -> dict[str, int]:
    """Line numbers as they are with the profile merged in."""
    prefix = f"profiles.{profile}."
    overridden = {k.removeprefix(prefix): v for k, v in lines.items() if k.startswith(prefix)}
    return {k: v for k, v in lines.items() if not k.startswith("profiles.")} | overridden
