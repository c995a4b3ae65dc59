"""Which rewritten texts may stand for the original: what was lost, said twice, or is an item."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from keepgain.core.endpoint.messages import Answer, Refused
from keepgain.core.perturb import Protected
from keepgain.core.rows import Row
from keepgain.core.whole_words import whole_words
from keepgain.sweeps.augment.questions import asked_text
from keepgain.sweeps.gates.patterns import PATTERN_SECONDS, stopped_after
from keepgain.sweeps.gates.shingles import HashSet, hash_words, normal
from keepgain.sweeps.gates.sketches import Content, are_near, content, phrases

SHORTER, LONGER = 1 / 3, 3.0
"""A text that is so much shorter or longer than the original is something else."""
SHORT_TEXT = 20
"""Characters that are added to both lengths, so that two short texts are not told apart by it."""
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_QUOTES = (('"', '"'), ("“", "”"), ("„", "“"), ("«", "»"))


def cleaned(text: str, original: str) -> str:
    """An answer without the white space and the quotes that models put around it."""
    text = text.strip()
    for begin, end in _QUOTES:
        quoted = len(text) > 1 and text.startswith(begin) and text.endswith(end)
        if quoted and not original.strip().startswith(begin):
            return text[1:-1].strip()
    return text


def parts_to_keep(row: Row, protected: Protected) -> tuple[str, ...]:
    """Words of the question that must be in another wording of it too: entities, words of groups,
    and the answer and choices where the question holds them."""
    question = asked_text(row)
    with stopped_after(PATTERN_SECONDS, "data_spec.entities"):
        kept = [m.group() for p in protected.patterns for m in p.finditer(question)]
    kept += [w for w in re.findall(r"\w+", question) if w.casefold() in protected.words]
    answers = map(str.strip, (row.answer, *row.choices))
    kept += [a for a in answers if whole_words(a, ignore_case=True).search(question)]
    return tuple(dict.fromkeys(w for w in kept if w.strip()))


def fault(given: Answer | Refused, text: str, row: Row, keep: Sequence[str]) -> str | None:
    """Why a rewritten text cannot be used; None if it can, as far as a program sees.

    Args:
        given: What the endpoint said last.
        text: That, cleaned.
        row: The original.
        keep: Of `parts_to_keep`.
    """
    if isinstance(given, Refused):
        return f"refused: {given.reason}"
    original = asked_text(row)
    low = text.casefold()
    ratio = (len(text) + SHORT_TEXT) / (len(original) + SHORT_TEXT)
    lost = next((w for w in keep if w.casefold() not in low), None)
    missing = Counter(_NUMBER.findall(original)) - Counter(_NUMBER.findall(text))
    checks = (
        (not text, "empty"),
        (not given.is_whole, "cut: the answer reached `max_tokens`"),
        (given.finish == "content_filter", "filtered by the endpoint"),
        (normal(text) == normal(original), "same: it is the original"),
        (lost is not None, f"lost: '{lost}'"),
        (bool(missing), f"lost: the number {next(iter(missing), '')}"),
        (not SHORTER < ratio < LONGER, f"length: {ratio:.2g} times the original"),
    )
    return next((says for holds, says in checks if holds), None)


class Items:
    """Questions of suites, to be recognised in what was written.

    Args:
        rows: All items.
        learnt: Rows of the source: what many of them share (a template) is no likeness.
    """

    def __init__(self, rows: Iterable[Row], learnt: Sequence[Row]) -> None:
        texts = [normal(_text(row)) for row in rows]
        self._texts = set(texts)
        self._ignored = HashSet(np.asarray(phrases(learnt)))
        self._contents = [self._content(text) for text in texts]
        self._with: dict[int, list[int]] = defaultdict(list)
        for index, one in enumerate(self._contents):
            for shingle in one.close:
                self._with[shingle].append(index)

    def has(self, text: str) -> bool:
        """True of an item's question, and of what is nearly one."""
        low = normal(text)
        if low in self._texts:
            return True
        said = self._content(low)
        near = {i for shingle in said.close for i in self._with.get(shingle, ())}
        return any(are_near(said, self._contents[i]) for i in near)

    def _content(self, text: str) -> Content:
        return content(hash_words([text]), self._ignored)


def _text(row: Row) -> str:
    return row.text if row.kind == "text" else asked_text(row)
