"""A folder that is there whole or not at all."""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from keepgain.core.errors import UserError
from keepgain.core.paths import expanded

SUMMARY = "clean.json"
REVIEW = "review.jsonl"


class Target:
    """Files of a folder that is being made; without a folder nothing is written.

    Args:
        folder: Exists, and is moved to its place later; None: a dry run.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._open: dict[str, IO[str]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Of the files so far."""
        return tuple(self._open)

    def begin(self, name: str) -> None:
        """Makes an empty file."""
        place = os.devnull if self._folder is None else self._folder / name
        self._open[name] = open(place, "w", encoding="utf-8", newline="\n")

    def write(
        self,
        name: str,
        value: Any,
        default: Callable[[Any], Any] | None = None,
        indent: int | None = None,
    ) -> None:
        """One line of JSON, or one document."""
        if name not in self._open:
            self.begin(name)
        text = json.dumps(value, ensure_ascii=False, default=default, indent=indent)
        self._open[name].write(text + "\n")

    def close(self) -> None:
        """Everything is on the disk then."""
        for handle in self._open.values():
            handle.flush()
            if self._folder is not None:
                os.fsync(handle.fileno())
            handle.close()


@contextmanager
def open_target(target: Path | None, force: bool, inputs: Sequence[Path]) -> Iterator[Target]:
    """A folder that takes its place when the block has ended well, and vanishes otherwise.

    It is made beside the target; a process that is killed leaves it there, hidden, and the next one
    removes it.

    Args:
        target: Where it is to be; None: nowhere.
        force: Replace what an earlier cleaning wrote.
        inputs: Files that must not be in it.

    Raises:
        UserError: The target may not be written.
    """
    if target is None:
        yield Target(None)
        return
    refuse_target(target, force, inputs)
    target = _whole(target)
    partial = target.with_name(f".{target.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        made = Target(partial)
        try:
            yield made
        finally:
            made.close()
        _move(partial, target)
    except OSError as error:
        raise UserError(f"cannot be written ({error.strerror}).", where=str(target)) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _whole(path: Path) -> Path:
    """What it leads to: a link stays where it is."""
    return Path(os.path.realpath(expanded(path)))


def _move(partial: Path, target: Path) -> None:
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        os.rename(target, old)
    os.rename(partial, target)
    shutil.rmtree(old, ignore_errors=True)


def refuse_target(target: Path | None, force: bool, inputs: Sequence[Path] = ()) -> None:
    """Arguments as of `open_target`.

    Raises:
        UserError: The target may not be written.
    """
    if target is None:
        return
    target = _whole(target)
    for path in inputs:
        if path.resolve().is_relative_to(target.resolve()):
            raise UserError(
                f"the folder holds {path}, which is read.",
                where=str(target),
                hint="Name another one: nothing is cleaned in place.",
            )
    if not target.exists():
        return
    if not target.is_dir():
        raise UserError("is a file; rows are written into a folder.", where=str(target))
    there = {entry.name for entry in target.iterdir()}
    if not there:
        return
    if REVIEW in there and force and _is_filled_in(target / REVIEW):
        raise UserError(
            "somebody has filled it in.",
            where=str(target / REVIEW),
            hint="Name another folder, or move the file away.",
        )
    try:
        ours = set(json.loads((target / SUMMARY).read_text(encoding="utf-8"))["names"])
    except (OSError, ValueError, KeyError, TypeError):
        ours = set()
    if there - ours:
        raise UserError(
            "the folder is not empty, and holds what no cleaning wrote: "
            f"{', '.join(sorted(there - ours)[:3])}.",
            where=str(target),
            hint="Name another one.",
        )
    if not force:
        raise UserError(
            "the folder is there already.", where=str(target), hint="Replace it: --force."
        )


def _is_filled_in(review: Path) -> bool:
    """Decisions of people, or what is no longer as it was written."""
    try:
        with review.open(encoding="utf-8") as lines:
            entries = [json.loads(line) for line in lines]
        return any(e["new_answer"] is not None or e["drop"] for e in entries)
    except (OSError, ValueError, KeyError, TypeError):
        return True
