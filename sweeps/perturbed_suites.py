"""Items of a suite once as they are and once for each change that leaves the answer alone: a suite
with `perturb`.

Each item is `PARENT~KIND`, KIND being `none` for the item as it is; the slice `perturbation` says
the kind, and items of one parent are one cluster, so that figures pair them. Nothing is asked of a
model: how a suite is perturbed follows from its items and the spec alone. After CheckList (Ribeiro
et al. 2020, arXiv 2005.04118), whose invariance tests these are, and PromptBench (Zhu et al. 2023,
arXiv 2306.04528).
"""

import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from keepgain.core.errors import UserError
from keepgain.core.identity import derive_seed
from keepgain.core.made_items import PERTURBATION, UNCHANGED, made_id
from keepgain.core.perturb import (
    KINDS,
    Protected,
    Settings,
    fill,
    perturb,
    read_slots,
    words_of,
)
from keepgain.core.rows import Row, RowSpool
from keepgain.core.whole_words import whole_words
from keepgain.sweeps.augment.questions import asked_anew, asked_text, protected_parts
from keepgain.sweeps.gates.patterns import PATTERN_SECONDS, stopped_after
from keepgain.sweeps.located import Located
from keepgain.sweeps.spec_data import DataRules
from keepgain.sweeps.spec_made import LABEL, OPTION, PROMPT, Perturbation, PerturbSpec

_TRIES = 4
"""Seeds that are tried for a text that differs."""


def perturbed_items(
    items: Located, keys: PerturbSpec, rules: DataRules | None, where: str
) -> Located:
    """The items as they are and changed, each at its original's place.

    An item that a kind cannot change is left out for that kind.

    Args:
        items: Of one split of the original suite.
        keys: Of the made suite.
        rules: Of the spec: entities and words of groups are not touched by typos and their like.
        where: Key of the made suite, for messages.

    Raises:
        UserError: Items of plain text (there is no prompt to change), or a kind that changes none.
    """
    protected = protected_parts(rules)
    spool, lines = RowSpool(), []
    changed = dict.fromkeys(keys.by, 0)
    for index, row in enumerate(items.rows):
        if row.kind == "text":
            raise UserError(
                f"items of '{keys.of}' are plain text, without a prompt to change.",
                where=where,
                hint="Only prompts and chats can be perturbed.",
            )
        spool.add(_named(row, row, UNCHANGED))
        lines.append(int(items.places.lines[index]))
        for kind, made in _versions(row, keys, protected):
            changed[kind] += 1
            spool.add(_named(made, row, kind))
            lines.append(int(items.places.lines[index]))
    for kind, count in changed.items():
        if lines and not count:
            raise UserError(
                f"no item of '{keys.of}' can be changed by {kind}.",
                where=where,
                hint=_HINTS.get(kind, "Their words are too few, too short, or protected."),
            )
    places = replace(items.places, lines=np.array(lines, dtype=np.int64))
    return Located(spool.rows(), places)


_HINTS: Mapping[str, str] = {
    "paraphrase": "Do the prompts begin as `templates.from` says?",
    "option_order": "Each choice must stand in the prompt once, or `options` must find at least "
    "two different ones there, and the answer be the label or the text of one.",
    "prompt_format": "A format must be more than the prompt.",
}


def _named(made: Row, parent: Row, kind: str) -> Row:
    slices = tuple((f, v) for f, v in made.slices if f != PERTURBATION)
    return replace(
        made,
        id=made_id(parent.id, kind),
        cluster=parent.cluster if parent.cluster is not None else parent.id,
        slices=(*slices, (PERTURBATION, kind)),
    )


def _versions(
    row: Row, keys: PerturbSpec, protected: Protected
) -> Iterator[tuple[Perturbation, Row]]:
    """The row changed by each kind that can change it."""
    text = asked_text(row)
    own = Protected(protected.words | words_of(row.answer, *row.choices), protected.patterns)
    for kind in keys.by:
        seed = derive_seed(keys.seed, row.id, kind)
        if kind == "option_order":
            made = _reordered(row, text, keys, random.Random(seed))
        else:
            changed = _changed(text, kind, keys, own, seed)
            made = None if changed == text else asked_anew(row, changed)
        if made is not None:
            yield kind, made


def _changed(text: str, kind: Perturbation, keys: PerturbSpec, own: Protected, seed: int) -> str:
    """The text itself where the kind cannot change it."""
    rng = random.Random(seed)
    if kind == "paraphrase":
        assert keys.templates is not None, "PerturbSpec checks it"
        slots = read_slots(keys.templates.read, text)
        return text if slots is None else fill(rng.choice(keys.templates.to), slots)
    if kind == "distractors":
        return rng.choice(keys.distractors) + text
    if kind == "suffix":
        return text + rng.choice(keys.suffixes)
    if kind == "prompt_format":
        return fill(rng.choice(keys.formats), {PROMPT: text})
    assert kind in KINDS, "option_order changes more than the text"
    settings = Settings(keys.changed_words, keys.fillers)
    for attempt in range(_TRIES):
        with stopped_after(PATTERN_SECONDS, "data_spec.entities"):
            made = perturb(text, [kind], derive_seed(seed, attempt), own, settings)
        if made != text and made.strip():
            return made
    return text


@dataclass(frozen=True)
class _Option:
    """One option where it stands in a prompt."""

    begin: int
    end: int
    text: str
    label: str | None


def _reordered(row: Row, text: str, keys: PerturbSpec, rng: random.Random) -> Row | None:
    """The row with its options in another order, and the answer that follows: the label of the
    place where the right option now stands, or the text of the option as before. None where there
    are no two different options, or the answer is none of them."""
    options = _options(row, text, keys)
    texts, labels = [o.text for o in options], [o.label for o in options]
    if len(set(texts)) < max(2, len(texts)):
        return None
    order = list(range(len(options)))
    while order == sorted(order):
        rng.shuffle(order)
    answer = row.answer.strip()
    if answer in labels:
        to = labels[order.index(labels.index(answer))]
        assert to is not None, "None is no answer"
        row = row.answered(row.answer.replace(answer, to))
    elif answer not in texts:
        return None
    if set(row.choices) == set(texts):
        row = replace(row, choices=tuple(texts[i] for i in order))
    parts, at = [], 0
    for place, i in zip(options, order, strict=True):
        parts += [text[at : place.begin], texts[i]]
        at = place.end
    return asked_anew(row, "".join(parts) + text[at:])


def _options(row: Row, text: str, keys: PerturbSpec) -> list[_Option]:
    """In their order in the prompt; none where the choices do not each stand in it once."""
    if keys.options is not None:
        with stopped_after(PATTERN_SECONDS, "perturb.options"):
            found = list(re.finditer(keys.options, text))
        return [
            _Option(*m.span(OPTION), m[OPTION], m.groupdict().get(LABEL))
            for m in found
            if m[OPTION] is not None
        ]
    places = []
    for choice in row.choices:
        whole = [m.span() for m in whole_words(choice).finditer(text)]
        if len(whole) != 1:
            return []
        places.append(_Option(*whole[0], choice, None))
    places.sort(key=lambda o: o.begin)
    apart = all(a.end <= b.begin for a, b in pairwise(places))
    return places if apart else []
