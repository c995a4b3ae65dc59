"""Data sources of a spec: their rows, read and split."""

from dataclasses import dataclass, replace

import numpy as np

from keepgain.core.config import BaseAnswers, Role, SourceRef, Split
from keepgain.core.errors import UserError
from keepgain.sweeps.augment.copies import copied_rows
from keepgain.sweeps.augment.follow import following_rows
from keepgain.sweeps.data_files import buckets_of, read_named
from keepgain.sweeps.gates.lineage import Lineage
from keepgain.sweeps.loaded_spec import LoadedSpec
from keepgain.sweeps.located import Located, digest_rows
from keepgain.sweeps.spec_sweep import SweepSpec

SPLITS: tuple[Split, ...] = ("validation", "test")
"""Of sources and suites, that are scored."""


@dataclass(frozen=True)
class Source:
    """A data source, split; validation and test are empty where no suite needs them."""

    name: str
    role: Role
    train: Located
    validation: Located
    test: Located
    format: str
    answers: BaseAnswers | None = None
    """Set if the rows are prompts that each base model answers."""
    lineage: Lineage | None = None
    """Set if the rows were made from those of another source."""


def source_ref(source: Source) -> SourceRef:
    """Its training rows, not yet written to a file."""
    rows = source.train.rows
    return SourceRef(
        name=source.name,
        role=source.role,
        path="",
        digest=digest_rows(rows),
        rows=len(rows),
        answers=source.answers,
    )


def read_sources(loaded: LoadedSpec) -> dict[str, Source]:
    """All data sources of the spec.

    Raises:
        UserError: A file or row that cannot be used, or a split without rows.
    """
    data = loaded.spec.data
    found = {n: _read_source(loaded, n) for n, spec in data.items() if spec.augment is None}
    for name, spec in data.items():
        if spec.follows is not None:
            found[name] = _following(loaded, found[name], found[spec.follows])
    for name, spec in data.items():
        if spec.augment is not None:
            found[name] = _augmented(loaded, name, found[spec.augment])
    return {name: found[name] for name in data}


def _read_source(loaded: LoadedSpec, name: str) -> Source:
    return replace(_split_source(loaded, name), answers=loaded.spec.data[name].base_answers)


def _split_source(loaded: LoadedSpec, name: str) -> Source:
    spec = loaded.spec.data[name]
    if spec.path is None:
        assert spec.train is not None, "DataSpec checks it"
        train, kind = read_named(loaded, spec, spec.train, f"data.{name}.train")
        parts = {
            split: read_named(loaded, spec, given, f"data.{name}.{split}")[0]
            for split in SPLITS
            if (given := getattr(spec, split)) is not None
        }
        nothing = train.where(np.zeros(len(train.rows), dtype=np.bool_))
        validation, test = (parts.get(split, nothing) for split in SPLITS)
        return Source(name, spec.role, train, validation, test, format=kind)
    rows, kind = read_named(loaded, spec, spec.path, f"data.{name}.path")
    if not _splits_automatically(name, loaded.spec):
        nothing = rows.where(np.zeros(len(rows.rows), dtype=np.bool_))
        return Source(name, spec.role, rows, nothing, nothing, format=kind)
    of_row = buckets_of(rows, 10, "split")
    train, validation, test = (rows.where(m) for m in (of_row < 8, of_row == 8, of_row == 9))
    if not train.rows:
        raise UserError(
            f"no training rows are left of {len(rows.rows)} after the split.",
            where=loaded.where(f"data.{name}.path"),
            hint="Add rows, or give `train`, `validation` and `test` files.",
        )
    return Source(name, spec.role, train, validation, test, format=kind)


def _splits_automatically(name: str, spec: SweepSpec) -> bool:
    """True if the source is split 80/10/10: said so, or a suite draws from its one file."""
    data = spec.data[name]
    drawn_from = any(suite.source == name for suite in spec.suites.values())
    return data.path is not None and (data.split == "auto" or drawn_from)


def _following(loaded: LoadedSpec, source: Source, parent: Source) -> Source:
    where = loaded.where(f"data.{source.name}.path")
    parents = (parent.train, parent.validation, parent.test)
    rows, lineage = following_rows(source.train, parents, parent.name, where)
    return replace(source, train=rows, lineage=lineage)


def _augmented(loaded: LoadedSpec, name: str, parent: Source) -> Source:
    spec, where = loaded.spec.data[name], loaded.where(f"data.{name}.augment")
    rows, lineage = copied_rows(parent.train, spec, loaded.spec.data_spec, where)
    nothing = rows.where(np.zeros(len(rows.rows), dtype=np.bool_))
    return Source(name, spec.role, rows, nothing, nothing, "augmented", lineage=lineage)
