"""Changes of a text that leave its label alone: typos, casing, fillers, dropped words, punctuation,
templates. Pure and seeded; augmentation and robustness suites share them.

Numbers, negations and protected words are never touched. Whether a label survives a dropped word is
the user's to judge: what carries it can be protected. After Belinkov and Bisk (2018, "Synthetic and
natural noise both break neural machine translation") and Wei and Zou (2019, EDA, arXiv 1901.11196).
"""

import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Literal, get_args

from keepgain.core.identity import derive_seed

Kind = Literal["typos", "casing", "insertion", "deletion", "punctuation"]
KINDS: tuple[Kind, ...] = get_args(Kind)
SHARE = 0.15
"""Of the words that may be changed; at least one is."""
MIN_TYPO_LETTERS = 4
"""Shorter words become other words too easily."""
MIN_WORDS = 4
"""Deletion leaves at least so many words."""
_TRIES = 8

NEGATIONS = frozenset(
    # English, German, French, Spanish, Italian, Dutch, Portuguese
    "no not never none nobody nothing neither nor nowhere cannot without hardly barely scarcely "
    "except unless nein nicht nie niemals kein keine keinen keinem keiner keines nichts niemand "
    "weder noch ohne kaum außer non ne pas jamais rien aucun aucune personne ni sans sauf sin "
    "nunca nada nadie ningún ninguna ninguno jamás tampoco salvo mai nessuno nessuna niente nulla "
    "né senza niet geen nooit niets niemand zonder não nem nenhum nenhuma ninguém sem dont cant "
    "wont isnt doesnt didnt wasnt arent couldnt shouldnt wouldnt".split()
)
FILLERS: Mapping[str, tuple[str, ...]] = {
    "en": ("um", "uh", "well", "okay", "you know", "I mean"),
    "de": ("äh", "ähm", "also", "na ja", "sozusagen"),
    "fr": ("euh", "ben", "enfin", "tu vois"),
    "es": ("eh", "bueno", "pues", "o sea"),
}
"""Language → words that say nothing."""
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")

_WORD = re.compile(r"[^\W_]+(?:['’\-.][^\W_]+)*")
_TOKEN = re.compile(r"\S+")
_NO_WORD = re.compile(r"[\d¹²³\u2070-\u2089]|@|://")
"""Of a number with what is written to it (`-3.5`, `1,000`, `4th`, `AB-12`), or an address."""
_MARK = re.compile(r"[.,;:!?](?=\s|$)")
_SPACE = re.compile(r"(?<=\S) (?=\S)")
_SLOT = re.compile(r"\{([A-Za-z_]\w*)\}")

Span = tuple[int, int]


def _neighbours() -> dict[str, str]:
    """Letter → letters beside it on a QWERTY keyboard, rows offset by a quarter and a half key."""
    places = {
        letter: (x + 0.25 * y + 0.25 * (y == 2), float(y))
        for y, row in enumerate(_ROWS)
        for x, letter in enumerate(row)
    }
    return {
        one: "".join(
            other
            for other, (x, y) in places.items()
            if other != one and (x - places[one][0]) ** 2 + (y - places[one][1]) ** 2 < 1.7
        )
        for one in places
    }


NEIGHBOURS: Mapping[str, str] = _neighbours()


@dataclass(frozen=True)
class Protected:
    """What stays as it is, besides numbers, addresses and negations."""

    words: frozenset[str] = frozenset()
    """In lower case (`str.casefold`)."""
    patterns: tuple[re.Pattern[str], ...] = ()
    """Every match of them in the text."""

    def mask(self, text: str) -> bytes:
        """1 at each character that is not to be touched, else 0; one more 0 at the end."""
        mask = bytearray(len(text) + 1)
        if _NO_WORD.search(text):
            tokens = (m.span() for m in _TOKEN.finditer(text))
            _mark(mask, (s for s in tokens if _NO_WORD.search(text, *s)))
        for pattern in self.patterns:
            _mark(mask, (m.span() for m in pattern.finditer(text)))
        _mark(mask, (m.span() for m in _WORD.finditer(text) if self.holds(m.group())))
        return bytes(mask)

    def holds(self, word: str) -> bool:
        """True of a negation and of a protected word."""
        low = word.casefold()
        return low in self.words or is_negation(low)


