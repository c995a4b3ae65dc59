"""Functions and programs of the user: found by name, known by their content."""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from keepgain.core.errors import UserError
from keepgain.core.identity import file_digest, fingerprint


def load_function(entry: str, folder: str = "") -> Callable[..., Any]:
    """The function of an entry point `module:function`.

    Args:
        entry: As in the registry or the spec.
        folder: Looked in first, for modules that are not installed.

    Raises:
        UserError: The module cannot be imported, or has no such function.
    """
    module, _, name = entry.partition(":")
    with _first_on_path(folder):
        try:
            found = getattr(importlib.import_module(module), name, None)
        except Exception as error:  # whatever a user's module does when it is imported
            raise UserError(
                f"the module '{module}' cannot be imported ({type(error).__name__}: {error}).",
                hint=f"It must be installed, or lie in {folder or 'the import path'}.",
            ) from None
    if not callable(found):
        raise UserError(f"the module '{module}' has no function '{name}'.")
    function: Callable[..., Any] = found
    return function


def code_digest(entry: str | None, command: Sequence[str], folder: str) -> str | None:
    """What a user's own code is known by: its content, wherever it lies.

    Args:
        entry: `module:function`; the module's file is in the digest.
        command: Of `program`; its words that are files below `folder` are in the digest.
        folder: The spec's.

    Raises:
        UserError: There is no such module.
    """
    if entry is not None:
        module = entry.partition(":")[0]
        with _first_on_path(folder):
            try:
                spec = importlib.util.find_spec(module)
            except (ImportError, ValueError):
                spec = None
        if spec is None:
            raise UserError(
                f"there is no module '{module}'.",
                hint=f"It must be installed, or lie in {folder}.",
            )
        readable = spec.origin is not None and Path(spec.origin).is_file()
        return file_digest(Path(str(spec.origin))) if readable else None
    files = [path for word in command if (path := located(word, folder))]
    return fingerprint([file_digest(path) for path in files]) if files else None


def located(word: str, folder: str) -> Path | None:
    """The file of the spec's folder that a word of a command names, if it names one."""
    path = Path(folder) / word
    return path if not Path(word).is_absolute() and path.is_file() else None


@contextmanager
def _first_on_path(folder: str) -> Iterator[None]:
    if not folder:
        yield
        return
    sys.path.insert(0, folder)
    try:
        importlib.invalidate_caches()
        yield
    finally:
        sys.path.remove(folder)
