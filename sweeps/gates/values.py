"""Values of fields as text: what they are, and how they are written plainly."""

import json
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any, Literal

Decimal = Literal[".", ","]
_GROUPS = {".": "[ \u00a0\u202f',]", ",": "[ \u00a0\u202f'.]"}
_NUMBERS = {
    mark: re.compile(
        rf"([+-]?)([0-9]+|[0-9]{{1,3}}(?:{group}[0-9]{{3}})+)"
        rf"(?:{re.escape(mark)}([0-9]+))?([eE][+-]?[0-9]+)?"
    )
    for mark, group in _GROUPS.items()
}
_EPOCH = re.compile(r"(\d{9,10}|\d{12,13}|\d{15,16}|\d{18,19})(?:\.\d*)?")
_FLOAT = re.compile(r"\d\.?\d*e\+\d\d")
_TRUTH = {"true": "true", "false": "false"}


def as_text(value: Any) -> str | None:
    """A value of a file as text, other than text as JSON; None of nothing: null or blank."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, date):
        return value.isoformat()
    return json.dumps(value, ensure_ascii=False, default=str)


def plain_number(text: str, decimal: Decimal = ".") -> str | None:
    """`1,234.50` as `1234.50`: no white space, no marks between thousands, `.` before decimals.

    Args:
        decimal: What stands before the decimals in `text`.

    Returns:
        None if the text is no number.
    """
    found = _NUMBERS[decimal].fullmatch(text.strip())
    if found is None:
        return None
    sign, whole, decimals, exponent = found.groups()
    digits = re.sub(r"[^0-9]", "", whole)
    sign = "-" if sign == "-" else ""
    return sign + digits + (f".{decimals}" if decimals else "") + (exponent or "")


def iso_date(text: str, formats: Sequence[str] = ()) -> str | None:
    """A date, or date and time, as ISO 8601 writes it.

    Args:
        formats: As of `datetime.strptime`, tried in order where the text is not ISO already.

    Returns:
        None if the text is no date.
    """
    text = text.strip()
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return next((iso for f in formats if (iso := _by_format(text, f)) is not None), None)
    has_time = len(text) > 10 and "W" not in text
    return found.isoformat() if has_time else found.date().isoformat()


def epoch_day(text: str) -> date | None:
    """The day, UTC, of seconds, milliseconds, microseconds or nanoseconds since 1970, from 1973 to
    2286; None of anything else."""
    if _FLOAT.fullmatch(text):  # how Python writes floats from 1e16 on
        text = str(int(float(text)))
    if (found := _EPOCH.fullmatch(text)) is None:
        return None
    thousands = (len(found[1]) - 9) // 3
    return datetime.fromtimestamp(int(found[1]) // 1000**thousands, UTC).date()


def truth(text: str) -> str | None:
    """`true` or `false`, in any case; None of anything else."""
    return _TRUTH.get(text.strip().lower())


def _by_format(text: str, given: str) -> str | None:
    try:
        found = datetime.strptime(text, given)
    except ValueError:
        return None
    has_time = any(mark in given for mark in ("%H", "%I", "%M", "%S", "%X", "%c"))
    return found.isoformat() if has_time else found.date().isoformat()
