"""Users' regular expressions for what models write: none that could match for ever.

`re` cannot be given a time limit in a thread, and a worker scores in one. So the time is bounded
beforehand: texts are cut at a length, and the ways in which a pattern can match a text of that
length are counted on its parse tree. One with too many, as a repeat within a repeat (`(a+)+`), is
refused where it is read.

The count is an upper bound, and would refuse what names and numbers are usually found with, as
`[A-Z]\\w+(?: [A-Z]\\w+)*`. Patterns of that kind are matched by `regex`, which looks at the clock
(`texts_found`), and end with an error.
"""

import importlib
import math
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import regex

from keepgain.core.errors import UserError

MAX_PATTERN_CHARACTERS = 1_000
MAX_WAYS = 1e8
"""Steps of the matcher at the worst: about a second for one answer."""
SECONDS = 5.0
"""For one pattern on one answer, where the clock is looked at."""
ENDLESS = (
    "A repeat within a repeat, as in `(a+)+`, can take for ever: write it so that each character "
    "can be matched in one way only."
)
"""What to do about a pattern that took too long."""
_SIMPLE = {"LITERAL", "NOT_LITERAL", "ANY", "IN", "AT", "GROUPREF", "FAILURE"}


def pattern_fault(pattern: str, characters: int, anywhere: bool) -> str | None:
    """What keeps a pattern from being used, in words; None where nothing does.

    Args:
        pattern: As `re` has it.
        characters: So much of a text is looked at.
        anywhere: It is searched for; else it must match from the beginning.
    """
    if len(pattern) > MAX_PATTERN_CHARACTERS:
        return f"a pattern may have {MAX_PATTERN_CHARACTERS} characters"
    try:
        matches_nothing = compiled(pattern).search("") is not None
        # The parser of `re` has no public name; `sre_parse`, its old one, is deprecated.
        tree = importlib.import_module("re._parser").parse(pattern)
    except (re.error, ValueError) as error:  # ValueError: flags that exclude each other
        return f"is no regular expression of Python's `re` ({error})"
    except (OverflowError, RecursionError) as error:
        return f"the pattern is too large ({error})"
    if anywhere and matches_nothing:
        return "the pattern matches the empty text, and so every answer"
    if ways(tree, characters) * (characters if anywhere else 1) > MAX_WAYS:
        return (
            "the pattern can match in too many ways, and could take for ever on some answer; "
            "bound its repeats (`.{0,40}` for `.*`), make them possessive (`\\w++`), and leave no "
            "repeat within a repeat"
        )
    return None


@lru_cache(maxsize=512)
def compiled(pattern: str, ignore_case: bool = True) -> re.Pattern[str]:
    """As `re` compiles it."""
    return re.compile(pattern, re.IGNORECASE if ignore_case else 0)


def texts_found(pattern: str, text: str) -> Iterator[str]:
    """Every match of a pattern in a text, of any length, in order.

    Raises:
        UserError: Matching took more than `SECONDS`.
    """
    try:
        for found in _timed(pattern).finditer(text, timeout=SECONDS):
            yield found.group()
    except TimeoutError:
        raise UserError(
            f"the pattern {pattern!r:.60} took more than {SECONDS:g} s on the answer {text!r:.60}.",
            hint=ENDLESS,
        ) from None


def timed_fault(pattern: str) -> str | None:
    """What keeps `texts_found` from using a pattern that `re` takes; None where nothing does."""
    try:
        _timed(pattern)
    except regex.error as error:
        return f"is no regular expression of the package `regex` ({error})"
    return None


@lru_cache(maxsize=512)
def _timed(pattern: str) -> regex.Pattern[str]:
    return regex.compile(pattern)


def ways(tree: Iterable[tuple[Any, Any]], longest: int) -> float:
    """In how many ways, at most, a parsed pattern can match at one place of a text.

    Args:
        tree: Of `re._parser.parse`.
        longest: Characters of the text.
    """
    return math.prod(_ways(str(name), value, longest) for name, value in tree)


def _ways(name: str, value: Any, longest: int) -> float:
    if name in _SIMPLE:
        return 1.0
    if name == "SUBPATTERN":
        return ways(value[3], longest)
    if name in ("ASSERT", "ASSERT_NOT"):
        return ways(value[1], longest)
    if name == "ATOMIC_GROUP":
        return ways(value, longest)
    if name == "BRANCH":
        return _of_branches(value[1], longest)
    if name == "GROUPREF_EXISTS":
        return sum(ways(part, longest) for part in value[1:] if part is not None)
    if name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
        low, high, body = value
        return _of_repeat(low, high, body, longest, gives_back=name != "POSSESSIVE_REPEAT")
    return math.inf  # an operation of a later Python


def _of_repeat(low: Any, high: Any, body: Any, longest: int, gives_back: bool) -> float:
    inner = ways(body, longest)
    most = min(int(high), longest // max(1, body.getwidth()[0]))
    counts = max(1.0, most - int(low) + 1.0) if gives_back else 1.0
    if inner == 1 or most == 0:
        return counts
    if most * math.log(inner) > math.log(MAX_WAYS):
        return math.inf
    return float(counts * inner**most)


def _of_branches(branches: list[Any], longest: int) -> float:
    """At one place only one of several can match where each begins with another letter."""
    found = [ways(branch, longest) for branch in branches]
    firsts = [branch[0] if len(branch) else ("", None) for branch in branches]
    letters = {chr(int(v or 0)).lower() for name, v in firsts if str(name) == "LITERAL"}
    return max(found) if len(letters) == len(branches) else sum(found)
