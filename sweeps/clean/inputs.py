"""Files that `sweep clean` reads: those that a spec names, or given ones."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keepgain.core.errors import UserError
from keepgain.core.formats import FormatName
from keepgain.core.jsonl import COMPRESSIONS
from keepgain.core.row_files import FoundRow, iterate_rows, records
from keepgain.sweeps.data_files import file_of, read_located, wants_choices
from keepgain.sweeps.gates.material import RowSet
from keepgain.sweeps.loaded_spec import LoadedSpec
from keepgain.sweeps.row_sets import row_sets
from keepgain.sweeps.sources import read_sources
from keepgain.sweeps.spec_data import DataRules
from keepgain.sweeps.spec_sources import DataSpec
from keepgain.sweeps.spec_suites import SuiteSpec, measures_of
from keepgain.sweeps.suites import read_suites

_KEYS = ("path", "train", "validation", "test")
OWN_NAMES = (
    "log.jsonl",
    "review.jsonl",
    "clean.json",
    "canaries.jsonl",
    "canary_controls.jsonl",
    "canary_validation.jsonl",
    "canary_test.jsonl",
)
"""Files that cleaning writes beside the rows."""


@dataclass(frozen=True)
class Input:
    """A file of rows."""

    path: Path
    key: str
    """Of the spec; of a given file: its name."""
    name: str
    """Of the file that is written."""
    scope: str
    """Rows of files of one scope are compared: all that is trained on, or one file of items."""
    rules: DataRules | None = None
    """What its fields and answers are to be like."""
    format: FormatName = "auto"
    fields: Mapping[str, str] = field(default_factory=dict)
    choices: bool = False
    prompts: bool = False

    @property
    def how(self) -> dict[str, Any]:
        """For `iterate_rows`."""
        return {n: getattr(self, n) for n in ("format", "fields", "choices", "prompts")}

    def rows(self) -> Iterator[tuple[FoundRow, dict[str, Any]]]:
        """Each row with its record; all of them, whatever `limit` says."""
        found = iterate_rows(self.path, **self.how)
        for one, (_, record) in zip(found, records(self.path), strict=True):
            yield one, record


@dataclass(frozen=True)
class Inputs:
    """All files, and the rows as the gates see them."""

    files: tuple[Input, ...]
    """What is kept of two copies is in the first one."""
    sets: tuple[RowSet, ...]
    label_field: str | None = None
    """That holds the label; None: the answer does."""

    def named(self, file: str) -> Input | None:
        """The file of that path, or else the only one of that name."""
        exact = [f for f in self.files if str(f.path) == file]
        alike = [f for f in self.files if f.path.name == Path(file).name]
        return exact[0] if exact else alike[0] if len(alike) == 1 else None


def inputs_of_spec(loaded: LoadedSpec, tasks: bool) -> Inputs:
    """All files of rows that the spec names.

    Args:
        loaded: The spec.
        tasks: Read the items of lm-evaluation-harness too: training rows may show them.

    Raises:
        UserError: As `read_sources`.
    """
    spec = loaded.spec
    scored = {suite.source for suite in spec.suites.values()}
    order = {"task": 0, "synthetic": 1, "replay": 2}
    # Of two copies the one stays that items are drawn from, then that of people.
    sources = sorted(spec.data.items(), key=lambda d: (d[0] not in scored, order[d[1].role]))
    roles = {name: data.role for name, data in spec.data.items()}
    rules = spec.data_spec
    ruled = rules.ruled_sources(roles) if rules else ()
    found: dict[Path, Input] = {}
    entries: list[tuple[str, str, DataSpec | SuiteSpec]] = [("data", n, d) for n, d in sources]
    entries += [("suites", name, suite) for name, suite in spec.suites.items()]
    for kind, name, entry in entries:
        for part in _KEYS:
            key, given = f"{kind}.{name}.{part}", getattr(entry, part, None)
            if given is None or (path := file_of(loaded, given, key)) in found:
                continue
            trained = kind == "data" and part in ("path", "train")
            held = name in ruled if kind == "data" else _gains(name, entry)
            found[path] = Input(
                path=path,
                key=key,
                name=_free_name(path, f"{name}-{part}", [f.name for f in found.values()]),
                scope="trained on" if trained else key,
                rules=rules if held else None,
                format=entry.format,
                fields=entry.fields,
                choices=wants_choices(loaded, entry),
                prompts=isinstance(entry, DataSpec) and entry.answers == "base",
            )
    read = read_sources(loaded)
    suites = read_suites(loaded, read, tasks)
    every = row_sets({name: read[name] for name, _ in sources}, suites)
    # Copies on purpose are no faults, and augmented ones stand at their parents' places.
    sets = tuple(s for s in every if s.made_from is None)
    column = rules.columns.label if rules else None
    return Inputs(tuple(found.values()), sets, column)


def inputs_of_files(paths: Sequence[Path]) -> Inputs:
    """Files without a spec: rows to train on.

    Raises:
        UserError: As `core.row_files.iterate_rows`, or a file given twice.
    """
    files: list[Input] = []
    sets: list[RowSet] = []
    for path in paths:
        if path in (f.path for f in files):
            raise UserError("the file is given twice.", where=str(path))
        name = _free_name(path, f"{path.parent.name}-{path.stem}", [f.name for f in files])
        files.append(Input(path, path.name, name, "trained on"))
        rows, _ = read_located(path)
        label = f"{name.removesuffix('.jsonl')}/train"
        sets.append(
            RowSet(label, "train", rows.rows, rows.places, role="task", columns=rows.columns,
                   source=name)
        )  # fmt: skip
    return Inputs(tuple(files), tuple(sets))


def _gains(name: str, suite: DataSpec | SuiteSpec) -> bool:
    return isinstance(suite, SuiteSpec) and measures_of(name, suite) == "gain"


def _free_name(path: Path, other: str, taken: Sequence[str]) -> str:
    """The file's own name with `.jsonl`, or another one that no file has yet."""
    stem = path.name
    for end in (*COMPRESSIONS, ".jsonl", ".json", ".csv", ".tsv", ".parquet"):
        stem = stem.removesuffix(end)
    wanted = [f"{stem}.jsonl", f"{other}.jsonl", *(f"{other}-{i}.jsonl" for i in range(2, 1_000))]
    return next(name for name in wanted if name not in taken and name not in OWN_NAMES)
