"""Trials, suites and base models by what a person types: a label or the first digits of an id."""

import difflib
import re
from collections.abc import Iterable, Sequence

from keepgain.analysis import words
from keepgain.analysis.result import Row
from keepgain.core.errors import UserError
from keepgain.core.record import short_id

_BETWEEN = re.compile(r"[\s/_-]+")
MAX_NAMED = 6


def find_row(rows: Sequence[Row], given: str) -> Row:
    """The one row that is meant.

    An id or label counts in full before any beginning of one does; case, and `-`, `_` or `/` for a
    blank, make no difference (`s-base` is `s base`).

    Raises:
        UserError: None or several, naming the nearest ones or those that it could be.
    """
    wanted = _plain(given)
    names = [[_plain(r.who.trial_id), _plain(r.who.label)] for r in rows]
    exact = [r for r, own in zip(rows, names, strict=True) if wanted in own]
    begun = [
        r for r, own in zip(rows, names, strict=True) if any(n.startswith(wanted) for n in own)
    ]
    found = exact or begun
    if len(found) == 1:
        return found[0]
    if found:
        raise UserError(
            f"'{words.clean(given)}' may be any of {_named(r.who.label for r in found)}.",
            hint="Give more of the label, or of the id.",
        )
    known = {name: r.who.label for r in rows for name in (r.who.label, short_id(r.who.trial_id))}
    near = [known[n] for n in difflib.get_close_matches(given, known, n=3, cutoff=0.5)]
    hint = f"Nearest: {_named(near)}." if near else f"Known: {_named(r.who.label for r in rows)}."
    raise UserError(f"no trial, base or reference arm '{words.clean(given)}'.", hint=hint)


def find_name(what: str, given: str, known: Sequence[str]) -> str:
    """`given` if it is known.

    Raises:
        UserError: It is not, naming the nearest ones, or all if none is near.
    """
    if given in known:
        return given
    near = difflib.get_close_matches(given, known, n=3, cutoff=0.5)
    hint = f"Nearest: {_named(near)}." if near else f"Known: {_named(known)}."
    raise UserError(f"no {what} '{words.clean(given)}'.", hint=hint)


def _plain(name: str) -> str:
    return _BETWEEN.sub(" ", name.casefold()).strip()


def _named(names: Iterable[str]) -> str:
    found = list(dict.fromkeys(words.clean(n) for n in names))
    rest = len(found) - MAX_NAMED
    return ", ".join(found[:MAX_NAMED]) + (f" and {rest} more" if rest > 0 else "")
