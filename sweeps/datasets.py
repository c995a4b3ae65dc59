"""Files of the spec, read and split: sources to train on, suites to score."""

import hashlib
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from keepgain.core.config import BaseAnswers, Measures, Role, SourceRef, Split, SuiteRef
from keepgain.core.errors import UserError
from keepgain.core.formats import iterate_rows
from keepgain.core.identity import fingerprint
from keepgain.core.paths import expanded
from keepgain.core.positive import marked
from keepgain.core.registered_scorer import SHARE
from keepgain.core.rows import Row, RowSpool
from keepgain.core.scorer_options import ScorerOptions
from keepgain.sweeps.augment.copies import copied_rows
from keepgain.sweeps.augment.follow import PARENT, following_rows
from keepgain.sweeps.composed_suites import composed_items, refuse_seen_templates
from keepgain.sweeps.extraction_suites import extraction_items
from keepgain.sweeps.gates.columns import ColumnsBuilder
from keepgain.sweeps.gates.lineage import Lineage
from keepgain.sweeps.gates.material import normalised
from keepgain.sweeps.lm_eval_suites import read_task
from keepgain.sweeps.located import Located, Places, digest_rows
from keepgain.sweeps.perturbed_suites import perturbed_items
from keepgain.sweeps.recovered_suites import recovered, refuse_unlike, remade
from keepgain.sweeps.spec import LoadedSpec, measures_of, splits_automatically
from keepgain.sweeps.spec_data import PairedAnswers
from keepgain.sweeps.spec_extract import ExtractSpec
from keepgain.sweeps.spec_guards import with_guarded
from keepgain.sweeps.spec_models import DataSpec, SuiteSpec
from keepgain.sweeps.spec_scorer import (
    chance_level,
    choice_counts,
    refuse_unmeasurable,
    refuse_unscorable,
    scorer_options,
)

SPLITS: tuple[Split, ...] = ("validation", "test")


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


@dataclass(frozen=True)
class Suite:
    """The items of a suite."""

    name: str
    spec: SuiteSpec
    validation: Located
    test: Located
    options: ScorerOptions | None = None
    """What the scorer takes."""

    def items(self, split: Split) -> Located:
        """Of one split."""
        return self.validation if split == "validation" else self.test

    def choice_counts(self, split: Split) -> list[int]:
        """Choices or labels of each item; empty where nothing is to choose."""
        return choice_counts(self.spec, self.options, self.items(split).rows)

    @property
    def chance(self) -> float | None:
        """The score of blind guessing; None where nothing is to choose, or not right or wrong."""
        rights = self.spec.registered.metric.unit == SHARE
        return chance_level(self.choice_counts("validation")) if rights else None


