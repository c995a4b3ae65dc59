"""Small sets of labelled rows, with what the gates on labels need."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keepgain.core.rows import Row
from keepgain.sweeps.gates.columns import Column, ColumnsBuilder
from keepgain.sweeps.gates.labels import Facts, facts_of, labels_of
from keepgain.sweeps.gates.material import RowSet

Case = tuple[str, str]
"""Question and answer."""


def labelled(
    label: str,
    cases: Sequence[Case],
    fields: Sequence[dict[str, str]] | None = None,
    groups: Sequence[str] | None = None,
    **kind: Any,
) -> RowSet:
    """Of a source with `role`, of a suite with `measures`; lines are counted from 1."""
    columns = ColumnsBuilder()
    for row in fields or [{} for _ in cases]:
        columns.add(row)
    rows = tuple(
        Row(str(i), "pair", prompt=q, answer=a, group=None if groups is None else groups[i])
        for i, (q, a) in enumerate(cases)
    )
    places = tuple(f"{label}:{i + 1}" for i in range(len(rows)))
    part: Any = label.split("/")[1]
    return RowSet(label, part, rows, places, columns=columns.columns(), **kind)


def known(*sets: RowSet) -> tuple[list[RowSet], Facts, dict[str, Column]]:
    """The sets, with the facts and labels that the gates take."""
    facts = facts_of(sets)
    return list(sets), facts, labels_of(sets, facts)


THINGS = {
    "refund": ("money back", "charged twice", "wrong amount", "paid already"),
    "delivery": ("parcel late", "courier lost it", "box never came", "tracking stuck"),
    "login": ("password reset", "locked out", "code not sent", "account blocked"),
}
_FILLER = (
    "please help",
    "since monday",
    "my order",
    "thanks",
    "hello there",
    "once more",
    "really",
)


def tickets(rows: int, seed: int = 0) -> list[Case]:
    """Questions that tell their label by two phrases of it; no question twice."""
    random = np.random.default_rng(seed)
    cases: dict[str, str] = {}
    while len(cases) < rows:
        label = str(random.choice(list(THINGS)))
        told = random.choice(THINGS[label], 2, replace=False)
        said = random.choice(_FILLER, 2, replace=False)
        cases[f"{said[0]} {told[0]} {said[1]} {told[1]} case {random.integers(1000)}"] = label
    return list(cases.items())


def mislabelled(cases: Sequence[Case], share: float, seed: int = 1) -> tuple[list[Case], set[int]]:
    """With another label in a share of the rows; which rows these are."""
    random = np.random.default_rng(seed)
    wrong = set(random.choice(len(cases), round(share * len(cases)), replace=False).tolist())
    names = list(THINGS)
    turned = {
        i: names[(names.index(cases[i][1]) + int(random.integers(1, len(names)))) % len(names)]
        for i in sorted(wrong)
    }
    return [(q, turned.get(i, a)) for i, (q, a) in enumerate(cases)], wrong
