"""Near copies: edits of a text that leave its meaning, each as strong as people make them."""

import random
import re
from collections.abc import Callable

SYNONYMS = {
    "return": "give back",
    "returns": "gives back",
    "use": "employ",
    "used": "employed",
    "using": "by means of",
    "values": "figures",
    "value": "figure",
    "function": "routine",
    "method": "procedure",
    "create": "make",
    "creates": "makes",
    "given": "supplied",
    "if": "in case",
    "only": "solely",
    "default": "standard",
    "must": "has to",
    "should": "ought to",
    "may": "might",
    "also": "as well",
    "all": "every one of the",
    "because": "since",
    "number": "count",
    "set": "group",
    "whether": "if",
    "object": "thing",
    "because of": "owing to",
    "contains": "holds",
    "current": "present",
    "get": "fetch",
    "new": "fresh",
    "first": "initial",
    "not": "never",
    "when": "once",
    "other": "further",
    "result": "outcome",
    "results": "outcomes",
    "example": "instance",
    "same": "identical",
    "however": "yet",
    "allows": "lets",
    "provides": "offers",
    "error": "fault",
    "list": "series",
    "specified": "stated",
    "the": "this",
}
_BEFORE = (
    "Please note the following.",
    "I found this in the handbook and copy it here.",
    "As was said in an earlier message:",
    "Hello, here is what we know so far about it.",
    "From the wiki:",
)
_AFTER = (
    "Thanks for reading, and let me know what you think.",
    "That is all that the page says.",
    "Hope this helps!",
    "See the other chapters for more.",
    "End of the quotation, sent from my phone.",
)
_KEYS = "qwertyuiopasdfghjklzxcvbnm"


def sentences(text: str) -> list[str]:
    """Split where a full stop, question or exclamation mark is followed by a capital."""
    return re.split(r"(?<=[.!?])\s+(?=[A-Z])", text)


def _chosen(words: list[str], share: float, rng: random.Random, least: int = 1) -> list[int]:
    fit = [i for i, w in enumerate(words) if len(w) > 3 and w.isalpha()]
    return rng.sample(fit, min(len(fit), max(least, round(share * len(words)))))


def typos(text: str, rng: random.Random) -> str:
    """One slip of the keyboard in 4 % of the words: a letter swapped, dropped, doubled, wrong."""
    words = text.split(" ")
    for index in _chosen(words, 0.04, rng):
        word = words[index]
        at = rng.randrange(1, len(word) - 1)
        slip = rng.randrange(4)
        middle = (word[at + 1] + word[at], word[at + 1], word[at] * 2 + word[at + 1])
        changed = rng.choice(_KEYS.replace(word[at].lower(), "")) + word[at + 1]
        words[index] = word[:at] + (*middle, changed)[slip] + word[at + 2 :]
    return " ".join(words)


def synonyms(text: str, rng: random.Random) -> str:
    """Up to 8 % of the words, those that the table has; at least one where it has any."""
    words = text.split(" ")
    fit = [i for i, w in enumerate(words) if w in SYNONYMS]
    for index in rng.sample(fit, min(len(fit), max(1, round(0.08 * len(words))))):
        words[index] = SYNONYMS[words[index]]
    return " ".join(words)


def casing(text: str, rng: random.Random) -> str:
    """All small, all capitals, or each word with a capital."""
    return rng.choice([str.lower, str.upper, str.title])(text)


def punctuation(text: str, rng: random.Random) -> str:
    """Commas and full stops dropped, or other marks put in their place."""
    if rng.random() < 0.5:
        return re.sub(r"[.,;:]", "", text)
    return text.replace(",", ";").replace(". ", "! ").replace(".", " ...")


def white_space(text: str, rng: random.Random) -> str:
    """Lines broken at 60 characters, double blanks, or no-break spaces."""
    choice = rng.randrange(3)
    if choice == 0:
        return re.sub(r"(.{40,60}?) ", r"\1\n", text)
    return text.replace(" ", "  " if choice == 1 else "\u00a0")


def reordered(text: str, rng: random.Random) -> str:
    """Sentences in another order, or halves around a comma where there is only one sentence."""
    parts = sentences(text)
    if len(parts) == 1:
        first, _, last = text.removesuffix(".").partition(", ")
        return f"{last}, {first}." if last else text
    other = parts
    while other == parts:
        other = rng.sample(parts, len(parts))
    return " ".join(other)


def framed(text: str, rng: random.Random) -> str:
    """A sentence before it, behind it, or both."""
    before, after = rng.choice([(1, 0), (0, 1), (1, 1)])
    text = f"{rng.choice(_BEFORE)} {text}" if before else text
    return f"{text} {rng.choice(_AFTER)}" if after else text


def truncated(text: str, rng: random.Random) -> str:
    """The last 10 to 20 % of the words are gone."""
    words = text.split()
    return " ".join(words[: len(words) - max(1, round(len(words) * rng.uniform(0.1, 0.2)))])


def mixed(text: str, rng: random.Random) -> str:
    """Typos, other white space and other punctuation at once."""
    return white_space(punctuation(typos(text, rng), rng), rng)


EDITS: dict[str, Callable[[str, random.Random], str]] = {
    "typos": typos,
    "synonyms": synonyms,
    "casing": casing,
    "punctuation": punctuation,
    "white space": white_space,
    "reordered": reordered,
    "framed": framed,
    "truncated": truncated,
    "mixed": mixed,
}


def near_copy(text: str, edit: str, rng: random.Random) -> str:
    """The edited text; typos in it where the edit would leave it as it is.

    Blanks are made plain first, so that edits of words work on what others have edited.
    """
    text = " ".join(text.split())
    changed = EDITS[edit](text, rng)
    return changed if changed != text else typos(text, rng)
