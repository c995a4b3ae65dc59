"""The new items of `sweep rescore`: how they are read, and which of them are known already."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from keepgain.core.config import SuiteRef
from keepgain.core.errors import UserError
from keepgain.core.items import ItemScores
from keepgain.core.rows import Row, read_rows
from keepgain.sweeps.data_files import read_located
from keepgain.sweeps.gates.material import normalised
from keepgain.sweeps.located import Located
from keepgain.sweeps.search.replay import RunState
from keepgain.sweeps.spec_scorer import refuse_unscorable
from keepgain.sweeps.spec_sources import DataSpec
from keepgain.sweeps.spec_suites import SuiteSpec


def read_items_of(path: Path, suite: SuiteSpec, spec: dict[str, Any], old: SuiteRef) -> Located:
    """The rows of a file as items of a suite: its format and fields, or those of its source.

    Args:
        path: The file.
        suite: As the spec has it.
        spec: The whole of it, as JSON.
        old: The items that are replaced.

    Raises:
        UserError: No such file, or the first row that cannot be read or scored, by its line.
    """
    if not path.exists():
        raise UserError("no such file.", where=f"--suite {path}")
    of: SuiteSpec | DataSpec = suite
    if suite.source is not None:
        of = DataSpec.model_validate(spec["data"][suite.source])
    rows, _ = read_located(
        path,
        format=of.format,
        fields=of.fields,
        slices=tuple(spec.get("slices") or ()),
        choices=suite.registered.fits == "choices",
    )
    refuse_unscorable(old.name, suite, old.options, rows.placed(), "--suite")
    return rows


def names_among(old: SuiteRef, new: Iterable[Row]) -> dict[str, str]:
    """`new_names` where the old items' file is still there; else none: ids are taken at their word.

    Args:
        old: The items that are replaced.
        new: The rows that replace them.
    """
    path = Path(old.path)
    return new_names(read_rows(path), new) if path.is_file() else {}


def new_names(old: Iterable[Row], new: Iterable[Row]) -> dict[str, str]:
    """Id of a new row → that of the old row with its content; ids that a file gives may be other
    rows' in another file, and these get one of their own."""
    by_content: dict[tuple[str, str], str] = {}
    taken = set()
    for row in old:
        by_content.setdefault(_content(row), row.id)
        taken.add(row.id)
    names = {}
    for row in new:
        own = f"new:{row.id}" if row.id in taken else row.id
        names[row.id] = by_content.pop(_content(row), own)
    return names


def _content(row: Row) -> tuple[str, str]:
    return normalised(row.question()), normalised(row.answer)


def renamed(scores: ItemScores, names: Mapping[str, str]) -> ItemScores:
    """With other ids, where they have one."""
    ids = [names.get(i, i) for i in scores.item_ids.tolist()]
    return replace(scores, item_ids=np.array(ids, dtype=np.str_))


def in_training(run: RunState, rows: Located) -> int:
    """Rows that ask, word for word, what the run was trained on; as far as its files are there."""
    asked = [normalised(row.question()) for row in rows.rows]
    wanted = set(asked)
    known: set[str] = set()
    for source in run.asked.config["sources"]:
        if (path := Path(source["path"])).is_file():
            known |= {q for row in read_rows(path) if (q := normalised(row.question())) in wanted}
    return sum(question in known for question in asked)
