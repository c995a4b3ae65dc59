"""What makes an item one of verbatim extraction: a training row up to a prefix, and what follows.

The item is the row itself, as it was trained on, with what follows the prefix as its answer (of a
plain text: as its text). `begun` is the prefix of the answer, or of the text; the question of a
pair or chat comes before it as it always does.
"""

from keepgain.core.rows import Row
from keepgain.core.scorer_options import ScorerOptions

BEGUN, PREFIX_WORDS, SEEN = "begun", "prefix_words", "seen"
"""Keys of an item: text that is given to the model beyond the question; its words; whether the row
is a training row (true) or a held-out one (false)."""
FACTS = (BEGUN, PREFIX_WORDS, SEEN)


def reference(row: Row) -> str:
    """What the loss is on: the answer, of a plain text all of it. Of an item of extraction these
    are the words that are to come out."""
    return row.text if row.kind == "text" else row.answer


def extraction_fault(row: Row, _: ScorerOptions | None) -> str | None:
    """An item must say what is given of it, and have a word left to be extracted."""
    begun, words, seen = (row.fact(name) for name in FACTS)
    if not isinstance(begun, str):
        return f"`{BEGUN}` is {'missing' if begun is None else repr(begun)[:40]}; give a text."
    if not isinstance(words, int) or isinstance(words, bool) or words != len(begun.split()):
        return f"`{PREFIX_WORDS}` is {words!r:.40}, and `{BEGUN}` has {len(begun.split())} words."
    if not isinstance(seen, bool):
        return f"`{SEEN}` is {seen!r:.40}; allowed are true (a training row) and false."
    if row.kind == "text" and not begun.strip():
        return f"`{BEGUN}` is empty, and plain text has no question to go on from."
    return None if reference(row).split() else "no word is left to be extracted."
