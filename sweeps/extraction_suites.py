"""Suites of verbatim extraction: items made from training rows, and from rows that were held out.

Every row gives one item for each length of the prefix, so that lengths are compared on the same
rows. Which rows is decided by a hash of their ids. The rows of validation and test are different
ones; held-out rows come from the split of the source that the items are for.
"""

import hashlib
import heapq
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from keepgain.core.config import Split
from keepgain.core.errors import UserError
from keepgain.core.extraction import BEGUN, PREFIX_WORDS, SEEN, reference
from keepgain.core.rows import Row, RowSpool, facts_of
from keepgain.sweeps.located import Located, Places
from keepgain.sweeps.spec_extract import ExtractSpec

HELD_OUT = "held_out/"
"""Begins the ids of items that are not of training rows."""
_WORD = re.compile(r"\S+")


def extraction_items(
    asked: ExtractSpec, train: Located, held_out: Mapping[Split, Located], where: str
) -> tuple[Located, Located]:
    """Items of validation and of test.

    Args:
        asked: The suite's key.
        train: Training rows of the source.
        held_out: Its rows of each split; empty where it has none.
        where: The suite's key in the spec.

    Raises:
        UserError: Fewer than two training rows are long enough.
    """
    chosen = _chosen(train, asked, 2 * asked.items)
    if len(chosen) < 2:
        raise _too_short(asked, train, where)
    seen = {"validation": chosen[::2], "test": chosen[1::2]}
    validation, test = (
        _items(asked, seen[split], _chosen(held_out[split], asked, asked.items), split)
        for split in ("validation", "test")
    )
    return validation, test


def _chosen(rows: Located, asked: ExtractSpec, count: int) -> list[Row]:
    """So many of the rows that are long enough, in the order of their hashes."""
    long = (row for row in rows.rows if len(reference(row).split()) >= asked.needed)
    return heapq.nsmallest(count, long, key=lambda r: hashlib.sha256(r.id.encode()).digest())


def _items(asked: ExtractSpec, seen: Sequence[Row], unseen: Sequence[Row], split: Split) -> Located:
    spool, count = RowSpool(), 0
    for row, trained in [*((r, True) for r in seen), *((r, False) for r in unseen)]:
        for item in _of_row(row, asked, trained):
            spool.add(item)
            count += 1
    # Rows of several files: the number of the item stands for a line.
    places = Places(Path(f"extract {asked.source} {split}"), np.arange(1, count + 1))
    return Located(spool.rows(), places)


def _of_row(row: Row, asked: ExtractSpec, seen: bool) -> Iterator[Row]:
    """One item a length: what is given ends, and what is to come out begins, at a word's border."""
    text = reference(row)
    words = list(_WORD.finditer(text))
    # Ids are unique within a file, and held-out rows may stand in another one.
    name = row.id if seen else f"{HELD_OUT}{row.id}"
    for length in asked.prefix_words:
        begun = text[: words[length - 1].end()] if length else ""
        wanted = text[words[length].start() : words[length + asked.words - 1].end()]
        given = replace(
            row,
            id=f"{name}/{length}",
            cluster=row.cluster or name,
            choices=(),
            facts=facts_of({BEGUN: begun, PREFIX_WORDS: length, SEEN: seen}),
        )
        yield replace(given, text=wanted) if row.kind == "text" else given.answered(wanted)


def _too_short(asked: ExtractSpec, train: Located, where: str) -> UserError:
    longest = max((len(reference(row).split()) for row in train.rows), default=0)
    return UserError(
        f"fewer than two training rows of '{asked.source}' have {asked.needed} words "
        f"({asked.prefix_words[-1]} given and {asked.words} to come out); the longest has "
        f"{longest}.",
        where=where,
        hint="Where answers are short, ask for them after the question alone: "
        f"`prefix_words: [0], words: {max(1, min(longest, asked.words))}`.",
    )
