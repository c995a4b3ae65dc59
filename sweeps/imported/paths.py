"""Columns of nested rows: `train_info.metrics.-1.test accuracy` names a value by its path.

A path is a key or several with dots between, and indices of lists, negative ones from the end. Keys
may hold dots themselves: where several readings fit, the longest key goes first, so that a column
that is literally called `a.b` is found before `b` within `a`. Text that is a JSON object or list,
or a Python one (what `DataFrame.to_csv` makes of a W&B summary), is looked into.
"""

import ast
import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

MISSING = object()
"""Answer for a path that leads nowhere; None is a value."""
MAX_COLUMNS = 2_000
"""Of one row that are named as known: enough for any table, and bounded for any file."""


def find(row: Any, path: str) -> Any:
    """The value at a path, or `MISSING`."""
    return _walk(row, path.split("."))


def _walk(value: Any, parts: Sequence[str]) -> Any:
    if not parts:
        return value
    if isinstance(value, str):
        value = _parsed(value)
    if isinstance(value, Mapping):
        for length in range(len(parts), 0, -1):
            key = ".".join(parts[:length])
            if key in value:
                found = _walk(value[key], parts[length:])
                if found is not MISSING:
                    return found
    elif isinstance(value, list):
        at = _index(parts[0])
        if at is not None and -len(value) <= at < len(value):
            return _walk(value[at], parts[1:])
    return MISSING


def _index(part: str) -> int | None:
    digits = part.removeprefix("-")
    return int(part) if digits.isascii() and digits.isdigit() and len(digits) < 10 else None


def _parsed(text: str) -> Any:
    """The object or list that a cell holds as text, else None."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None


def columns(row: Mapping[str, Any]) -> list[str]:
    """Paths of the row's figures and texts, in its order; of a list, those of its last entry."""
    found: list[str] = []
    stack: list[tuple[str, Any]] = [(str(k), v) for k, v in reversed(list(row.items()))]
    while stack and len(found) < MAX_COLUMNS:
        path, value = stack.pop()
        inner = _parsed(value) if isinstance(value, str) else value
        if isinstance(inner, Mapping) and inner:
            stack += [(f"{path}.{k}", v) for k, v in reversed(list(inner.items()))]
        elif isinstance(inner, list) and inner:
            stack.append((f"{path}.-1", inner[-1]))
        else:
            found.append(path)
    return found


def nearest(path: str, known: Iterable[str]) -> str:
    """`Nearest: a, b.` or what there is, for a message about an unknown column."""
    names = list(dict.fromkeys(known))
    # By the last part as well: `accuracy` is meant by many a long path.
    near = difflib.get_close_matches(path, names, n=3, cutoff=0.5)
    tails = {n: n.rpartition(".")[2].lower() for n in names}
    wanted = path.rpartition(".")[2].lower()
    near += [n for n in names if wanted in tails[n] or (tails[n] and tails[n] in wanted)]
    near = list(dict.fromkeys(near))[:3]
    if near:
        return f"Nearest: {', '.join(repr(n) for n in near)}."
    shown = ", ".join(repr(n) for n in names[:8])
    return f"Columns: {shown}{', ...' if len(names) > 8 else ''}."
