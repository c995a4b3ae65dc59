"""Encoded rows in files: written once, shared by the trials of a machine, read by page.

A source that is larger than memory is trained on like any other. Its rows are encoded in chunks and
stored flat; a worker maps the files and builds a row when it is drawn, so that the kernel keeps in
memory what is used, once for all processes. What is needed of every row (its length, its class)
comes from one small record a row.
"""

import fcntl
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from keepgain.core.lazy import LazySequence
from keepgain.core.publish import MANIFEST, publish, read_json, remove_leftovers, write_json
from keepgain.trainers.encode import Encoded

log = logging.getLogger(__name__)

CHUNK = 1024
"""Rows that are encoded at a time."""

_ROW = np.dtype(
    [
        ("end", "<i8"),  # of its tokens, among all tokens; they begin where the row before ends
        ("gaps", "<i8"),  # the same of its gaps
        ("start", "<i4"),
        ("group", "<i4"),  # place in the list of names; "" is no group
        ("answer", "<u4"),
        ("truncated", "?"),
    ]
)
_TOKENS, _ROWS, _GAPS, _GROUPS = "tokens.bin", "rows.bin", "gaps.bin", "groups.json"


@dataclass(frozen=True, eq=False)
class TokenRows(LazySequence[Encoded]):
    """The rows of a store, or some of them; a row is built when it is asked for."""

    tokens: npt.NDArray[np.int32]
    """Of all rows, one after the other."""
    records: npt.NDArray[Any]
    """Of shape [rows of the store]; fields as in `_ROW`."""
    gaps: npt.NDArray[np.int32]
    """Shape [gaps, 2]."""
    groups: tuple[str, ...]
    """Names."""
    replay: bool = False
    """From a source of role replay."""
    chosen: npt.NDArray[np.int64] | None = None
    """Places of these rows in the store; None: all rows."""

    def __len__(self) -> int:
        return len(self.records if self.chosen is None else self.chosen)

    def at(self, index: int) -> Encoded:
        place = index if self.chosen is None else int(self.chosen[index])
        row = self.records[place]
        first, first_gap = (0, 0) if place == 0 else self.records[place - 1][["end", "gaps"]]
        return Encoded(
            ids=self.tokens[first : row["end"]],
            start=int(row["start"]),
            truncated=bool(row["truncated"]),
            group=self.groups[row["group"]] or None,
            answer_hash=int(row["answer"]),
            replay=self.replay,
            gaps=tuple((int(a), int(b)) for a, b in self.gaps[first_gap : row["gaps"]]),
        )

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each row."""
        return self._of_chosen(np.diff(self.records["end"], prepend=0))

    def classes(self, by: str) -> npt.NDArray[np.int64]:
        """A number of each row, equal for rows of one class, by `group` or `answer`."""
        return self._of_chosen(self.records[by].astype(np.int64))

    def where(self, chosen: npt.NDArray[np.int64]) -> "TokenRows":
        """The rows with these indices, in their order."""
        return replace(self, chosen=self._of_chosen(np.arange(len(self.records)))[chosen])

    def _of_chosen(self, values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        return values if self.chosen is None else values[self.chosen]


def stored_tokens(folder: Path, encoded: Callable[[], Iterable[Sequence[Encoded]]]) -> TokenRows:
    """The rows of the store in `folder`; written first if there is none or it is not whole.

    Args:
        folder: One for each source, tokenizer and way to encode.
        encoded: Gives all rows, some at a time. What it raises leaves no store.
    """
    return _opened(written_once(folder, lambda into: _write(into, encoded())))


def written_once(folder: Path, write: Callable[[Path], None]) -> Path:
    """The folder of files below `folder`; made first if there is none or it is not whole.

    One process of a machine writes, others wait for it; a killed writer leaves nothing that counts.

    Args:
        folder: One for each content.
        write: Puts the files into the folder it is given. What it raises leaves nothing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "rows"
    if not _is_whole(target):
        with _lock(folder / "lock"):
            if not _is_whole(target):
                remove_leftovers(folder)
                publish(target, write)
    return target


def _write(into: Path, chunks: Iterable[Sequence[Encoded]]) -> None:
    names: dict[str, int] = {"": 0}
    end = gaps = 0
    with (
        (into / _TOKENS).open("wb") as tokens,
        (into / _ROWS).open("wb") as records,
        (into / _GAPS).open("wb") as gap_file,
    ):
        for chunk in chunks:
            rows = []
            for row in chunk:
                end, gaps = end + len(row.ids), gaps + len(row.gaps)
                group = names.setdefault(row.group or "", len(names))
                rows.append((end, gaps, row.start, group, row.answer_hash, row.truncated))
                tokens.write(row.ids.astype("<i4", copy=False).tobytes())
                gap_file.write(np.array(row.gaps, dtype="<i4").tobytes())
            records.write(np.array(rows, dtype=_ROW).tobytes())
    write_json(into / _GROUPS, {"names": list(names)})


def _opened(folder: Path) -> TokenRows:
    return TokenRows(
        tokens=_mapped(folder / _TOKENS, np.dtype("<i4")),
        records=_mapped(folder / _ROWS, _ROW),
        gaps=_mapped(folder / _GAPS, np.dtype("<i4")).reshape(-1, 2),
        groups=tuple(read_json(folder / _GROUPS)["names"]),
    )


def _mapped(path: Path, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    if path.stat().st_size == 0:  # cannot be mapped
        return np.empty(0, dtype=dtype)
    # A plain view: each slice of a memmap would carry the file along.
    return np.memmap(path, dtype=dtype, mode="r").view(np.ndarray)


def _is_whole(folder: Path) -> bool:
    """By the sizes alone: hashing the tokens would read all of them at every start."""
    try:
        files = read_json(folder / MANIFEST)["files"]
        sizes = {name: (folder / name).stat().st_size for name in files}
    except (OSError, ValueError, KeyError):
        return False
    whole = all(sizes[name] == entry["bytes"] for name, entry in files.items())
    if not whole:
        log.warning("%s is not what was written: it is made again", folder)
    return whole


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """The kernel's lock: it ends with its process."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
