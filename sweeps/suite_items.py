"""Where the items of a suite are from: a source, files, a task, the spec itself, other suites."""

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from keepgain.core.errors import UserError
from keepgain.core.identity import fingerprint
from keepgain.core.rows import Row, RowSpool
from keepgain.sweeps.composed_suites import composed_items, refuse_seen_templates
from keepgain.sweeps.data_files import buckets_of, read_named
from keepgain.sweeps.extraction_suites import extraction_items
from keepgain.sweeps.loaded_spec import LoadedSpec
from keepgain.sweeps.located import Located, Places
from keepgain.sweeps.perturbed_suites import perturbed_items
from keepgain.sweeps.recovered_suites import recovered, refuse_unlike
from keepgain.sweeps.sources import SPLITS, Source
from keepgain.sweeps.spec_data import PairedAnswers
from keepgain.sweeps.spec_extract import ExtractSpec
from keepgain.sweeps.spec_suites import SuiteSpec

Halves = tuple[Located, Located]
"""Items of validation, and of test."""


def own_items(
    loaded: LoadedSpec, name: str, spec: SuiteSpec, sources: Mapping[str, Source]
) -> Halves:
    """Items of a source, of files, or out of the spec itself.

    Args:
        loaded: The spec.
        name: Of the suite.
        spec: Likewise.
        sources: All of the spec.

    Raises:
        UserError: A file, row or source that cannot be used.
    """
    if spec.source is not None:
        source = sources[spec.source]
        return source.validation, source.test
    if spec.extract is not None:
        return _of_source(loaded, name, spec.extract, sources)
    if spec.pairs is not None:
        return _of_pairs(loaded, name, spec.pairs)
    if spec.path is not None:
        rows, _ = read_named(loaded, spec, spec.path, f"suites.{name}.path")
        return _halves(rows)
    assert spec.validation is not None and spec.test is not None, "SuiteSpec checks it"
    return (
        read_named(loaded, spec, spec.validation, f"suites.{name}.validation")[0],
        read_named(loaded, spec, spec.test, f"suites.{name}.test")[0],
    )


def task_items(task: str, documents: Mapping[int, Row]) -> Halves:
    """Documents of a task of lm-evaluation-harness; their numbers stand for lines."""
    spool = RowSpool()
    for row in documents.values():
        spool.add(row)
    numbers = np.fromiter(documents, dtype=np.int64, count=len(documents))
    return _halves(Located(spool.rows(), Places(Path(f"lm_eval task {task}"), numbers)))


def made_items(
    loaded: LoadedSpec,
    name: str,
    spec: SuiteSpec,
    sources: Mapping[str, Source],
    originals: Mapping[str, Halves],
) -> Halves:
    """Items that are made of those of other suites, split by split.

    Args:
        loaded: The spec.
        name: Of the suite.
        spec: Likewise.
        sources: All of the spec: their rows may show a template that is to be held out.
        originals: Items of the suites that it is made of.

    Raises:
        UserError: Items that nothing can be made of; see the modules of the three kinds.
    """
    if (keys := spec.perturb) is not None:
        where = loaded.where(f"suites.{name}.perturb")
        rules = loaded.spec.data_spec
        validation, test = (perturbed_items(s, keys, rules, where) for s in originals[keys.of])
        return validation, test
    if (again := spec.recover) is not None:
        where = loaded.where(f"suites.{name}.recover")
        refuse_unlike(name, spec, loaded.spec.suites[again.of], where)
        validation, test = (recovered(s, again.prefix, where) for s in originals[again.of])
        return validation, test
    assert spec.compose is not None, "made suites are one of the three"
    both = spec.compose
    where = loaded.where(f"suites.{name}.compose")
    if both.held_out:
        trained = chain.from_iterable(s.train.placed() for s in sources.values())
        refuse_seen_templates(both, trained, where)
    pairs = zip(originals[both.a], originals[both.b], strict=True)
    validation, test = (composed_items(a, b, both, where) for a, b in pairs)
    return validation, test


def _of_source(
    loaded: LoadedSpec, name: str, asked: ExtractSpec, sources: Mapping[str, Source]
) -> Halves:
    """Validation and test items out of a source's training rows."""
    key = f"suites.{name}.extract"
    source = sources.get(asked.source)
    if source is None or source.answers is not None:
        wrong = "is unknown" if source is None else "has no answers: the base writes them"
        known = ", ".join(n for n, s in sources.items() if s.answers is None)
        raise UserError(
            f"the source '{asked.source}' {wrong}.",
            where=loaded.where(f"{key}.source"),
            hint=f"Sources with answers: {known}.",
        )
    held_out = {split: getattr(source, split) for split in SPLITS}
    return extraction_items(asked, source.train, held_out, loaded.where(key))


def _of_pairs(loaded: LoadedSpec, name: str, pairs: Sequence[PairedAnswers]) -> Halves:
    """Validation and test: few pairs by a hash could leave one of them empty, so that they are
    halved in the order of their hashes."""
    written = name in loaded.raw["suites"]
    key = f"suites.{name}.pairs" if written else "data_spec.examples"
    nearest = loaded.lines.get(key, loaded.lines.get("data_spec", 1))
    found = []
    for i, pair in enumerate(pairs):
        row_id = fingerprint(pair.model_dump())
        row = Row(
            row_id, "pair", prompt=pair.prompt, answer=pair.good, choices=(pair.good, pair.bad)
        )
        found.append((row, loaded.lines.get(f"{key}.{i}", nearest)))
    found.sort(key=lambda one: one[0].id)
    half = len(found) // 2
    return _written(loaded, found[:half]), _written(loaded, found[half:])


def _written(loaded: LoadedSpec, found: Sequence[tuple[Row, int]]) -> Located:
    """Rows of the spec itself, with their lines."""
    spool = RowSpool()
    for row, _ in found:
        spool.add(row)
    lines = np.array([line for _, line in found], dtype=np.int64)
    return Located(spool.rows(), Places(loaded.path, lines))


def _halves(rows: Located) -> Halves:
    """Validation and test, by the question."""
    half = buckets_of(rows, 2, "suite")
    return rows.where(half == 0), rows.where(half == 1)
