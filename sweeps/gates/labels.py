"""Which row sets are classifications, and what their labels are.

Answers are labels where few different ones come back often: 2 to 50 values (up to white space and
case) are given by at least 95 % of the rows of a source, all splits together, and have on average
at least 5 rows. Free text and numbers to be worked out have more values and are no labels. A set
that is too small to tell takes the labels of the largest classification that knows nine in ten of
its answers. Labels that the spec lists, or a field that it names, go before all this.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import numpy.typing as npt

from keepgain.core.rows import Row
from keepgain.sweeps.gates.columns import Column
from keepgain.sweeps.gates.counts import counts
from keepgain.sweeps.gates.material import RowSet, normalised
from keepgain.sweeps.gates.scan import Arrays, scan_sets
from keepgain.sweeps.gates.shingles import text_hash

MAX_LABELS = 50
MIN_ROWS_A_LABEL = 5
MIN_SHARE = 0.95
"""Of the rows, that the labels must cover: slips of the pen are left over."""
MIN_KNOWN = 0.9
"""Of the answers of a small set, to be taken for a classification that another set is."""
MAX_GROUPS = 1_000
NOTHING = np.uint64(0)
"""Hash of what is not there."""

OPENING_WORDS = 4
OPENING_CHARACTERS = 200
PROBE = "labels"
_DIGITS = re.compile(r"\d+")

Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class RowFacts:
    """What the gates on labels know of every row, so that one pass over a large file will do."""

    answer: Hashes
    """Of the answer up to white space and case, of shape [rows]; 0: the row has none."""
    question: Hashes
    """As `answer`, of `row.question()`."""
    group: Hashes
    """Of the row's group."""
    opening: Hashes
    """Of the first words of the question, as `opening` gives them."""
    characters: npt.NDArray[np.int32]
    """Length of the question."""


class FactsProbe:
    """Measures `RowFacts` of a chunk of rows."""

    name = PROBE

    def measure(self, rows: Sequence[Row]) -> Arrays:
        """The fields of `RowFacts`."""
        found = np.zeros((4, len(rows)), dtype=np.uint64)
        characters = np.zeros(len(rows), dtype=np.int32)
        for i, row in enumerate(rows):
            question = row.question()
            found[0, i] = hash_text(normalised(row.answer)) if row.answer else NOTHING
            found[1, i] = hash_text(normalised(question))
            found[2, i] = NOTHING if row.group is None else hash_text(row.group)
            found[3, i] = hash_text(opening(question))
            characters[i] = len(question)
        names = ("answer", "question", "group", "opening")
        return dict(zip(names, found, strict=True)) | {"characters": characters}


def opening(question: str) -> str:
    """The first words, without case, numbers masked: rows of a template mostly share them."""
    words = question[:OPENING_CHARACTERS].casefold().split()[:OPENING_WORDS]
    return _DIGITS.sub("#", " ".join(words))


def hash_text(text: str) -> int:
    """64 bits, never 0: of a million texts two are taken for one with a chance of 3e-8."""
    return text_hash(text) or 1


Facts = Mapping[str, RowFacts]
"""Label of a row set → the facts of its rows."""


def facts_of(sets: Sequence[RowSet], measured: Mapping[str, Arrays] | None = None) -> Facts:
    """Of each set; measured here and now where no scan has done so."""
    if measured is None:
        measured = {label: found[PROBE] for label, found in scan_sets(sets, [FactsProbe()]).items()}
    return {s.label: RowFacts(**measured[s.label]) for s in sets}


def family(rows: RowSet) -> str:
    """Splits of one source, and the suite made of them, are one family."""
    return rows.source or rows.name


def labels_of(
    sets: Sequence[RowSet], facts: Facts, field: str | None = None, values: Sequence[str] = ()
) -> dict[str, Column]:
    """Label of a row set → the labels of its rows, for the sets that are classifications.

    All sets share the values of their family, in order of frequency, so that codes compare within
    it; code -1: the row has no such label.

    Args:
        sets: Of the sweep.
        facts: Of each set.
        field: Key of the files that holds the label, where the spec names one.
        values: Labels that the spec lists: nine in ten answers of a classification are among them.
    """
    found: dict[str, Column] = {}
    known: list[_Answers] = []
    undecided: list[RowSet] = []
    for _, members in groupby(sorted(sets, key=family), key=family):
        group = list(members)
        if field is not None and any(field in s.columns for s in group):
            found |= _by_field(group, field)
        elif (answers := _listed(group, facts, values) or _few_answers(group, facts)) is not None:
            known.append(answers)
            found |= {s.label: answers.column(facts[s.label]) for s in group}
        else:
            undecided += group
    known.sort(key=lambda answers: -answers.rows)
    for rows in undecided:
        answered = facts[rows.label].answer
        if len(answered) < MAX_LABELS * MIN_ROWS_A_LABEL:
            fits = (a for a in known if a.share_known(answered) >= MIN_KNOWN)
            if (answers := next(fits, None)) is not None:
                found[rows.label] = answers.column(facts[rows.label])
    return {s.label: found[s.label] for s in sets if s.label in found}


