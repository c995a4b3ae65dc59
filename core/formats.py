"""Formats of users' rows, the keys that their fields have, and which format a row is in."""

from collections.abc import Mapping
from typing import Any, Literal

from keepgain.core.errors import UserError

FormatName = Literal["auto", "prompt_answer", "messages", "alpaca", "sharegpt", "text"]

ALIASES: dict[str, tuple[str, ...]] = {
    "prompt": ("prompt", "question", "query", "input"),
    "answer": ("answer", "completion", "response", "output", "label"),
    "messages": ("messages",),
    "conversations": ("conversations",),
    "instruction": ("instruction",),
    "input": ("input",),
    "output": ("output",),
    "text": ("text",),
    "context": ("context",),
    "choices": ("choices", "options"),
    "group": ("group",),
    "cluster": ("cluster",),
    "id": ("id",),
}
"""Our name of a field → the keys it is looked for under, unless `fields` names another."""
FIELD_NAMES: tuple[str, ...] = tuple(ALIASES)

NEEDS: dict[str, tuple[str, ...]] = {
    "messages": ("messages",),
    "sharegpt": ("conversations",),
    "alpaca": ("instruction", "output"),
    "prompt_answer": ("prompt", "answer"),
    "text": ("text",),
}
"""Format → fields that a row must have; in the order of detection."""
_ANSWERS = ("answer", "output")
"""Fields that prompts do without."""
_BESIDE = ("id", "context", "choices", "group", "cluster")
"""Fields of any format, which tell nothing about it."""


def detect(record: Mapping[str, Any], fields: Mapping[str, str], where: str, prompts: bool) -> str:
    """The first format whose fields the row has; mapped fields narrow the choice.

    Args:
        record: The row as it stands in the file.
        fields: As of `key_of`.
        where: `file:line`, for the message.
        prompts: Answers need not be there.

    Raises:
        UserError: No format fits.
    """
    mapped = {name for name in fields if name not in _BESIDE}
    for name, needed in NEEDS.items():
        optional = {"input"} if name == "alpaca" else set()
        if not mapped <= set(needed) | optional:
            continue
        asked = [n for n in needed if not (prompts and n in _ANSWERS)]
        if all(key_of(record, fields, field) is not None for field in asked):
            return name
    if mapped & {"prompt", "answer"}:
        return "prompt_answer"
    keys = ", ".join(f"'{k}'" for k in list(record)[:8]) or "none"
    raise UserError(
        f"no format fits a row with the keys {keys}.",
        where=where,
        hint="Needed: messages; conversations; instruction and output; prompt and answer; or text. "
        "Map other names with e.g. `fields: {prompt: question, answer: label}`.",
    )


def key_of(record: Mapping[str, Any], fields: Mapping[str, str], name: str) -> str | None:
    """The key of a row under which the field of `ALIASES` stands, if any.

    Args:
        fields: Our name of a field → its key in the file, where it is not one of the usual ones.
    """
    if name in fields:
        return fields[name] if fields[name] in record else None
    return next((key for key in ALIASES[name] if key in record), None)
