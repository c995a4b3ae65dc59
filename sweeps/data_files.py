"""Files of rows that a spec names: found, read as the spec says, and cut into parts."""

import hashlib
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from keepgain.core.errors import UserError
from keepgain.core.paths import expanded
from keepgain.core.row_files import iterate_rows
from keepgain.core.rows import Row, RowSpool
from keepgain.sweeps.augment.follow import PARENT
from keepgain.sweeps.gates.columns import ColumnsBuilder
from keepgain.sweeps.gates.material import normalised
from keepgain.sweeps.loaded_spec import LoadedSpec
from keepgain.sweeps.located import Located, Places
from keepgain.sweeps.spec_sources import DataSpec
from keepgain.sweeps.spec_suites import SuiteSpec


def read_named(
    loaded: LoadedSpec, spec: DataSpec | SuiteSpec, given: str, key: str
) -> tuple[Located, str]:
    """The rows of a file that the spec names, and its format.

    Args:
        loaded: The spec.
        spec: The source or suite that the file belongs to.
        given: The file, as it is written there.
        key: Where that is written, for messages.

    Raises:
        UserError: As `file_of` and `read_located`.
    """
    return read_located(
        file_of(loaded, given, key),
        format=spec.format,
        fields=spec.fields,
        limit=spec.limit,
        slices=loaded.spec.slices,
        choices=wants_choices(loaded, spec),
        facts=_facts_wanted(loaded, spec),
        prompts=isinstance(spec, DataSpec) and spec.answers == "base",
        whole=(PARENT,) if isinstance(spec, DataSpec) and spec.follows is not None else (),
        dates=fields_of_dates(loaded),
    )


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
        how: As of `core.row_files.iterate_rows`, which also says what is raised.
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


def wants_choices(loaded: LoadedSpec, spec: DataSpec | SuiteSpec) -> bool:
    """True of a suite that is scored by choices, and of the source of such a suite."""
    return any(s.registered.fits == "choices" for s in _suites_of(loaded, spec))


def _facts_wanted(loaded: LoadedSpec, spec: DataSpec | SuiteSpec) -> tuple[str, ...]:
    """Further keys of the rows that scorers read: those of the suite, or of a source's suites."""
    found = (name for s in _suites_of(loaded, spec) for name in s.registered.facts)
    return tuple(dict.fromkeys(found))


def _suites_of(loaded: LoadedSpec, spec: DataSpec | SuiteSpec) -> list[SuiteSpec]:
    """The suite itself, or those that draw from the source."""
    if isinstance(spec, SuiteSpec):
        return [spec]
    suites = loaded.spec.suites.values()
    return [s for s in suites if s.source is not None and loaded.spec.data[s.source] is spec]


def fields_of_dates(loaded: LoadedSpec) -> tuple[str, ...]:
    """That the spec names."""
    rules = loaded.spec.data_spec
    return (rules.columns.date,) if rules is not None and rules.columns.date is not None else ()


def buckets_of(rows: Located, buckets: int, salt: str) -> npt.NDArray[np.int64]:
    """The `bucket` of each row; of shape [rows]."""
    numbers = (bucket(row, buckets, salt) for row in rows.rows)
    return np.fromiter(numbers, dtype=np.int64, count=len(rows.rows))


def bucket(row: Row, buckets: int, salt: str) -> int:
    """A number below `buckets` that follows from the question: equal ones stay together, and a
    row stays where it is when the file grows."""
    digest = hashlib.sha256(f"{salt}:{normalised(row.question())}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % buckets