def bucket(row: Row, buckets: int, salt: str) -> int:
    """A number below `buckets` that follows from the question: equal ones stay together, and a
    row stays where it is when the file grows."""
    digest = hashlib.sha256(f"{salt}:{normalised(row.question())}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % buckets


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


def suite_ref(suite: Suite, split: Split) -> SuiteRef:
    """Its items of one split, not yet written to a file."""
    rows = suite.items(split).rows
    measures: Measures | None = measures_of(suite.name, suite.spec)
    assert measures is not None, "the spec's cross-check refuses it"
    return SuiteRef(
        name=suite.name,
        measures=measures,
        split=split,
        scorer=suite.spec.metric_name,
        path="",
        digest=digest_rows(rows),
        items=len(rows),
        max_new_tokens=suite.spec.max_new_tokens,
        options=suite.options,
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


def read_suites(
    loaded: LoadedSpec, sources: Mapping[str, Source], tasks: bool = True
) -> dict[str, Suite]:
    """All suites of the spec; raises as `read_sources` does.

    Args:
        loaded: The spec.
        sources: Of `read_sources`.
        tasks: Those of lm-evaluation-harness too.
    """
    given = loaded.spec.suites
    suites: dict[str, Suite] = {}
    for name, spec in sorted(given.items(), key=lambda s: bool(s[1].made_of)):
        if spec.lm_eval is not None and not tasks:
            continue
        if spec.made_of:
            suite = _made_suite(loaded, name, spec, sources, suites)
        else:
            suite = _read_suite(loaded, name, spec, sources)
        suite = _marked(suite)
        _refuse_empty(loaded, suite)
        suites[name] = _with_options(loaded, suite)
    _refuse_unknown_slices(loaded, suites.values())
    if loaded.spec.question.guards:
        suites = _guarded(loaded, suites)
    return {name: suites[name] for name in given if name in suites}


def _guarded(loaded: LoadedSpec, suites: Mapping[str, Suite]) -> dict[str, Suite]:
    gains = [n for n, s in loaded.spec.suites.items() if measures_of(n, s) == "gain"]
    with loaded.lined("question.guards"):
        return with_guarded(loaded.spec, suites, gains)


def _marked(suite: Suite) -> Suite:
    """Where one label is counted, each item says in a slice whether it is its own."""
    positive = suite.spec.positive
    if positive is None:
        return suite
    validation, test = (remade(suite.items(s), lambda row: marked(row, positive)) for s in SPLITS)
    return Suite(suite.name, suite.spec, validation, test)


def wants_choices(loaded: LoadedSpec, spec: DataSpec | SuiteSpec) -> bool:
    """True of a suite that is scored by choices, and of the source of such a suite."""
    return any(s.registered.fits == "choices" for s in _suites_of(loaded, spec))


def facts_wanted(loaded: LoadedSpec, spec: DataSpec | SuiteSpec) -> tuple[str, ...]:
    """Further keys of the rows that scorers read: those of the suite, or of a source's suites."""
    found = (name for s in _suites_of(loaded, spec) for name in s.registered.facts)
    return tuple(dict.fromkeys(found))


def _suites_of(loaded: LoadedSpec, spec: DataSpec | SuiteSpec) -> list[SuiteSpec]:
    """The suite itself, or those that draw from the source."""
    if isinstance(spec, SuiteSpec):
        return [spec]
    suites = loaded.spec.suites.values()
    return [s for s in suites if s.source is not None and loaded.spec.data[s.source] is spec]


def _read(
    loaded: LoadedSpec, spec: DataSpec | SuiteSpec, given: str, key: str
) -> tuple[Located, str]:
    """The rows of a file, and its format."""
    return read_located(
        file_of(loaded, given, key),
        format=spec.format,
        fields=spec.fields,
        limit=spec.limit,
        slices=loaded.spec.slices,
        choices=wants_choices(loaded, spec),
        facts=facts_wanted(loaded, spec),
        prompts=isinstance(spec, DataSpec) and spec.answers == "base",
        whole=(PARENT,) if isinstance(spec, DataSpec) and spec.follows is not None else (),
        dates=fields_of_dates(loaded),
    )


def fields_of_dates(loaded: LoadedSpec) -> tuple[str, ...]:
    """That the spec names."""
    rules = loaded.spec.data_spec
    return (rules.columns.date,) if rules is not None and rules.columns.date is not None else ()


def file_of(loaded: LoadedSpec, given: str, key: str) -> Path:
    """The file that a key of the spec names.

    Raises:
        UserError: It is not there.
    """
    if given.startswith("hf:"):
        name = given.removeprefix("hf:")
        raise UserError(
            f"'{given}' is a hub id, and rows are read from files.",
            where=loaded.where(key),
            hint=f"Save it once, `datasets.load_dataset('{name}', split='train')"
            ".save_to_disk('FOLDER')`, and name the folder.",
        )
    path = expanded(given, loaded.where(key))
    path = path if path.is_absolute() else loaded.folder / path
    if not path.exists():
        raise UserError(
            f"no such file: {path}.",
            where=loaded.where(key),
            hint="Paths start at the spec's folder.",
        )
    return path


def read_located(
    path: Path, whole: Sequence[str] = (), dates: Sequence[str] = (), **how: Any
) -> tuple[Located, str]:
    """The rows of a file, and its format.

    Args:
        path: The file.
        whole: As of `ColumnsBuilder`.
        dates: Likewise.
        how: As of `core.formats.iterate_rows`, which also says what is raised.
    """
    found = iterate_rows(path, **how)
    spool, lines, columns, kind = RowSpool(), array("q"), ColumnsBuilder(whole, dates), ""
    for one in found:
        kind = one.format
        lines.append(one.line)
        spool.add(one.row)
        columns.add(one.beside)
    places = Places(path, np.array(lines, dtype=np.int64))
    return Located(spool.rows(), places, columns.columns()), kind


def _buckets(rows: Located, buckets: int, salt: str) -> npt.NDArray[np.int64]:
    """Of each row."""
    numbers = (bucket(row, buckets, salt) for row in rows.rows)
    return np.fromiter(numbers, dtype=np.int64, count=len(rows.rows))


def _read_source(loaded: LoadedSpec, name: str) -> Source:
    return replace(_split_source(loaded, name), answers=loaded.spec.data[name].base_answers)


def _split_source(loaded: LoadedSpec, name: str) -> Source:
    spec = loaded.spec.data[name]
    if spec.path is None:
        assert spec.train is not None, "DataSpec checks it"
        train, kind = _read(loaded, spec, spec.train, f"data.{name}.train")
        parts = {
            split: _read(loaded, spec, given, f"data.{name}.{split}")[0]
            for split in SPLITS
            if (given := getattr(spec, split)) is not None
        }
        nothing = train.where(np.zeros(len(train.rows), dtype=np.bool_))
        validation, test = (parts.get(split, nothing) for split in SPLITS)
        return Source(name, spec.role, train, validation, test, format=kind)
    rows, kind = _read(loaded, spec, spec.path, f"data.{name}.path")
    if not splits_automatically(name, loaded.spec):
        nothing = rows.where(np.zeros(len(rows.rows), dtype=np.bool_))
        return Source(name, spec.role, rows, nothing, nothing, format=kind)
    of_row = _buckets(rows, 10, "split")
    train, validation, test = (rows.where(m) for m in (of_row < 8, of_row == 8, of_row == 9))
    if not train.rows:
        raise UserError(
            f"no training rows are left of {len(rows.rows)} after the split.",
            where=loaded.where(f"data.{name}.path"),
            hint="Add rows, or give `train`, `validation` and `test` files.",
        )
    return Source(name, spec.role, train, validation, test, format=kind)


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


def _read_suite(
    loaded: LoadedSpec, name: str, spec: SuiteSpec, sources: Mapping[str, Source]
) -> Suite:
    if spec.source is not None:
        source = sources[spec.source]
        return Suite(name, spec, source.validation, source.test)
    if spec.lm_eval is not None:
        documents, options = read_task(loaded, name, spec.lm_eval)
        return Suite(name, spec, *_halves(_of_task(spec.lm_eval.task, documents)), options)
    if spec.extract is not None:
        return Suite(name, spec, *_of_source(loaded, name, spec.extract, sources))
    if spec.pairs is not None:
        return Suite(name, spec, *_of_pairs(loaded, name, spec.pairs))
    if spec.path is not None:
        rows, _ = _read(loaded, spec, spec.path, f"suites.{name}.path")
        return Suite(name, spec, *_halves(rows))
    assert spec.validation is not None and spec.test is not None, "SuiteSpec checks it"
    return Suite(
        name,
        spec,
        _read(loaded, spec, spec.validation, f"suites.{name}.validation")[0],
        _read(loaded, spec, spec.test, f"suites.{name}.test")[0],
    )


def _made_suite(
    loaded: LoadedSpec,
    name: str,
    spec: SuiteSpec,
    sources: Mapping[str, Source],
    suites: Mapping[str, Suite],
) -> Suite:
    """A suite whose items are made of those of others, split by split."""
    if (keys := spec.perturb) is not None:
        where = loaded.where(f"suites.{name}.perturb")
        rules = loaded.spec.data_spec
        whole = suites[keys.of]
        validation, test = (perturbed_items(whole.items(s), keys, rules, where) for s in SPLITS)
        return Suite(name, spec, validation, test)
    if (again := spec.recover) is not None:
        where = loaded.where(f"suites.{name}.recover")
        refuse_unlike(name, spec, loaded.spec.suites[again.of], where)
        first = suites[again.of]
        validation, test = (recovered(first.items(s), again.prefix, where) for s in SPLITS)
        return Suite(name, spec, validation, test)
    assert spec.compose is not None, "made suites are one of the three"
    both = spec.compose
    where = loaded.where(f"suites.{name}.compose")
    if both.held_out:
        trained = chain.from_iterable(s.train.placed() for s in sources.values())
        refuse_seen_templates(both, trained, where)
    a, b = suites[both.a], suites[both.b]
    validation, test = (composed_items(a.items(s), b.items(s), both, where) for s in SPLITS)
    return Suite(name, spec, validation, test)


def _halves(rows: Located) -> tuple[Located, Located]:
    """Validation and test, by the question."""
    half = _buckets(rows, 2, "suite")
    return rows.where(half == 0), rows.where(half == 1)


def _of_source(
    loaded: LoadedSpec, name: str, asked: ExtractSpec, sources: Mapping[str, Source]
) -> tuple[Located, Located]:
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


def _of_pairs(
    loaded: LoadedSpec, name: str, pairs: Sequence[PairedAnswers]
) -> tuple[Located, Located]:
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


def _of_task(task: str, documents: Mapping[int, Row]) -> Located:
    """Documents of a task of lm-evaluation-harness; their numbers stand for lines."""
    spool = RowSpool()
    for row in documents.values():
        spool.add(row)
    numbers = np.fromiter(documents, dtype=np.int64, count=len(documents))
    return Located(spool.rows(), Places(Path(f"lm_eval task {task}"), numbers))


def refuse_mixed_tokenizers(loaded: LoadedSpec) -> None:
    """For base models whose tokenizers differ: scores per token are no objective among them.

    Raises:
        UserError: The first suite that would be one.
    """
    for name, spec in loaded.spec.suites.items():
        if spec.registered.one_tokenizer and measures_of(name, spec) != "behaviour":
            raise UserError(
                f"{spec.scorer} is per token, and the base models have different tokenizers: "
                f"'{name}' cannot measure {measures_of(name, spec)} across them.",
                where=loaded.where(f"suites.{name}.scorer"),
                hint="Use `scorer: bits_per_byte`, or `measures: behaviour` to show it only.",
            )


def _refuse_empty(loaded: LoadedSpec, suite: Suite) -> None:
    counts = {split: len(suite.items(split).rows) for split in SPLITS}
    for split, count in counts.items():
        if count == 0:
            other = ", ".join(f"{n} {s}" for s, n in counts.items())
            raise UserError(
                f"the suite '{suite.name}' has no {split} items ({other}).",
                where=loaded.where(f"suites.{suite.name}"),
                hint="The rows are too few to be split; add rows, or give `validation` and `test`.",
            )


def _refuse_unknown_slices(loaded: LoadedSpec, suites: Iterable[Suite]) -> None:
    """A slice that no item has is a slip of the pen."""
    if not loaded.spec.slices:
        return
    items = (row for suite in suites for split in SPLITS for row in suite.items(split).rows)
    found = {field for row in items for field, _ in row.slices}
    for index, name in enumerate(loaded.spec.slices):
        if name not in found:
            raise UserError(
                f"no item of any suite has the field '{name}'.",
                where=loaded.where(f"slices.{index}"),
                hint="Slices are named as the files name them; `fields` does not apply.",
            )


def _with_options(loaded: LoadedSpec, suite: Suite) -> Suite:
    """With what its scorer takes; raises as `refuse_unscorable` does."""
    if suite.options is not None:
        return suite
    where = loaded.where(f"suites.{suite.name}.scorer")
    try:
        items = chain.from_iterable(suite.items(split).rows for split in SPLITS)
        options = scorer_options(suite.spec, items, loaded.folder)
    except UserError as error:
        raise UserError(error.problem, where=where, hint=error.hint) from None
    placed = chain.from_iterable(suite.items(split).placed() for split in SPLITS)
    refuse_unscorable(suite.name, suite.spec, options, placed, where)
    for split in SPLITS:
        refuse_unmeasurable(suite.name, suite.spec, split, suite.items(split).rows, where)
    return replace(suite, options=options)
