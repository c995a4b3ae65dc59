"""Loads a sweep's spec: profile merged in, keys checked one by one and together.

The keys themselves are in `sweeps.spec_sweep`, what they must satisfy together in
`sweeps.spec_checks`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keepgain.core.errors import UserError
from keepgain.core.schema import parse
from keepgain.core.yaml_io import load_yaml
from keepgain.sweeps.loaded_spec import LoadedSpec, place_of
from keepgain.sweeps.presets import expand_presets
from keepgain.sweeps.profiles import merge, profile_lines
from keepgain.sweeps.spec_checks import cross_check
from keepgain.sweeps.spec_data import expand_data_spec
from keepgain.sweeps.spec_sweep import SweepSpec


def load_spec(path: Path, profile: str | None = None) -> LoadedSpec:
    """Reads and checks a spec; every profile is checked, the chosen one is merged in.

    Raises:
        UserError: The first fault, as `file:dotted.key (line n): given, allowed, what to do`.
    """
    raw, lines = load_yaml(path)
    _refuse_other_keys(raw, "", path, lines)
    profiles = raw.pop("profiles", None)
    profiles = {} if profiles is None else profiles
    if not isinstance(profiles, dict) or not all(isinstance(p, dict) for p in profiles.values()):
        raise UserError(
            "profiles must map names to overrides.", where=place_of(path, lines, "profiles")
        )
    if profile is not None and profile not in profiles:
        raise UserError(
            f"no profile '{profile}' in this spec.",
            where=str(path),
            hint=f"Known profiles: {', '.join(profiles)}." if profiles else "It has no profiles.",
        )
    loaded = _validate(path, raw, lines, None)
    for name, overrides in profiles.items():
        merged = _validate(path, merge(raw, overrides), profile_lines(lines, name), name)
        loaded = merged if name == profile else loaded
    return loaded


def _refuse_other_keys(value: Any, prefix: str, path: Path, lines: Mapping[str, int]) -> None:
    """Every key of a spec is text; YAML reads `1:` and `true:` as other things."""
    entries = enumerate(value) if isinstance(value, list) else ()
    for key, inner in value.items() if isinstance(value, dict) else entries:
        if isinstance(value, dict) and not isinstance(key, str):
            raise UserError(
                f"the key {key!r} is not text.",
                where=place_of(path, lines, f"{prefix}{key}"),
                hint="Write a name there; a name that looks like a number goes in quotes.",
            )
        _refuse_other_keys(inner, f"{prefix}{key}.", path, lines)


def _validate(
    path: Path, raw: dict[str, Any], lines: dict[str, int], profile: str | None
) -> LoadedSpec:
    expanded, lines = expand_presets(*expand_data_spec(raw, lines, path), str(path))
    spec = parse(SweepSpec, expanded, source=str(path), lines=lines)
    loaded = LoadedSpec(spec=spec, path=path, lines=lines, raw=raw, profile=profile)
    cross_check(loaded)
    return loaded
