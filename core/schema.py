"""Strict models at the edge: unknown keys are refused, and errors name `file:dotted.key`."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from keepgain.core.errors import UserError
from keepgain.core.redaction import redact_values

LATER = "later"
"""Marks a field that identities leave out where it has its default: it came when there were ids
already, and those stand."""


class StrictModel(BaseModel):
    """Frozen, keyword-only, and no key that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


M = TypeVar("M", bound=BaseModel)


def parse(model: type[M], data: Any, *, source: str, lines: Mapping[str, int] | None = None) -> M:
    """Validates `data`, or says in one message what is wrong with the first faulty key.

    Args:
        source: The file that `data` came from, for the message.
        lines: Line number of each dotted key, where known (see `yaml_io.load_yaml`).

    Raises:
        UserError: The first fault, as `file:dotted.key (line n): given, allowed, what to do`.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise _user_error(model, error, data, source, lines or {}) from None


def _user_error(
    model: type[BaseModel],
    error: ValidationError,
    data: Any,
    source: str,
    lines: Mapping[str, int],
) -> UserError:
    faults = _without_followers(error.errors(include_url=False))
    first = faults[0]
    path = _keys(first, data)
    key = ".".join(path)
    line = next((lines[k] for k in _prefixes(path) if k in lines), None)
    where = f"{source}:{key}" if key else source
    if line is not None:
        where += f" (line {line})"
    problem, hint = _explain(model, first, path)
    if len(faults) > 1:
        more = (
            "1 more fault follows" if len(faults) == 2 else f"{len(faults) - 1} more faults follow"
        )
        hint = f"{hint} ({more}.)"
    return UserError(problem, where=where, hint=hint.strip() or None)


def _without_followers(faults: list[Any]) -> list[Any]:
    """An entry with a fault is missing from its list, which pydantic then calls too short."""
    inner = {fault["loc"][:n] for fault in faults for n in range(len(fault["loc"]))}
    return [f for f in faults if f["type"] != "too_short" or f["loc"] not in inner]


def _keys(fault: Any, data: Any) -> list[str]:
    """Where the fault is, in keys of the user's data.

    Pydantic puts names of union branches and of validators between them; no key of the data at
    that place has such a name.
    """
    path: list[str] = []
    here = data
    for part in fault["loc"]:
        if isinstance(here, Mapping) and part in here:
            here = here[part]
        elif isinstance(here, list | tuple) and isinstance(part, int) and part < len(here):
            here = here[part]
        else:
            continue
        path.append(str(part))
    if fault["type"] == "missing":
        path.append(str(fault["loc"][-1]))
    return path


def _prefixes(path: list[str]) -> list[str]:
    return [".".join(path[:n]) for n in range(len(path), 0, -1)]


def _explain(model: type[BaseModel], fault: Any, path: list[str]) -> tuple[str, str]:
    name = str(fault["loc"][-1]) if fault["loc"] else ""
    given = repr(redact_values(fault["input"], name))
    given = given if len(given) <= 80 else given[:77] + "..."
    if fault["type"] == "extra_forbidden":
        allowed = _fields_at(model, path[:-1])
        known = f"Known keys here: {', '.join(allowed)}." if allowed else ""
        return f"unknown key '{name}'.", known
    if fault["type"] == "missing":
        return f"required key '{name}' is missing.", "Add it."
    if fault["type"] in ("too_short", "too_long"):
        side = "min" if fault["type"] == "too_short" else "max"
        word = {"min": "least", "max": "most"}[side]
        return f"must have at {word} {fault['ctx'][f'{side}_length']} (given: {given}).", ""
    message = str(fault["msg"]).removeprefix("Value error, ")
    return f"{message} (given: {given}).", ""


def _fields_at(model: type[BaseModel], path: list[str]) -> list[str]:
    """The keys of the model that `path` leads to, as far as the annotations tell."""
    from typing import get_args

    here: Any = model
    for part in path:
        if not (isinstance(here, type) and issubclass(here, BaseModel)):
            return []
        field = here.model_fields.get(part)
        if field is None:
            return []
        options = [field.annotation, *get_args(field.annotation)]
        here = next((o for o in options if isinstance(o, type) and issubclass(o, BaseModel)), None)
    if isinstance(here, type) and issubclass(here, BaseModel):
        return [f.alias or name for name, f in here.model_fields.items()]
    return []
