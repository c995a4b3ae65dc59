"""The part of a row that augmentation may change, and what of it must stay."""

import re
from dataclasses import replace

from keepgain.core.perturb import Protected, words_of
from keepgain.core.rows import Row
from keepgain.sweeps.spec_data import DataRules


def asked_text(row: Row) -> str:
    """The prompt; of a chat, what the user said last before the answer. Not of plain text."""
    return row.messages[_last_user(row)]["content"] if row.kind == "chat" else row.prompt


def asked_anew(row: Row, text: str) -> Row:
    """The row with another `asked_text`."""
    if row.kind == "pair":
        return replace(row, prompt=text)
    at = _last_user(row)
    changed = {**row.messages[at], "content": text}
    return replace(row, messages=(*row.messages[:at], changed, *row.messages[at + 1 :]))


def protected_parts(rules: DataRules | None) -> Protected:
    """Entities of the spec, and the words by which it tells groups apart."""
    if rules is None:
        return Protected()
    patterns = [
        re.compile(text)
        for given in rules.entities.values()
        for text in ([given] if isinstance(given, str) else map(re.escape, given))
    ]
    groups = [g.words for g in rules.groups.values() if g.words is not None]
    words = words_of(*(w for values in groups for some in values.values() for w in some))
    return Protected(words, tuple(patterns))


def _last_user(row: Row) -> int:
    turns = range(len(row.messages) - 2, -1, -1)
    return next(i for i in turns if row.messages[i]["role"] == "user")
