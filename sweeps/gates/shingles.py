"""Texts as hashed words and runs of words: what duplicates, leaks and templates are told by."""

import hashlib
import re
import unicodedata
import zlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from keepgain.core.rows import Row

Hashes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Number = TypeVar("Number", np.uint64, np.int64)

# Kana, Han, Thai, Lao, Burmese, Khmer: scripts that put no space between words.
_UNSPACED = (
    "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
)
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")
_ASCII_WORD = re.compile(r"\w+")
_UNSPACED_PIECE = 2
LONG_WORDS = 20
"""Mean characters of a word above which a text is not made of words (a sequence of bases, base64).
"""
_LONG_PIECE = 8


def row_text(row: Row) -> str:
    """Everything that a row says."""
    return row.text if row.kind == "text" else f"{row.question()}\n{row.answer}"


def normal(text: str) -> str:
    """A text without what a copy often changes: the form of its characters (NFKC), case and white
    space. Digits and punctuation stay."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return " ".join(text.casefold().split())


def text_hash(text: str) -> int:
    """64 bits of a text, equal in all processes."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def words(normalised: str) -> list[str]:
    """The words of a text, without punctuation.

    Where a script has no spaces, pairs of characters that follow one another; where words are
    longer than any language's, its pieces of 8 characters, one at each character.
    """
    if normalised.isascii():
        found = _ASCII_WORD.findall(normalised)
    else:
        found = _WORD.findall(normalised)
        alone = [len(w) == 1 and not w.isascii() for w in found]
        if any(alone):
            following = [*found[1:], ""]
            found = [
                w + then if single and len(then) < _UNSPACED_PIECE else w
                for w, then, single in zip(found, following, alone, strict=True)
            ]
    if len(normalised) > LONG_WORDS * max(len(found), 1):
        return [normalised[i : i + _LONG_PIECE] for i in range(len(normalised) - _LONG_PIECE + 1)]
    return found


@dataclass(frozen=True)
class Words:
    """The words of some texts, one text after the other, as hashes that all processes share."""

    hashes: Hashes
    """Of shape [words]."""
    counts: Ints
    """Words of each text, of shape [texts]."""

    @cached_property
    def text(self) -> Ints:
        """Index of each word's text, of shape [words]."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    @cached_property
    def left(self) -> Ints:
        """Words from each one to the end of its text, itself included; of shape [words]."""
        return self.ends[self.text] - np.arange(len(self.hashes))

    @cached_property
    def ends(self) -> Ints:
        """Where each text's words end, of shape [texts]."""
        return np.cumsum(self.counts)

    def per_text(self, chosen: Mask) -> Ints:
        """How many of the chosen words (or runs that begin there) each text has."""
        return np.bincount(self.text[chosen], minlength=len(self.counts))


def hash_words(normalised: Sequence[str]) -> Words:
    """Of normalised texts."""
    hashes, counts = array("Q"), array("q")  # of one text at a time the words are strings
    for text in normalised:
        before = len(hashes)
        hashes.extend(map(zlib.crc32, map(str.encode, words(text))))
        counts.append(len(hashes) - before)
    return Words(np.array(hashes, dtype=np.uint64), np.array(counts, dtype=np.int64))


def shingles(of: Words, size: int) -> Hashes:
    """Hash of the run of `size` words that begins at each word, of shape [words].

    Where fewer words are left the value means nothing; see `Words.left`.
    """
    hashes = of.hashes
    made = np.full(len(hashes), size, dtype=np.uint64)
    for step in range(size):
        made = _mixed(made * np.uint64(0x9E3779B97F4A7C15) + _shifted(hashes, step))
    return made


def distinct(values: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """As `np.unique`, which since numpy 2.3 goes by a hash table: slower for millions of hashes."""
    ordered = np.sort(values)
    new = np.ones(len(ordered), dtype=np.bool_)
    new[1:] = ordered[1:] != ordered[:-1]
    return ordered[new]


def _shifted(values: Hashes, step: int) -> Hashes:
    return np.concatenate([values[step:], np.zeros(min(step, len(values)), dtype=values.dtype)])


def _mixed(values: Hashes) -> Hashes:
    """The finaliser of splitmix64 (Steele et al. 2014): all bits depend on all bits."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


class HashSet:
    """Which of many hashes are in a set, in a few nanoseconds each."""

    def __init__(self, hashes: Hashes) -> None:
        self.hashes = distinct(hashes)
        bits = min(max(len(self.hashes).bit_length() + 4, 10), 26)
        self._mask = np.uint64(2**bits - 1)
        self._maybe = np.zeros(2**bits, dtype=np.bool_)
        self._maybe[self.hashes & self._mask] = True

    def find(self, asked: Hashes) -> tuple[Ints, Ints]:
        """Indices of `asked` that are in the set, and their places in `self.hashes`."""
        maybe = np.flatnonzero(self._maybe[asked & self._mask])
        if not len(maybe):
            return maybe, maybe
        places = np.searchsorted(self.hashes, asked[maybe])
        places = np.minimum(places, len(self.hashes) - 1)
        sure = self.hashes[places] == asked[maybe]
        return maybe[sure], places[sure]

    def __len__(self) -> int:
        return len(self.hashes)


def many_rows(rows: int) -> float:
    """A run of words in more rows than this is a phrase or part of a template, nobody's content:
    a hundredth of the rows, but at least 20 (of few rows: a quarter of them, at least 2)."""
    return max(2.0, min(20.0, rows / 4), rows / 100)
