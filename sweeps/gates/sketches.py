"""Pairs of texts that share runs of words: found by sketches, then looked at in full.

A sketch keeps the shingles (runs of 5 words) of a text whose hash is below a bound, about 48 of
them: Broder's modulo sketch (1997, "On the resemblance and containment of documents", section 4).
A sketch of minima (MinHash) estimates resemblance alone, and cannot see that a text is contained in
a longer one. Texts with shingles in common stand side by side in one sorted array of sketches.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from keepgain.core.rows import Row
from keepgain.sweeps.gates.scan import Array, Arrays
from keepgain.sweeps.gates.shingles import (
    Hashes,
    HashSet,
    Ints,
    Mask,
    Words,
    hash_words,
    many_rows,
    normal,
    row_text,
    shingles,
    text_hash,
)

SHINGLE = 5
"""Words of the shingles that candidates are found by: few texts share one by chance."""
CLOSE = 3
"""Words of the shingles that candidates are compared by: a changed word takes 3 of them away."""
SKETCH = 48
MIN_WORDS = 12
"""A text with fewer words, phrases apart, is compared as a whole only."""
SHORT = 20
"""Words below which one other word may make another question of a text."""
PHRASE_ROWS = 10_000
"""Rows that phrases are learnt from, drawn with a fixed seed."""
SAMPLE_CHARACTERS = 40_000_000
"""Of a sample of rows that are looked at together: of books, a thousand take gigabytes."""
_BLOCK = 2_000_000


def phrases(rows: Sequence[Row]) -> Hashes:
    """Shingles in so many rows that they are nobody's content: instructions, templates, idioms.

    Of a sample of long files, and of texts that differ: a copied row is no phrase.
    """
    texts = {normal(row_text(row)) for row in sampled_rows(rows, PHRASE_ROWS)}
    found = hash_words(sorted(texts))
    whole = found.left >= SHINGLE
    begun, of_text = shingles(found, SHINGLE)[whole], found.text[whole]
    order = np.lexsort((of_text, begun))
    begun, of_text = begun[order], of_text[order]
    first = np.ones(len(begun), dtype=np.bool_)
    first[1:] = (begun[1:] != begun[:-1]) | (of_text[1:] != of_text[:-1])
    values, counts = np.unique(begun[first], return_counts=True)
    return values[counts > many_rows(len(texts))]


def sample(rows: int, most: int) -> Ints:
    """Positions of at most so many rows, ascending, the same in every run."""
    if rows <= most:
        return np.arange(rows)
    return np.sort(np.random.default_rng(0).choice(rows, most, replace=False))


def sampled_rows(rows: Sequence[Row], most: int) -> list[Row]:
    """Those of `sample`, or fewer where they are long: about `SAMPLE_CHARACTERS` in all."""
    places = sample(len(rows), most)
    taken, characters = [], 0
    for i in np.random.default_rng(0).permutation(len(places)).tolist():
        row = rows[int(places[i])]
        taken.append((i, row))
        characters += len(row_text(row))
        if characters > SAMPLE_CHARACTERS:
            break
    return [row for _, row in sorted(taken, key=lambda one: one[0])]


def own_words(of: Words, begun: Hashes, ignored: HashSet) -> Mask:
    """False at words inside of a phrase.

    Args:
        of: Words of some texts.
        begun: Shingles of `SHINGLE` words that begin at each.
        ignored: Phrases.
    """
    inside = np.zeros(len(begun), dtype=np.bool_)
    places, _ = ignored.find(begun)
    places = places[of.left[places] >= SHINGLE]
    for step in range(SHINGLE):
        inside[places + step] = True
    return ~inside


@dataclass(frozen=True)
class SketchProbe:
    """Hash and sketch of each row's text: some 400 bytes a row of 100 words."""

    ignored: HashSet
    """Phrases."""
    name: str = "sketches"

    def measure(self, rows: Sequence[Row]) -> Mapping[str, Array]:
        """`text`: hash of the normalised text; `sketch` (flat) with `sizes`; `shingles`: how many
        the text has, phrases apart."""
        texts = [normal(row_text(row)) for row in rows]
        found = hash_words(texts)
        begun = shingles(found, SHINGLE)
        own = own_words(found, begun, self.ignored)
        kept = (found.left >= SHINGLE) & own
        counts = found.per_text(kept)
        kept[found.per_text(own)[found.text] < MIN_WORDS] = False
        share = np.minimum(1.0, SKETCH / np.maximum(counts, 1))
        kept &= begun / 2.0**64 < share[found.text]
        return {
            "text": np.array([text_hash(t) for t in texts], dtype=np.uint64),
            "sketch": begun[kept],
            "sizes": found.per_text(kept).astype(np.int32),
            "shingles": counts.astype(np.int32),
        }


@dataclass(frozen=True)
class Candidates:
    """Pairs of rows, the first before the second."""

    first: Ints
    second: Ints
    resemblance: npt.NDArray[np.float64]
    """Share of the shorter text's shingles that the other one has, as far as the sketches tell."""


