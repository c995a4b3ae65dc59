"""What cleaning changes in a row: characters, white space, dates, numbers, personal data."""

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal

from keepgain.core.formats import NEEDS, key_of
from keepgain.core.jsonl import parse_json
from keepgain.core.personal.find import mask
from keepgain.sweeps.gates.rules import ValueRule
from keepgain.sweeps.gates.values import iso_date, plain_number
from keepgain.sweeps.spec_data import DataRules

Join = Literal["none", "before", "after"]
"""Where a text stands against another one, between which no white space is put in: a prompt stands
before its answer."""

_SPACES = re.compile("[\u00a0\u2000-\u200a\u202f\u205f\u3000]")
_NOTHING = re.compile("[\u200b\u2060\ufeff\u00ad]")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
_BREAKS = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
"""Ends of lines and pages, of which nothing may be run together."""
_LINE_ENDS = re.compile(r"[ \t]+(?=\n)")
_BLANK_LINES = re.compile(r"\n{4,}")
_FIRST_LINES = re.compile(r"\A(?:[ \t]*\n)+")


@dataclass
class Edits:
    """Changes of one row so far."""

    reasons: list[str] = field(default_factory=list)
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Field → `before` and `after`."""

    def note(self, reason: str, name: str, before: Any, after: Any) -> None:
        """One change of a field, which may have been changed before."""
        if reason not in self.reasons:
            self.reasons.append(reason)
        first = self.changes.get(name, {"before": before})
        self.changes[name] = {"before": first["before"], "after": after}

    def safe(self) -> dict[str, dict[str, Any]]:
        """Changes as a log may have them: what was masked is masked there too."""
        if "personal" not in self.reasons:
            return self.changes
        return {
            name: {k: mask(v) if isinstance(v, str) else v for k, v in change.items()}
            for name, change in self.changes.items()
        }


def tidy(text: str, join: Join = "none") -> str:
    """White space that nobody means: line ends as LF, none before them, at most two blank lines,
    plain spaces, no zero-width or control characters, nothing at the ends.

    Runs of spaces within a line stay: they may be code or a table. So does what stands between a
    prompt and its answer.
    """
    text = _BREAKS.sub("\n", _NOTHING.sub("", _SPACES.sub(" ", text)))
    text = _CONTROL.sub("", text)
    text = _BLANK_LINES.sub("\n\n\n", _LINE_ENDS.sub("", text))
    text = text if join == "before" else text.rstrip()
    if join != "after":
        text = _FIRST_LINES.sub("", text)
        text = text if "\n" in text else text.lstrip()
    return text


def edit_record(
    record: Mapping[str, Any],
    kind: str,
    fields: Mapping[str, str],
    rules: DataRules | None,
    personal: bool,
) -> tuple[dict[str, Any], Edits]:
    """The record as it is to be written; the given one stays as it is.

    Args:
        record: As the file has it.
        kind: Its format.
        fields: Our names → keys.
        rules: Whose dates and numbers are written alike; None: none are.
        personal: Mask personal data in what is trained on.
    """
    edits, new = Edits(), dict(record)
    for name, value, join, put in _texts(new, kind, fields):
        text = value
        for reason, edit in _edits(join, personal):
            if (after := edit(text)) != text:
                edits.note(reason, name, value, after)
                text = after
        put(text)
    if rules is not None:
        _by_rules(new, kind, fields, rules, edits)
    return new, edits


def unpacked(value: Any) -> Any:
    """A list that a table holds as JSON text; all else as it is."""
    if not (isinstance(value, str) and value.lstrip().startswith("[")):
        return value
    try:
        return parse_json(value)
    except (ValueError, RecursionError):  # choices that nobody reads may be anything
        return value


def plain_value(value: Any) -> Any:
    """A value of a table as JSON has it."""
    return value.isoformat() if isinstance(value, date) else str(value)


def _edits(join: Join, personal: bool) -> list[tuple[str, Callable[[str], str]]]:
    edits: list[tuple[str, Callable[[str], str]]] = [
        ("white_space", lambda text: tidy(text, join)),
        # Last: what stood apart by a character that does not show may be composed.
        ("unicode", lambda text: unicodedata.normalize("NFC", text)),
    ]
    return [*edits, ("personal", mask)] if personal else edits


_Slot = tuple[str, str, Join, Callable[[str], None]]
"""(field, its text, how it stands to others, puts another text there)."""


def _texts(record: dict[str, Any], kind: str, fields: Mapping[str, str]) -> list[_Slot]:
    """All texts that are trained on or shown to a model."""
    slots: list[_Slot] = []
    for name in (*NEEDS[kind], "input", "context", "choices"):
        if name == "input" and kind != "alpaca":
            continue
        if (key := key_of(record, fields, name)) is None:
            continue
        value = record[key]
        if isinstance(value, str) and name in _LISTS:
            value = unpacked(value)
        if isinstance(value, str):
            slots.append((key, value, _join(name), _putter(record, key)))
        elif isinstance(value, list) and name in _LISTS:
            record[key] = value = [dict(v) if isinstance(v, dict) else v for v in value]
            for i, part in enumerate(value):
                if isinstance(part, str):
                    slots.append((f"{key}[{i}]", part, "none", _putter(value, i)))
                elif isinstance(part, dict):
                    inner = _LISTS[name]
                    if isinstance(part.get(inner), str):
                        slots.append((f"{key}[{i}]", part[inner], "none", _putter(part, inner)))
    return slots


_LISTS = {"messages": "content", "conversations": "value", "choices": ""}
"""Fields that are lists, and where in their entries the text is."""


def _putter(holder: Any, key: Any) -> Callable[[str], None]:
    def put(text: str) -> None:
        if holder[key] != text:
            holder[key] = text

    return put


def _join(name: str) -> Join:
    if name in ("prompt", "instruction", "input"):
        return "before"
    return "after" if name in ("answer", "output") else "none"


def _by_rules(
    record: dict[str, Any], kind: str, fields: Mapping[str, str], rules: DataRules, edits: Edits
) -> None:
    ruled: dict[str, ValueRule] = dict(rules.fields)
    answer = key_of(record, fields, "output" if kind == "alpaca" else "answer")
    if kind in ("alpaca", "prompt_answer") and answer is not None:
        ruled.setdefault(answer, rules.answer)
    for key, rule in ruled.items():
        value = record.get(key)
        if not isinstance(value, str) or rule.kind not in ("number", "date"):
            continue
        number = rule.kind == "number"
        found = plain_number(value, rule.decimal) if number else iso_date(value, rule.formats)
        if found is not None and found != value:
            edits.note("number" if number else "date", key, value, found)
            record[key] = found
