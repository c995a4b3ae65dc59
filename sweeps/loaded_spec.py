"""A spec that was read, with its file and the lines of its keys for messages.

`sweeps.spec` reads it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keepgain.core.errors import UserError
from keepgain.sweeps.spec_sweep import SweepSpec

if TYPE_CHECKING:
    from keepgain.sweeps.search.space import Space


@dataclass(frozen=True)
class LoadedSpec:
    """A spec with what its messages need."""

    spec: SweepSpec
    path: Path
    lines: dict[str, int]
    """Line number of every dotted key, those of the chosen profile included."""
    raw: dict[str, Any]
    """The mapping that `spec` was read from, profile merged in, as it is written."""
    profile: str | None = None

    def where(self, key: str) -> str:
        """`file:dotted.key (line n)` for a message."""
        return place_of(self.path, self.lines, key)

    @contextmanager
    def lined(self, key: str) -> Iterator[None]:
        """Tells a fault that is found within with its line.

        Args:
            key: Where the fault names none.
        """
        try:
            yield
        except UserError as error:
            where = self.where(error.where or key)
            raise UserError(error.problem, where=where, hint=error.hint) from None

    @property
    def folder(self) -> Path:
        """Relative paths of the spec start here."""
        return self.path.resolve().parent


def place_of(path: Path, lines: Mapping[str, int], key: str) -> str:
    """`file:dotted.key (line n)`, the line being that of the nearest key around it that has one."""
    parts = key.split(".")
    found = next(
        (lines[k] for n in range(len(parts), 0, -1) if (k := ".".join(parts[:n])) in lines), None
    )
    return f"{path}:{key}" + ("" if found is None else f" (line {found})")


def spec_space(loaded: LoadedSpec) -> "Space":
    """The search space of the spec, checked against its data sources."""
    from keepgain.sweeps.search.space import parse_space

    file = str(loaded.path)
    try:
        return parse_space(loaded.spec.space, sources=list(loaded.spec.data), where=file)
    except UserError as error:  # the same fault, with its line
        key = (error.where or "").removeprefix(f"{file}:")
        raise UserError(error.problem, where=loaded.where(key), hint=error.hint) from None
