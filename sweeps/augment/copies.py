"""Copies of training rows, changed without touching their answers: a source with `augment`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from keepgain.core.errors import UserError
from keepgain.core.identity import derive_seed
from keepgain.core.perturb import Protected, Settings, fill, perturb, read_slots, words_of
from keepgain.core.rows import Row, RowSpool
from keepgain.sweeps.augment.questions import asked_anew, asked_text, protected_parts
from keepgain.sweeps.gates.columns import ColumnsBuilder
from keepgain.sweeps.gates.lineage import Lineage
from keepgain.sweeps.gates.patterns import PATTERN_SECONDS, stopped_after
from keepgain.sweeps.located import Located
from keepgain.sweeps.spec_augment import AugmentKeys, By
from keepgain.sweeps.spec_data import DataRules

GENERATOR = "keepgain"
_TRIES = 4
"""Seeds that are tried for a copy that differs from its parent and from the other copies."""


def copied_rows(
    parents: Located, keys: AugmentKeys, rules: DataRules | None, where: str
) -> tuple[Located, Lineage]:
    """The copies, each at its parent's place, with columns `parent`, `generator` and `by`.

    They follow from the parents, the keys and what `rules` protects alone.

    Args:
        parents: Training rows.
        keys: Of the source.
        rules: Of the spec: entities and words of groups are not touched.
        where: Key of the spec, for messages.

    Raises:
        UserError: Rows of plain text (their own words would be trained on), or no copy at all.
    """
    assert keys.augment is not None, "DataSpec checks it"
    protected = protected_parts(rules)
    spool, lines, columns = RowSpool(), [], ColumnsBuilder()
    unchanged = 0
    fields = [(name, c.values, c.codes) for name, c in parents.columns.items()]
    for index, row in enumerate(parents.rows):
        if row.kind == "text":
            raise UserError(
                f"rows of '{keys.augment}' are plain text: what is changed would be learnt.",
                where=where,
                hint="Only prompts and chats can be augmented.",
            )
        beside = {n: values[codes[index]] for n, values, codes in fields if codes[index] >= 0}
        made = 0
        for copy in _copies(row, keys, protected):
            spool.add(copy.row)
            lines.append(int(parents.places.lines[index]))
            columns.add({**beside, "parent": row.id, "generator": GENERATOR, "by": copy.by})
            made += 1
        unchanged += keys.copies - made
    if not lines:
        raise UserError(
            f"no row of '{keys.augment}' can be changed by {', '.join(keys.by)}.",
            where=where,
            hint="Do the prompts begin as `templates.from` says?" if keys.templates else None,
        )
    places = replace(parents.places, lines=np.array(lines, dtype=np.int64))
    lineage = Lineage(keys.augment, keys.copies * len(parents.rows), unchanged)
    return Located(spool.rows(), places, columns.columns()), lineage


@dataclass(frozen=True)
class _Copy:
    row: Row
    by: By


def _copies(row: Row, keys: AugmentKeys, protected: Protected) -> Iterator[_Copy]:
    """Copies of a row that differ from it and from each other. Which kind begins follows from the
    row, so that one copy by two kinds is half by either."""
    text = asked_text(row)
    own = protected.words | words_of(row.answer, *row.choices)
    kept = Protected(own, protected.patterns)
    settings = Settings(keys.changed_words, keys.filler_words)
    seen = {text}
    first = derive_seed(keys.seed, row.id)
    for number in range(keys.copies):
        by = keys.by[(first + number) % len(keys.by)]
        for attempt in range(_TRIES):
            seed = derive_seed(keys.seed, row.id, number, attempt)
            with stopped_after(PATTERN_SECONDS, "data_spec.entities"):
                made = _changed(text, by, seed, kept, settings, keys)
            if made not in seen and made.strip():
                seen.add(made)
                copy = replace(asked_anew(row, made), id=f"{row.id}~{number + 1}")
                yield _Copy(copy, by)
                break


def _changed(
    text: str, by: By, seed: int, kept: Protected, settings: Settings, keys: AugmentKeys
) -> str:
    if by != "template":
        return perturb(text, [by], seed, kept, settings)
    assert keys.templates is not None, "AugmentKeys checks it"
    slots: Mapping[str, str] | None = read_slots(keys.templates.read, text)
    if slots is None:
        return text
    return fill(keys.templates.to[seed % len(keys.templates.to)], slots)