def _mark(mask: bytearray, spans: Iterable[Span]) -> None:
    for begin, end in spans:
        mask[begin:end] = b"\1" * (end - begin)


@lru_cache(maxsize=1 << 16)
def is_negation(low: str) -> bool:
    """True of `no`, `don't`, `n'est`, `non-refundable`, in lower case."""
    return (
        low.endswith(("n't", "n’t"))
        or low.startswith(("n'", "n’"))
        or any(part in NEGATIONS for part in re.split(r"['’.\-]", low))
        or low in NEGATIONS
    )


NOTHING = Protected()


def words_of(*texts: str) -> frozenset[str]:
    """The words of some texts, as `Protected.words` takes them."""
    return frozenset(m.group().casefold() for text in texts for m in _WORD.finditer(text))


@dataclass(frozen=True)
class Settings:
    """How much is changed, and by what."""

    share: float = SHARE
    fillers: tuple[str, ...] = field(default=FILLERS["en"])


def perturb(
    text: str,
    kinds: Sequence[Kind],
    seed: int,
    protected: Protected = NOTHING,
    settings: Settings | None = None,
) -> str:
    """The text, changed by each kind in turn; equal arguments give equal texts.

    Args:
        text: Of any length.
        kinds: E.g. `("typos", "casing")`.
        seed: Any number.
        protected: What is not to be touched.
        settings: How much.

    Returns:
        The text itself where there is nothing to change.
    """
    settings = settings or Settings()
    for position, kind in enumerate(kinds):
        rng = random.Random(derive_seed(seed, position, kind))
        text = _CHANGES[kind](text, rng, protected, settings)
    return text


def _typos(text: str, rng: random.Random, protected: Protected, settings: Settings) -> str:
    words = [w for w in _open_words(text, protected) if w[1] - w[0] >= MIN_TYPO_LETTERS]
    chosen = _some(words, settings.share, rng)
    return _replaced(text, chosen, partial(_misspelt, rng=rng, protected=protected))


def _misspelt(word: str, rng: random.Random, protected: Protected) -> str:
    """With one slip behind the first letter; the word itself where each made a protected one."""
    for _ in range(_TRIES):
        made = rng.choice(_SLIPS)(word, rng.randrange(1, len(word)), rng)
        if made != word and not protected.holds(made):
            return made
    return word


def _beside(word: str, at: int, rng: random.Random) -> str:
    near = NEIGHBOURS.get(word[at].lower())
    if near is None:
        return word
    letter = rng.choice(near)
    return word[:at] + (letter.upper() if word[at].isupper() else letter) + word[at + 1 :]


def _swapped(word: str, at: int, _: random.Random) -> str:
    at = min(at, len(word) - 2)
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]


def _dropped(word: str, at: int, _: random.Random) -> str:
    return word[:at] + word[at + 1 :]


def _doubled(word: str, at: int, _: random.Random) -> str:
    return word[: at + 1] + word[at:]


_SLIPS: tuple[Callable[[str, int, random.Random], str], ...] = (
    _beside,
    _swapped,
    _dropped,
    _doubled,
)


def _casing(text: str, rng: random.Random, protected: Protected, settings: Settings) -> str:
    """All in lower case, in capitals, with capitals at the beginnings, or some words in capitals;
    the first of them, in drawn order, that changes something."""
    words = _open_words(text, protected)
    some = _some(words, settings.share, rng)
    ways: list[tuple[list[Span], Callable[[str], str]]] = [
        (words, str.lower),
        (words, str.upper),
        (words, str.capitalize),
        (some, str.swapcase),
    ]
    rng.shuffle(ways)
    made = (_replaced(text, spans, partial(_same_letters, change)) for spans, change in ways)
    return next((m for m in made if m != text), text)


def _same_letters(change: Callable[[str], str], word: str) -> str:
    """Changed in case alone: not where a script has letters whose cases are spelt differently."""
    made = change(word)
    return made if made.casefold() == word.casefold() else word