def candidates(measured: Sequence[Arrays], once: Mask, most: int) -> tuple[Candidates, int]:
    """Pairs whose sketches have two shingles and a twelfth of the shorter text in common.

    Of a shingle that many rows have, each row is paired with the next two: a group of copies is
    held together by the many shingles that they share.

    Args:
        measured: What `SketchProbe` found in each set of rows.
        once: False for rows that are left out, of shape [rows of all sets].
        most: Pairs that are returned, those that resemble most.

    Returns:
        The pairs in the order of their rows, and how many there were.
    """
    bits = np.uint64(max(len(once) - 1, 1).bit_length())
    packed, shared = _repeated(_paired(_entries(measured, once, bits), bits))
    first = (packed >> np.uint64(32)).astype(np.int64)
    second = (packed & np.uint64(2**32 - 1)).astype(np.int64)
    shingles_of = np.concatenate([m["shingles"] for m in measured])
    few = np.minimum(shingles_of[first], shingles_of[second]).astype(float)
    many = np.maximum(shingles_of[first], shingles_of[second])
    resemblance = np.minimum(1.0, shared / (few * np.minimum(1.0, SKETCH / many)))
    kept = np.flatnonzero(resemblance >= 1 / 12)
    total = len(kept)
    if total > most:
        kept = np.sort(kept[np.argsort(-resemblance[kept], kind="stable")[:most]])
    return Candidates(first[kept], second[kept], resemblance[kept]), total


def _entries(measured: Sequence[Arrays], once: Mask, bits: np.uint64) -> Hashes:
    """The upper bits of each hash with the row in the lower ones, ascending: one array, sorted in
    place, since a million rows have some 48 million of them."""
    sizes = np.concatenate([m["sizes"] for m in measured])
    row = np.repeat(np.arange(len(sizes), dtype=np.uint32), sizes)
    entries = np.concatenate([m["sketch"] for m in measured])
    entries >>= bits
    entries <<= bits
    entries |= row
    entries = entries[once[row]]
    entries.sort()
    return entries


def _paired(entries: Hashes, bits: np.uint64) -> Hashes:
    """Rows of neighbouring entries with the same hash, two in one number; ascending."""
    pairs = np.empty(sum(map(len, _neighbours(entries, bits))), dtype=np.uint64)
    end = 0
    for some in _neighbours(entries, bits):
        pairs[end : end + len(some)] = some
        end += len(some)
    pairs.sort()
    return pairs


def _neighbours(entries: Hashes, bits: np.uint64) -> Iterator[Hashes]:
    rows = np.uint64((1 << int(bits)) - 1)
    for step in (1, 2):
        for begin in range(0, max(len(entries) - step, 0), _BLOCK):
            other = entries[begin + step : begin + step + _BLOCK]
            one = entries[begin : begin + len(other)]
            same = (one >> bits == other >> bits) & (one != other)
            yield ((one[same] & rows) << np.uint64(32)) | (other[same] & rows)


def _repeated(ascending: Hashes) -> tuple[Hashes, Ints]:
    """The values that come at least twice, and how often."""
    again = np.zeros(len(ascending) + 1, dtype=np.bool_)
    again[1:-1] = ascending[1:] == ascending[:-1]
    begins = np.flatnonzero(~again[:-1] & again[1:])
    values = ascending[begins]
    return values, np.searchsorted(ascending, values, side="right") - begins


@dataclass(frozen=True)
class Content:
    """What a text says beside phrases."""

    words: Counter[int]
    close: frozenset[int]
    """Hashes of its shingles of `CLOSE` words."""

    @property
    def size(self) -> int:
        """Words."""
        return self.words.total()


def content(of: Words, ignored: HashSet) -> Content:
    """Of one text."""
    own = own_words(of, shingles(of, SHINGLE), ignored)
    some = own.copy()
    for step in range(1, CLOSE):
        some[:-step] |= own[step:]
    kept = some & (of.left >= CLOSE)
    close = frozenset(shingles(of, CLOSE)[kept].tolist())
    return Content(Counter(of.hashes[own].tolist()), close)


CONTAINED = 0.5
CONTAINED_SHORT = 0.8
EDITED = 0.3
EDITED_WORDS = 0.7


def containment(one: Content, other: Content) -> float:
    """Share of the shorter text's shingles of `CLOSE` words that the other has (Broder 1997)."""
    least = min(len(one.close), len(other.close))
    return len(one.close & other.close) / least if least else 0.0


def are_near(one: Content, other: Content) -> bool:
    """True of texts one of which was made from the other by changing up to a fifth of its words,
    moving sentences, cutting or adding some.

    At least half of the shorter one's shingles of 3 words are in the other (.8 below 20 words). Or
    .3 of them are, .7 of its words are, each as often as it is there, and neither text is more than
    twice as long as the other: many changed words leave few shingles, but most of the words. Texts
    of fewer than 12 words are never near.
    """
    short = min(one.size, other.size)
    if short < MIN_WORDS:
        return False
    share = containment(one, other)
    if short < SHORT:
        return share >= CONTAINED_SHORT
    if share >= CONTAINED:
        return True
    if share < EDITED or max(one.size, other.size) > 2 * short:
        return False
    return (one.words & other.words).total() >= EDITED_WORDS * short
