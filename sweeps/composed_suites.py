"""Pairs of items of two suites, asked as one: a suite with `compose`.

A pair is three items: `PAIR~composed`, and its two parts as they are, `PAIR~a` and `PAIR~b`, so
that one suite has both the composed score and what its parts would give. The slice `composition`
says which; a pair is one cluster. Templates are held out: a training row that is put in one already
would show practice, not composition. The gap between parts and whole is after Press et al. (2023,
"Measuring and narrowing the compositionality gap", arXiv 2210.03350).
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from keepgain.core.errors import UserError
from keepgain.core.identity import derive_seed
from keepgain.core.made_items import COMPOSED, COMPOSITION, PART_A, PART_B, made_id
from keepgain.core.perturb import fill, read_slots
from keepgain.core.rows import Row, RowSpool
from keepgain.sweeps.augment.questions import asked_text
from keepgain.sweeps.located import Located
from keepgain.sweeps.spec_made import ComposeSpec


def composed_items(a: Located, b: Located, keys: ComposeSpec, where: str) -> Located:
    """Pairs of one split; each item is in one pair at most, so that pairs are independent draws.

    Which items meet follows from their ids and the seed. Made items stand at the place of the item
    of `a`. A pair is resampled with the cluster of its item of `a`, else of `b`, else alone.

    Args:
        a: Items of the one suite.
        b: Of the other.
        keys: Of the made suite.
        where: Its key in the spec, for messages.

    Raises:
        UserError: An item that has no single prompt, or fewer items than `pairs` asks for.
    """
    most = min(len(a.rows), len(b.rows))
    if keys.pairs is not None and keys.pairs > most:
        raise UserError(
            f"{keys.pairs} pairs are asked for, and '{keys.a}' and '{keys.b}' have "
            f"{len(a.rows)} and {len(b.rows)} items in a split.",
            where=where,
            hint=f"At most {most}: an item is in one pair only.",
        )
    spool, lines = RowSpool(), []
    chosen = zip(_order(a, keys, "a"), _order(b, keys, "b"), strict=False)
    for (at, first), (_, second) in list(chosen)[: keys.pairs]:
        for row, suite in ((first, keys.a), (second, keys.b)):
            _refuse_unasked(row, suite, where)
        for row in _pair(first, second, keys):
            spool.add(row)
            lines.append(int(a.places.lines[at]))
    return Located(spool.rows(), replace(a.places, lines=np.array(lines, dtype=np.int64)))


def refuse_seen_templates(
    keys: ComposeSpec, trained: Iterable[tuple[Row, str]], where: str
) -> None:
    """Refuses a template that training rows are put in, up to case and white space.

    Args:
        keys: Of the made suite.
        trained: (row, `file:line`) of every source.
        where: Key of the templates in the spec.

    Raises:
        UserError: The first such row.
    """
    templates = [_plain(t) for t in keys.templates]
    for row, place in trained:
        asked = _plain(row.text if row.kind == "text" else asked_text(row))
        for given, template in zip(keys.templates, templates, strict=True):
            if read_slots(template, asked) is not None:
                raise UserError(
                    f"the template {given!r:.60} is not held out: the training row at {place} is "
                    "put in it.",
                    where=where,
                    hint="Word it as no training row is, or say `held_out: false`: then the suite "
                    "shows practice as well as composition.",
                )


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


def _order(items: Located, keys: ComposeSpec, side: str) -> list[tuple[int, Row]]:
    """(index, item) in an order that follows from the ids."""
    rows = list(enumerate(items.rows))
    return sorted(rows, key=lambda r: (derive_seed(keys.seed, side, r[1].id), r[1].id))


def _refuse_unasked(row: Row, suite: str, where: str) -> None:
    if row.kind == "text" or (row.kind == "chat" and len(row.messages) != 2):
        raise UserError(
            f"the item '{row.id}' of '{suite}' is not one prompt with one answer.",
            where=where,
            hint="Plain texts, and chats with more than one turn, cannot be composed.",
        )


def _pair(a: Row, b: Row, keys: ComposeSpec) -> Sequence[Row]:
    pair = f"{a.id}+{b.id}"
    cluster = a.cluster or b.cluster or pair
    template = keys.templates[derive_seed(keys.seed, pair) % len(keys.templates)]
    whole = Row(
        made_id(pair, COMPOSED),
        "pair",
        prompt=fill(template, {"a": asked_text(a), "b": asked_text(b)}),
        answer=fill(keys.answer, {"a": a.answer.strip(), "b": b.answer.strip()}),
        cluster=cluster,
        slices=((COMPOSITION, COMPOSED),),
    )
    parts = [
        replace(
            row,
            id=made_id(pair, name),
            cluster=cluster,
            slices=(*((f, v) for f, v in row.slices if f != COMPOSITION), (COMPOSITION, name)),
        )
        for name, row in ((PART_A, a), (PART_B, b))
    ]
    return [whole, *parts]