def _insertion(text: str, rng: random.Random, protected: Protected, settings: Settings) -> str:
    fillers = [f for f in settings.fillers if not words_of(f) & protected.words]
    kept = protected.mask(text)
    # Nor beside a protected part: `not paid` stays together.
    spaces = (m.span() for m in _SPACE.finditer(text))
    places = [(b, e) for b, e in spaces if _is_free((b - 1, e + 1), kept)]
    if not fillers:
        return text
    chosen = _some(places, settings.share, rng)
    return _replaced(text, chosen, lambda space: f" {rng.choice(fillers)} ")


def _deletion(text: str, rng: random.Random, protected: Protected, settings: Settings) -> str:
    """Words with the space before them; the first word stays."""
    total = len(_WORD.findall(text))
    words = [(b - 1, e) for b, e in _open_words(text, protected) if text[:b].endswith(" ")]
    most = min(max(1, round(settings.share * len(words))), total - MIN_WORDS)
    chosen = sorted(rng.sample(words, min(most, len(words)))) if most > 0 else []
    return _replaced(text, chosen, lambda _: "")


def _punctuation(text: str, rng: random.Random, protected: Protected, settings: Settings) -> str:
    """Marks left out or doubled, spaces widened."""
    kept = protected.mask(text)
    # A mark at the end of a protected part is not in it.
    spans = (m.span() for p in (_MARK, _SPACE) for m in p.finditer(text))
    marks = [(b, e) for b, e in spans if not (kept[b] and kept[e])]
    chosen = _some(sorted(marks), settings.share, rng)

    def change(mark: str) -> str:
        return "  " if mark == " " else rng.choice(("", mark * 2))

    return _replaced(text, chosen, change)


_CHANGES: Mapping[Kind, Callable[[str, random.Random, Protected, Settings], str]] = {
    "typos": _typos,
    "casing": _casing,
    "insertion": _insertion,
    "deletion": _deletion,
    "punctuation": _punctuation,
}


def _open_words(text: str, protected: Protected) -> list[Span]:
    """Words of letters that have cases (in other scripts a run of letters is more than a word)
    and that nothing protects."""
    kept = protected.mask(text)
    return [
        m.span()
        for m in _WORD.finditer(text)
        if (word := m.group()).lower() != word.upper() and _is_free(m.span(), kept)
    ]


def _is_free(span: Span, kept: bytes) -> bool:
    return kept.find(1, *span) < 0


def _some(spans: Sequence[Span], share: float, rng: random.Random) -> list[Span]:
    """A drawn share of them, at least one of any, in their order."""
    count = min(len(spans), max(1, round(share * len(spans))))
    return sorted(rng.sample(list(spans), count))


def _replaced(text: str, spans: Iterable[Span], change: Callable[[str], str]) -> str:
    """With the parts changed; they are in order and do not overlap."""
    parts, at = [], 0
    for begin, end in spans:
        parts += [text[at:begin], change(text[begin:end])]
        at = end
    return "".join(parts) + text[at:]


def slot_names(template: str) -> list[str]:
    """Names of the slots `{name}` of a template; other braces are text."""
    return _SLOT.findall(template)


def read_slots(template: str, text: str) -> dict[str, str] | None:
    """What stands in the slots of a template in a text that was made from it.

    Returns:
        Slot → text, each as short as it can be and never empty; None: the text is no such one.
    """
    first, *parts = _SLOT.split(template)  # text, name, text, name, ..., text
    if not text.startswith(first):
        return None
    # Each text behind a slot is taken where it comes first. A regular expression finds the same,
    # in a time that grows with the power of the number of slots.
    found, at = {}, len(first)
    for number, (name, after) in enumerate(zip(parts[::2], parts[1::2], strict=True), 1):
        if 2 * number < len(parts):
            end = text.find(after, at + 1)
        else:
            end = len(text) - len(after) if text.endswith(after) else -1
        if end <= at:
            return None
        found[name], at = text[at:end], end + len(after)
    return found if at == len(text) else None


def fill(template: str, slots: Mapping[str, str]) -> str:
    """The template with its slots filled.

    Raises:
        KeyError: A slot has no text.
    """
    return _SLOT.sub(lambda m: slots[m.group(1)], template)
