"""Takes secrets out of what is written or shown: by the name of a key, by form, and by value.

Everything that Keepgain writes from text goes through here: spool, record, ledger, logs, messages.
The rows of data and what models answer do not (docs/security.md): changing them would change what
is measured.
"""

import io
import logging
import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit

HIDDEN = "***"
MIN_VALUE = 8
"""Shorter values of the environment are not looked for in text: they may be ordinary words."""
MAX_LINE = 1 << 16
"""Characters of a program's output that are read at once if it ends no line."""
MAX_KEY_LINES = 250
"""Of a private key: RSA of 16384 bits has 200."""

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_ALONE = {
    "password", "passwd", "passphrase", "pwd", "secret", "secrets", "credential", "credentials",
    "authorization", "apikey", "webhook", "webhooks", "cookie", "cookies",
}  # fmt: skip
_KEYS_BEFORE = {
    "api", "access", "private", "secret", "signing", "encryption", "account", "auth", "storage",
}  # fmt: skip
"""`api_key`, but not `run_key`."""
_OF_TEXT = {
    "added", "bos", "budget", "class", "cls", "end", "eos", "first", "fake", "image", "last",
    "mask", "max", "min", "next", "pad", "padding", "per", "prompt", "sep", "special", "start",
    "stop", "think", "unk", "video",
}  # fmt: skip
"""Before `token`: of a tokenizer, not of an account."""

_REFERENCE = re.compile(r"\$(?:\w+|\{\w+\})")
"""Names a variable of the environment, and is no secret itself."""
_PASSWORD = re.compile(r"(://[^/\s:@'\"]*):[^/\s'\"]+@")
_QUERY = re.compile(
    r"(?i)([?&;][\w.-]*(?:password|passwd|token|secret|api[_-]?key|signature|\bsig)[\w-]*=)[^&;\s#'\"]+"
)
_HOOK = re.compile(
    r"(?i)(https?://(?:hooks\.slack\.com/(?:services|workflows|triggers)|discord(?:app)?\.com/api/webhooks|"
    r"[\w.-]+\.webhook\.office\.com/webhook\w*)/)[^\s'\"]+"
)
_HEADER = re.compile(
    r"\b((?i:bearer|basic))(\s+)(?=[\w.~+/=-]*[0-9A-Z+/=])(?P<value>[\w.~+/=-]{12,})"
)
_PAIR = re.compile(
    r"(?P<name>[A-Za-z][\w.-]{2,60})(?P<sep>['\"]?\s?(?:=|:)[^\S\n]*(?:(?i:bearer|basic)\s+)?)"
    r"(?P<value>\$\{\w+\}|'[^'\n]*'|\"[^\"\n]*\"|[^\s'\",;)\]}&]+)"
)
"""`name=value`, `name: value`, `"name": "value"`."""
_NAMES = ("passw", "passphrase", "pwd", "secret", "credential", "authorization", "key", "token")
"""What `_PAIR` may find a secret after, quick to look for in many texts."""
_NOTHING = ("", "None", "null", "true", "false", "True", "False")
_DECIMAL = re.compile(r"-?[0-9]*\.[0-9]+(?:e[+-]?[0-9]+)?")
"""A figure of a run whose name has such a word: `mixture.secrets=0.25`."""
_LOOKS_RANDOM = re.compile(r"(?=.*[0-9A-Z]).{8,}")
_PEM = re.compile(r"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?(?:-----END \1-----|\Z)", re.DOTALL)
_BEGIN = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_END = re.compile(r"-----END [A-Z ]*PRIVATE KEY-----")
# Prefixes that their issuers document for secret scanners.
_FORMS = re.compile(
    r"\b(?:"
    r"(hf_|api_org_)(?!transformers\b)[A-Za-z0-9]{12,}"
    r"|(sk-(?:proj|ant|svcacct|admin|or|lf)-)[A-Za-z0-9_-]{12,}|(sk-|[sr]k_(?:live|test)_)[A-Za-z0-9]{20,}"
    r"|(gh[pousr]_)[A-Za-z0-9]{16,}|(github_pat_)[A-Za-z0-9_]{16,}|(glpat-)[A-Za-z0-9_-]{16,}"
    r"|((?:AKIA|ASIA))[A-Z0-9]{16}|(AIza)[A-Za-z0-9_-]{30,}"
    r"|(xox[a-z]-|xapp-)[A-Za-z0-9-]{10,}|(npm_|pypi-)[A-Za-z0-9_-]{30,}"
    r"|(dapi)[0-9a-f]{32}"
    r"|(eyJ)[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"
    r")"
)
_BEGINNINGS = (
    "hf_", "api_org_", "sk-", "k_live_", "k_test_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_",
    "github_pat_", "glpat-", "AKIA", "ASIA", "AIza", "xox", "xapp-", "npm_", "pypi-", "dapi", "eyJ",
)  # fmt: skip
"""Of `_FORMS`: what is quick to look for in many texts."""