def group_column(rows: RowSet, facts: RowFacts) -> Column:
    """The groups of the rows; no row has one where they have more values than a column may."""
    keys, first = np.unique(facts.group, return_index=True)
    there = keys != NOTHING
    if there.sum() > MAX_GROUPS:
        there = np.zeros(len(keys), dtype=np.bool_)
    values = tuple(rows.rows[int(i)].group or "" for i in first[there])
    return _Answers(keys[there], values, np.arange(len(values)), 0).codes_of(facts.group)


@dataclass(frozen=True)
class _Answers:
    """Values by the hashes of their texts."""

    keys: Hashes
    """Ascending."""
    values: tuple[str, ...]
    order: npt.NDArray[np.int64]
    """Place in `values` of each key."""
    rows: int

    def codes_of(self, hashes: Hashes) -> Column:
        if not len(self.keys):
            return Column((), np.full(len(hashes), -1, dtype=np.int32))
        place = np.minimum(np.searchsorted(self.keys, hashes), len(self.keys) - 1)
        codes = np.where(self.keys[place] == hashes, self.order[place], -1)
        return Column(self.values, codes.astype(np.int32))

    def column(self, facts: RowFacts) -> Column:
        return self.codes_of(facts.answer)

    def share_known(self, hashes: Hashes) -> float:
        return float(np.isin(hashes, self.keys).mean()) if len(hashes) else 0.0


def _listed(group: Sequence[RowSet], facts: Facts, values: Sequence[str]) -> _Answers | None:
    """The labels that the spec lists, where the family answers with them."""
    names = tuple(dict.fromkeys(normalised(v) for v in values))
    keys = np.array([hash_text(name) for name in names], dtype=np.uint64)
    order = np.argsort(keys)
    hashes = np.concatenate([facts[s.label].answer for s in group])
    answers = _Answers(keys[order], names, order, len(hashes))
    return answers if len(names) > 1 and answers.share_known(hashes) >= MIN_KNOWN else None


def _few_answers(group: Sequence[RowSet], facts: Facts) -> _Answers | None:
    """The answers of a family, if they are labels."""
    hashes = np.concatenate([facts[s.label].answer for s in group])
    hashes = hashes[hashes != NOTHING]
    keys, of_key = np.unique(hashes, return_counts=True)
    by_count = np.argsort(-of_key, kind="stable")[:MAX_LABELS]
    covered = int(of_key[by_count].sum())
    if len(keys) > MAX_LABELS:  # the rarest are slips of the pen
        by_count = by_count[of_key[by_count] >= MIN_ROWS_A_LABEL]
    if len(by_count) < 2 or covered < max(
        MIN_SHARE * len(hashes), MIN_ROWS_A_LABEL * len(by_count)
    ):
        return None
    values = tuple(_text(group, facts, keys[i]) for i in by_count)
    ascending = np.argsort(by_count)
    return _Answers(keys[by_count[ascending]], values, ascending, covered)


def _text(group: Sequence[RowSet], facts: Facts, key: np.uint64) -> str:
    for rows in group:
        places = np.flatnonzero(facts[rows.label].answer == key)
        if len(places):
            return normalised(rows.rows[int(places[0])].answer)
    raise KeyError(key)


def _by_field(group: Sequence[RowSet], field: str) -> dict[str, Column]:
    """Columns of the same field with the same values, the most frequent first."""
    given = {s.label: s.columns[field] for s in group if field in s.columns}
    total: Counter[str] = Counter()
    for column in given.values():
        total.update(dict(zip(column.values, counts(column).tolist(), strict=True)))
    values = tuple(value for value, n in total.most_common() if n)
    code = {value: i for i, value in enumerate(values)}
    joined = {}
    for label, column in given.items():
        new = np.array([*(code.get(v, -1) for v in column.values), -1], dtype=np.int32)
        joined[label] = Column(values, new[column.codes])
    return joined
