"""Faults that repeat rows: duplicates within the training rows, leaks between files."""

import random
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.data_gates.edits import EDITS, near_copy
from benchmarks.data_gates.prose import Paragraph
from benchmarks.data_gates.worlds import Item, Planted, World

_LONG = 12
"""Words: shorter texts are not cut or reordered."""


def chosen(items: Sequence[Item], rate: float, rng: random.Random) -> list[Item]:
    """A share of the items, at least one."""
    return rng.sample(list(items), max(1, round(rate * len(items))))


def _copied(record: dict[str, Any], edit: str | None, world: World, rng: random.Random) -> Any:
    """The record under another `ref`; its texts edited if asked for, labels left."""
    copy = record | {"ref": 900_000 + world.added}
    if edit is None:
        return copy
    for key in ("prompt", "answer") if world.family == "answers" else ("prompt",):
        text = record[key]
        if len(text.split()) >= _LONG:
            copy[key] = near_copy(text, edit, rng)
        elif edit in ("typos", "casing", "punctuation", "white space", "mixed"):
            copy[key] = near_copy(text, "casing" if edit == "casing" else "typos", rng)
    return copy


def _add(
    world: World, file: str, record: Any, kind: str, sub: str, of: Item, where: str
) -> Planted:
    item = world.new(record)
    world.files[file].append(item)
    return Planted(kind, sub, item.key, file, of.key, where)


def exact_duplicates(world: World, rate: float, rng: random.Random) -> list[Planted]:
    """Training rows once more, word for word."""
    return [
        _add(world, "train", _copied(i.record, None, world, rng), "exact", "verbatim", i, "train")
        for i in chosen(world.files["train"], rate, rng)
    ]


def near_duplicates(world: World, rate: float, rng: random.Random) -> list[Planted]:
    """Training rows once more, edited; the edits take turns."""
    planted = []
    for index, item in enumerate(chosen(world.files["train"], rate, rng)):
        edit = list(EDITS)[index % len(EDITS)]
        record = _copied(item.record, edit, world, rng)
        planted.append(_add(world, "train", record, "near", edit, item, "train"))
    return planted


def heavy_duplicates(world: World, rate: float, rng: random.Random) -> list[Planted]:
    """Training rows once more after three different edits: where finding them may end."""
    planted = []
    for item in chosen(world.files["train"], rate, rng):
        record = item.record
        for edit in rng.sample([e for e in EDITS if e not in ("mixed", "white space")], 3):
            record = _copied(record, edit, world, rng)
        planted.append(_add(world, "train", record, "near", "three edits", item, "train"))
    return planted


def leak(source: str, target: str, near: bool) -> Callable[..., list[Planted]]:
    """Items of `source` that stand in `target` too, verbatim or edited."""

    def plant(world: World, rate: float, rng: random.Random) -> list[Planted]:
        planted = []
        for index, item in enumerate(chosen(world.files[source], rate, rng)):
            edit = list(EDITS)[index % len(EDITS)] if near else None
            record = _copied(item.record, edit, world, rng)
            planted.append(_add(world, target, record, "leak", edit or "verbatim", item, source))
        return planted

    return plant


def embedded(filler: Sequence[Paragraph]) -> Callable[..., list[Planted]]:
    """Test items inside of longer training rows: other prose stands before and behind."""

    def plant(world: World, rate: float, rng: random.Random) -> list[Planted]:
        planted = []
        items = chosen(world.files["test"], rate, rng)
        spare = iter(rng.sample(list(filler), 3 * len(items)))
        for item in items:
            before, after = next(spare).text, next(spare).text
            record = _copied(item.record, None, world, rng)
            if world.family == "topics":
                text = f"{before} {item.record['prompt']} {after}"
                record |= {"prompt": text, "answer": rng.choice(world.labels)}
            else:
                text = f"{before} {item.record['prompt']} {item.record['answer']} {after}"
                record |= {"prompt": next(spare).text, "answer": text}
            planted.append(_add(world, "train", record, "embedded", "whole item", item, "test"))
        return planted

    return plant