_remembered: set[str] = set()
_log = logging.getLogger(__name__)


@lru_cache(maxsize=4096)
def is_secret_key(name: str) -> bool:
    """True if what stands under this name is a secret: `hf_token`, `apiKey`, `DB_PASSWORD`.

    Not of numbers of tokens, nor of a tokenizer: `max_tokens`, `tokenizer`, `eos_token`.
    """
    words = [word.lower() for word in _WORDS.findall(name)]
    if not words or name == "PWD":  # of a shell: its folder
        return False
    *before, last = words
    # `password_file`, `token_path`: where it is, not what it is.
    if last in ("file", "path", "type", "count", "id", "ids", "name", "env", "mode"):
        return words[-3:] == ["access", "key", "id"]
    if _ALONE & {*words} or any(word.endswith(("password", "passwd")) for word in words):
        return True
    if last in ("key", "keys"):
        return bool(before) and before[-1] in _KEYS_BEFORE
    return last == "token" and not (before and before[-1] in _OF_TEXT)


def redact(text: str) -> str:
    """`text` without secrets: passwords in URIs, tokens by their form, `password=...`, private
    keys, and the values of secrets of this process (see `remember`)."""
    return _redact(text, known_values())


def _redact(text: str, known: Iterable[str]) -> str:
    for value in known:
        if value in text:
            text = text.replace(value, HIDDEN)
    if "-----BEGIN" in text:
        text = _PEM.sub(HIDDEN, text)
    if "://" in text:
        text = _PASSWORD.sub(rf"\1:{HIDDEN}@", text)
        text = _HOOK.sub(rf"\1{HIDDEN}", text)
    text = _QUERY.sub(rf"\1{HIDDEN}", text)
    text = _FORMS.sub(lambda m: next(g for g in m.groups() if g) + HIDDEN, text)
    text = _HEADER.sub(rf"\1\2{HIDDEN}", text)
    return _without_pairs(text) if "=" in text or ":" in text else text


def secret_spans(text: str) -> list[tuple[int, int]]:
    """(start, end) of each secret that its form or the name before it gives away.

    Of data: what this process knows (`known_values`) plays no part, and a value after a name counts
    only if it looks made up (`password: must be long` is prose).
    """
    spans = []
    if any(beginning in text for beginning in _BEGINNINGS):
        spans += [m.span() for m in _FORMS.finditer(text)]
    if "-----BEGIN" in text:
        spans += [m.span() for m in _PEM.finditer(text)]
    if "://" in text:
        spans += [(m.end(1), m.end()) for m in _HOOK.finditer(text)]
        spans += [(m.end(1), m.end()) for m in _QUERY.finditer(text)]
    if "earer" in text or "asic" in text or "EARER" in text:
        spans += [m.span("value") for m in _HEADER.finditer(text) if _made_up(m["value"])]
    low = text.lower()
    if ("=" in text or ":" in text) and any(name in low for name in _NAMES):
        at = 0
        while (match := _PAIR.search(text, at)) is not None:
            secret = is_secret_key(match["name"]) and _made_up(match["value"].strip("'\""))
            spans += [match.span("value")] if secret else []
            at = match.end() if secret else match.start("value")
    return spans


def _made_up(value: str) -> bool:
    """Not a word, a figure, a call or a reference."""
    mixed = re.search("[0-9]", value) and re.search("[A-Za-z]", value) and "(" not in value
    plain = _REFERENCE.match(value) or _DECIMAL.fullmatch(value) or HIDDEN in value
    return len(value) >= 6 and bool(mixed) and not plain


def redact_values(value: Any, name: str = "") -> Any:
    """A JSON value of which texts are redacted, and whatever stands under a secret's name.

    Numbers stay: a token is a text, and `usd_per_token` is not.

    Args:
        name: The key that it stands under.
    """
    return _values(value, name, known_values())


def _values(value: Any, name: str, known: Iterable[str]) -> Any:
    if isinstance(value, Mapping):
        return {k: _values(v, str(k), known) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_values(v, name, known) for v in value]
    if not isinstance(value, str):
        return value
    return _by_name(name, value) if is_secret_key(name) else _redact(value, known)


def redacted_lines(lines: Iterable[str]) -> Iterator[str]:
    """As `redact`, line by line; a private key over several lines becomes one."""
    left = 0
    """Lines that may still be of a key: what only speaks of one must not hide all that follows."""
    for line in lines:
        if left:
            left = 0 if _END.search(line) else left - 1
            continue
        left = MAX_KEY_LINES if _BEGIN.search(line) and not _END.search(line) else 0
        yield redact(line) + ("\n" if left and line.endswith("\n") else "")


