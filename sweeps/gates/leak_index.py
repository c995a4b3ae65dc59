"""Items of suites as runs of words, to be looked for in rows that must not contain them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from keepgain.core.rows import Row
from keepgain.sweeps.gates.material import RowSet
from keepgain.sweeps.gates.scan import Array
from keepgain.sweeps.gates.shingles import (
    HashSet,
    Ints,
    Mask,
    Words,
    distinct,
    hash_words,
    normal,
    row_text,
    shingles,
    text_hash,
)
from keepgain.sweeps.gates.shingles import words as split_words
from keepgain.sweeps.gates.sketches import SHINGLE, own_words, sample

LONG_GRAM, SHORT_GRAM = 13, 8
"""Words of the n-grams of long and short texts: the largest and the smallest N of Brown et al. 2020
("Language Models are Few-Shot Learners", appendix C)."""
LONG_TEXT = 50
"""Words from which a text is long."""
MIN_ANSWER_WORDS = 20
"""Shorter answers are labels, numbers or set phrases, which many rows share."""
MAX_ITEMS = 20_000
"""Of one split of a suite; of a longer one so many, drawn with a fixed seed."""


@dataclass(frozen=True)
class Texts:
    """Questions and long answers of items: what is looked for."""

    suite: Ints
    """Index of the suite's split of each text, of shape [texts]."""
    item: Ints
    """Position of its item there."""
    words: Words

    def one(self, index: int) -> Words:
        """The words of one text."""
        end, count = int(self.words.ends[index]), int(self.words.counts[index])
        return Words(self.words.hashes[end - count : end], np.array([count]))


@dataclass(frozen=True)
class Runs:
    """Runs of words of all texts, each hash once, and which texts have it."""

    hashes: HashSet
    place: Ints
    """Place in `hashes` of each (run, text), ascending."""
    text: Ints
    """Its text."""

    @classmethod
    def of(cls, words: Words, begun: npt.NDArray[np.uint64], kept: Mask) -> "Runs":
        """The kept ones of the runs that begin at each word."""
        hashes = HashSet(begun[kept])
        place = np.searchsorted(hashes.hashes, begun[kept])
        pairs = distinct(place << 32 | words.text[kept])
        return cls(hashes, pairs >> 32, pairs & (2**32 - 1))

    def texts_with(self, places: Ints) -> tuple[Ints, Ints]:
        """For each place each text that has the run: (index into `places`, text)."""
        begin = np.searchsorted(self.place, places)
        count = np.searchsorted(self.place, places, side="right") - begin
        which = np.repeat(np.arange(len(places)), count)
        offset = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
        return which, self.text[begin[which] + offset]


@dataclass(frozen=True)
class LeakProbe:
    """Which runs of the items each row has."""

    near: HashSet
    """Shingles of `SHINGLE` words."""
    grams: HashSet
    questions: HashSet
    name: str = "leaks"

    def measure(self, rows: Sequence[Row]) -> Mapping[str, Array]:
        """`near` (flat) with `sizes`: places in `near` of what a row has, each once; `grams` (flat,
        of any row); `question`: place of its question's hash, -1 if no item asks it."""
        found = hash_words([normal(row_text(row)) for row in rows])
        at, places = self.near.find(shingles(found, SHINGLE))
        full = found.left[at] >= SHINGLE
        pairs = distinct(found.text[at[full]] << 32 | places[full])
        grams = []
        for size in (SHORT_GRAM, LONG_GRAM):
            at, places = self.grams.find(shingles(found, size))
            grams.append(places[found.left[at] >= size])
        asked = np.array([text_hash(normal(row.question())) for row in rows], dtype=np.uint64)
        question = np.full(len(rows), -1, dtype=np.int32)
        at, places = self.questions.find(asked)
        question[at] = places
        return {
            "near": (pairs & (2**32 - 1)).astype(np.int32),
            "sizes": np.bincount(pairs >> 32, minlength=len(rows)).astype(np.int32),
            "grams": distinct(np.concatenate(grams)).astype(np.int32),
            "question": question,
        }


@dataclass(frozen=True)
class LeakIndex:
    """All items of all suites."""

    suites: tuple[RowSet, ...]
    looked_at: tuple[Ints, ...]
    """Items of each suite that are looked for."""
    texts: Texts
    near: Runs
    grams: Runs
    question: tuple[Ints, ...]
    """Place of the question of each item looked at, of each suite."""
    ignored: HashSet
    """Phrases."""
    probe: LeakProbe


def leak_index(sets: Sequence[RowSet], ignored: HashSet) -> LeakIndex:
    """Of the suites among the sets; `ignored` are phrases, e.g. `SketchProbe.ignored`."""
    suites = tuple(s for s in sets if s.part != "train")
    looked_at = tuple(sample(len(s.rows), MAX_ITEMS) for s in suites)
    suite: list[int] = []
    item: list[int] = []
    texts: list[str] = []
    asked: list[list[int]] = []
    for k, one in enumerate(suites):
        asked.append([])
        for i in looked_at[k].tolist():
            question, answer = normal(one.rows[i].question()), normal(one.rows[i].answer)
            asked[k].append(text_hash(question))
            for text, least in ((question, SHORT_GRAM), (answer, MIN_ANSWER_WORDS)):
                if len(split_words(text)) >= least:
                    suite.append(k)
                    item.append(i)
                    texts.append(text)
    words = hash_words(texts)
    begun = shingles(words, SHINGLE)
    own = own_words(words, begun, ignored)
    phrase = np.zeros(len(begun), dtype=np.bool_)
    phrase[ignored.find(begun)[0]] = True
    near = Runs.of(words, begun, (words.left >= SHINGLE) & ~phrase)
    grams = _grams(words, own)
    questions = HashSet(np.array([h for of in asked for h in of], dtype=np.uint64))
    return LeakIndex(
        suites,
        looked_at,
        Texts(np.array(suite, dtype=np.int64), np.array(item, dtype=np.int64), words),
        near,
        grams,
        tuple(np.searchsorted(questions.hashes, np.array(of, dtype=np.uint64)) for of in asked),
        ignored,
        LeakProbe(near.hashes, grams.hashes, questions),
    )


def _grams(words: Words, own: Mask) -> Runs:
    """n-grams at least half of whose words are no part of a phrase."""
    long = words.counts[words.text] >= LONG_TEXT
    upto = np.concatenate([[0], np.cumsum(own)])
    begun = np.zeros(len(words.hashes), dtype=np.uint64)
    kept = np.zeros(len(words.hashes), dtype=np.bool_)
    for size, chosen in ((SHORT_GRAM, ~long), (LONG_GRAM, long)):
        at = np.flatnonzero(chosen & (words.left >= size))
        at = at[2 * (upto[at + size] - upto[at]) >= size]
        begun[at], kept[at] = shingles(words, size)[at], True
    return Runs.of(words, begun, kept)
