"""Suites that ask the items of another one again, with a text before each prompt: is what a tuned
model no longer shows forgotten, or only masked?

A fine-tuned model may take every prompt for one of its new task. A text before the prompt, of the
kind that the base was asked in, may bring the old answers back, which were then never lost (Kotha,
Springer & Raghunathan, ICLR 2024, arXiv 2309.10105). The items keep their ids, so that both suites
are paired item by item; see `analysis.behaviour.recovery`.
"""

from collections.abc import Callable
from dataclasses import replace

from keepgain.core.errors import UserError
from keepgain.core.rows import Row, RowSpool
from keepgain.sweeps.located import Located
from keepgain.sweeps.spec_scorer import ScorerKeys
from keepgain.sweeps.spec_suites import SuiteSpec


def remade(items: Located, change: Callable[[Row], Row]) -> Located:
    """The same items at the same places, each one changed."""
    spool = RowSpool()
    for row in items.rows:
        spool.add(change(row))
    return replace(items, rows=spool.rows())


def recovered(items: Located, prefix: str, where: str) -> Located:
    """The items with a text before their prompt.

    Args:
        items: Of the other suite.
        prefix: As the spec gives it; nothing is put between it and the prompt.
        where: The suite's key in the spec.

    Raises:
        UserError: The items are plain texts, which have no prompt.
    """
    if any(row.kind == "text" for row in items.rows):
        raise UserError(
            "the items are plain texts: there is no prompt to put a text before.",
            where=where,
            hint="Recover a suite of prompts with answers.",
        )
    return remade(items, lambda row: prefixed(row, prefix))


def prefixed(row: Row, prefix: str) -> Row:
    """A pair with the text before its prompt; a chat with it before its first user turn."""
    if row.kind == "pair":
        return replace(row, prompt=prefix + row.prompt)
    turns = list(row.messages)
    asked = [i for i, turn in enumerate(turns[:-1]) if turn["role"] == "user"]
    at = asked[0] if asked else 0
    turns[at] = {**turns[at], "content": prefix + turns[at]["content"]}
    return replace(row, messages=tuple(turns))


def refuse_unlike(name: str, suite: SuiteSpec, other: SuiteSpec, where: str) -> None:
    """Refuses a suite that is scored otherwise than the one whose items it asks again.

    Raises:
        UserError: The first key of scoring in which they differ.
    """
    for key in (*ScorerKeys.model_fields, "max_new_tokens"):
        if getattr(suite, key) != getattr(other, key):
            raise UserError(
                f"`{key}` of '{name}' is not that of the suite whose items it asks again, so that "
                "their scores cannot be compared.",
                where=where,
                hint=f"Leave `{key}` out: it follows from the other suite.",
            )
