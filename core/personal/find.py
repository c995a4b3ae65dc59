"""Personal data and secrets in a text: where they are, and how they are shown masked.

What `patterns.py` does not know is not found: names of persons and free descriptions are not looked
for. Mailboxes at example.com and fictitious telephone numbers count: rows that have them teach a
model to write them, and they often stand where real ones stood. Addresses of private, local and
documentation networks do not count.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from keepgain.core.personal.patterns import PATTERNS, SHIELDS, Marker, Pattern, masked
from keepgain.core.redaction import secret_spans

SECRETS = ("secret", "url_password")
"""Kinds that are no person's data but open a door."""
KINDS: tuple[str, ...] = tuple(dict.fromkeys([*SECRETS, *(p.kind for p in PATTERNS)]))
"""All that is looked for."""

_BEFORE, _AFTER = 40, 20
"""Characters before and after in which a word says what a number is."""
_CLUSTER = re.compile(r"[0-9](?:[ .\-/()\u00a0\u2010-\u2013A-Z]{0,3}[0-9]){5,}")
_LETTER = re.compile(r"[^\W\d_]")
_LONGEST = 100
"""Characters of what a number may be part of."""
_URL_PASSWORD = re.compile(
    r"\b[a-z][a-z0-9+.-]{1,20}://([^/\s:@'\"<>]{1,64}:([^/\s'\"@<>]{1,64}))@"
)
_PLACEHOLDER = re.compile(
    r"(?i)pass(?:word|wd)?|pwd|\w*secret\w*|\w*_key|[x*.]+|your\W.*|token|[$%{[].*"
)
_AT = (" dot ", "at)", "at]", "at}", "@)", "@]", "@}")
_WORDS = (
    "passp", "passe", "pasap", "passap", "birth", "dob", "d.o.b", "born", "geb.", "gebor",
    "geburt", "é le", "ée le", "ne le", "nacid", "nato il", "nata il", "nasci", "geboor",
)  # fmt: skip
_STREET = (
    b" Street", b" Avenue", b" Road", b" Boulevard", b" Lane", b" Drive", b" Court", b" Square",
    b" Terrace", b" Crescent", b" Close", b" Parkway", b" Highway", b" Ave", b" Rd", b" Blvd",
    b" St.", b" St,", b" Dr.", b" Dr,", b" Ct.", b" Ct,", b" Pkwy", b" Ln", b" Sq.", b" Sq,",
)  # fmt: skip
_STRASSE = (
    b"stra\xdfe 0", b"strasse 0", b"str. 0", b"gasse 0", b"allee 0", b"platz 0", b"weg 0", b" rue ",
    b" avenue ", b" boulevard ", b" chemin ", b" impasse ", b" all\xe9e ", b" place ",
)  # fmt: skip
_SHAPE = bytes(ord("0") if 48 <= c <= 57 else ord("A") if 65 <= c <= 90 else c for c in range(256))
"""Digits as 0, capitals as A."""
_HEX = bytes(ord("0") if chr(c) in "0123456789abcdefABCDEF" else c for c in range(256))
_HEX_FORMS = (b"00:00:00:00", b"00-00-00-00", b"0000:", b"0000.0000.0000")
_QUAD = re.compile(rb"0\.0{1,3}\.0{1,3}\.0")


@dataclass(frozen=True, order=True)
class Span:
    """Where something personal stands."""

    start: int
    end: int
    kind: str
    kept: int = 0
    """Last characters that a masked display shows."""


def find_personal(text: str) -> list[Span]:
    """Personal data and secrets of a text, by place; they do not overlap."""
    spans: list[Span] = []
    taken = bytearray(len(text))
    if "://" in text:
        spans += _free(taken, "url_password", _url_passwords(text))
    spans += _free(taken, "secret", secret_spans(text))
    marks = _markers(text)
    if marks:
        windows = _windows(text) if "cluster" in marks else []
        for pattern in PATTERNS:
            if pattern.marker not in marks:
                continue
            for start, end in windows if pattern.marker == "cluster" else [(0, len(text))]:
                found = _matches(pattern, text, start, end)
                spans += _free(taken, pattern.kind, found, pattern.kept)
    return sorted(spans)


def _url_passwords(text: str) -> Iterator[tuple[int, int]]:
    """`user:password` of links, other than placeholders."""
    for match in _URL_PASSWORD.finditer(text):
        if not _PLACEHOLDER.fullmatch(match[2]):
            yield match.span(1)


def mask(text: str) -> str:
    """The text with everything personal masked: `a***@d***.com`, `**** **** **** 1111`."""
    return masked_spans(text, find_personal(text))