def copy_redacted(output: IO[bytes], path: Path) -> threading.Thread:
    """Appends what a process prints to a file (mode 0600), without secrets, until it closes.

    In the parent, not in the process itself: the last words before a crash would be lost.

    Returns:
        The thread that does it; it ends when every holder of the other end has.
    """

    def copy() -> None:
        with os.fdopen(descriptor, "ab", buffering=0) as log:
            text = io.TextIOWrapper(output, encoding="utf-8", errors="replace", newline="")
            trouble = None
            for line in redacted_lines(iter(lambda: text.readline(MAX_LINE), "")):
                try:
                    log.write(line.encode("utf-8", "replace"))
                    trouble = None
                except OSError as error:  # a full disk: the process must not meet a broken pipe
                    if trouble is None:
                        _log.warning("%s: lines are not kept (%s)", path, error.strerror)
                    trouble = error

    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    thread = threading.Thread(target=copy, daemon=True)
    thread.start()
    return thread


class RedactingFormatter(logging.Formatter):
    """Log lines without secrets, tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


def secrets_in(value: Any, name: str = "", path: str = "") -> Iterator[str]:
    """Dotted keys of a JSON value under which a secret stands, references to variables apart."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from secrets_in(inner, str(key), f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for at, inner in enumerate(value):
            yield from secrets_in(inner, name, f"{path}.{at}")
    elif isinstance(value, str) and redact_values(value, name) != value:
        yield path


def remember(*values: str | None) -> None:
    """Makes `redact` hide these values from now on, in this process: secrets that came by a command
    line or a file, whatever they look like."""
    _remembered.update(v for v in values if v and len(v) >= MIN_VALUE)


def remember_uri(uri: str) -> None:
    """Remembers the password of a URI."""
    remember(*_passwords(uri))


def known_values() -> list[str]:
    """Values of secrets that this process has, the longest first: those of its environment (by the
    name of the variable, and passwords of URIs in any) and the remembered ones."""
    found = set(_remembered)
    for name, value in os.environ.items():
        if len(value) >= MIN_VALUE:
            # `GOOGLE_APPLICATION_CREDENTIALS`: a file's path is in messages, and no secret.
            if is_secret_key(name) and not value.startswith(("/", "$")):
                found.add(value)
            if "://" in value:
                found.update(p for p in _passwords(value) if len(p) >= MIN_VALUE)
    return sorted(found, key=len, reverse=True)


def _passwords(uri: str) -> tuple[str, ...]:
    """As written and as meant (`%40` is `@`)."""
    try:
        password = urlsplit(uri).password
    except ValueError:
        return ()
    return () if password is None else tuple({password, unquote(password)})


def _by_name(name: str, value: str) -> str:
    if not value or _REFERENCE.fullmatch(value):
        return value
    if "webhook" in name.lower() and value.startswith(("http://", "https://")):
        parts = urlsplit(value)
        return f"{parts.scheme}://{parts.hostname or ''}/{HIDDEN}"
    return HIDDEN


def _without_pairs(text: str) -> str:
    """The values of secrets' names hidden; other values are looked through: `Error: token=...`."""
    parts, at = [], 0
    while (match := _PAIR.search(text, at)) is not None:
        hidden = _hidden_pair(match)
        end = match.start("value") if hidden is None else match.end()
        parts.append(text[at:end] if hidden is None else text[at : match.start()] + hidden)
        at = end
    return "".join(parts) + text[at:]


def _hidden_pair(match: re.Match[str]) -> str | None:
    """`name=value` with the value hidden; None if the name is no secret's."""
    name, sep, value = match.group("name", "sep", "value")
    if not is_secret_key(name):
        return None
    bare = value.strip("'\"")
    if bare in _NOTHING or _DECIMAL.fullmatch(bare) or _REFERENCE.match(bare) or HIDDEN in bare:
        return match.group()
    if ":" in sep and not _at_start(match) and not _LOOKS_RANDOM.fullmatch(bare):
        return match.group()  # prose: `unexpected token: '}'`
    quote = value[0] if value[0] in "'\"" else ""
    return f"{name}{sep}{quote}{_by_name(name, bare)}{quote}"


def _at_start(match: re.Match[str]) -> bool:
    """The name begins a line of YAML, a header, an entry of a mapping, or what follows a colon."""
    before = match.string[max(0, match.start() - 40) : match.start()].rpartition("\n")[2]
    return before.strip(" \t-'\"") == "" or before.rstrip(" '\"")[-1:] in ("{", ",", "(", "[", ":")