def masked_spans(text: str, spans: Sequence[Span]) -> str:
    """The text with these spans masked; they are in order and do not overlap."""
    parts, at = [], 0
    for span in spans:
        parts += [text[at : span.start], masked(span.kind, text[span.start : span.end], span.kept)]
        at = span.end
    return "".join([*parts, text[at:]])


def _markers(text: str) -> set[Marker]:
    """Which patterns are worth trying; nearly none of prose. Substrings of bytes, not expressions:
    this is all that most rows cost."""
    marks: set[Marker] = set()
    low = text.lower()
    if "@" in text:
        marks.add("@")
    if any(mark in low for mark in _AT):
        marks.add("at")
    raw = text.encode("latin-1", "replace")
    shape = raw.translate(_SHAPE)
    if b"0" not in shape:
        return marks
    if b"000000" in shape.translate(None, b" .-/()?\xa0"):
        marks.add("cluster")
    hexadecimal = raw.translate(_HEX)
    if any(form in hexadecimal for form in _HEX_FORMS):
        marks.add("hex")
    if b"0.0" in shape and _QUAD.search(shape) is not None:
        marks.add("dots")
    if b"AAA00" in shape or b"AAA 00" in shape:
        marks.add("capitals")
    if any(word in low for word in _WORDS) or ("driv" in low and "licen" in low):
        marks.add("words")
    numbered = b"0 A" in shape and any(word in raw for word in _STREET)
    if numbered or any(form in shape for form in _STRASSE):
        marks.add("street")
    return marks


def _windows(text: str) -> list[tuple[int, int]]:
    """Around each group of at least six digits."""
    windows: list[tuple[int, int]] = []
    for match in _CLUSTER.finditer(text):
        start, end = max(0, match.start() - 12), min(len(text), match.end() + 30)
        if windows and start <= windows[-1][1]:
            windows[-1] = (windows[-1][0], end)
        else:
            windows.append((start, end))
    return windows


def _matches(pattern: Pattern, text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """After what turned out to be none, the search goes on one character later."""
    if _needs_word(pattern) and not _has_letters(text, start, end):
        return
    at = start
    while (match := pattern.regex.search(text, at, end)) is not None:
        span = _fitted(pattern, text, match)
        if span is None or not _meant(pattern, text, span):
            at = match.start() + 1
            continue
        yield span
        at = span[1]


def _fitted(pattern: Pattern, text: str, match: re.Match[str]) -> tuple[int, int] | None:
    start, end = match.span("value" if "value" in pattern.regex.groupindex else 0)
    if pattern.fit is not None:
        length = pattern.fit(text[start:end])
        return (start, start + length) if length else None
    return (start, end) if pattern.valid is None or pattern.valid(text[start:end]) else None


def _meant(pattern: Pattern, text: str, span: tuple[int, int]) -> bool:
    """The words around speak for it, or at least not against it."""
    start, end = span
    if _needs_word(pattern) and not _has_letters(text, start, end):
        return False
    before = text[max(0, start - _BEFORE) : start]
    if pattern.after is not None and not pattern.after.search(before):
        return False
    if pattern.unless is not None and pattern.unless.search(before):
        return False
    said = pattern.near
    if said is not None and not said.search(before) and not said.search(text[end : end + _AFTER]):
        return False
    numeric = pattern.marker == "cluster" and pattern.fit is None
    return not (numeric and _shielded(text, start, end))


def _needs_word(pattern: Pattern) -> bool:
    return pattern.near is not None or pattern.after is not None


def _has_letters(text: str, start: int, end: int) -> bool:
    """There, or near enough to speak for it. Tables of figures have none for long stretches, and
    would take a thousand times as long as prose."""
    return _LETTER.search(text, max(0, start - _BEFORE), end + _AFTER) is not None


def _shielded(text: str, start: int, end: int) -> bool:
    """It is part of something else, e.g. of a UUID."""
    around = (max(0, start - _LONGEST), end + _LONGEST)
    found = (m.span() for shield in SHIELDS for m in shield.finditer(text, *around))
    return any(a < end and start < b for a, b in found)


def _free(
    taken: bytearray,
    kind: str,
    found: Iterator[tuple[int, int]] | Sequence[tuple[int, int]],
    kept: int = 2,
) -> list[Span]:
    """Those that no earlier one stands on; `taken` is 1 at the characters of all so far."""
    new: list[Span] = []
    for start, end in found:
        if start < end and taken.find(1, start, end) < 0:
            taken[start:end] = b"\1" * (end - start)
            new.append(Span(start, end, kind, kept))
    return new
