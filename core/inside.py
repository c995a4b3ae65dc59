"""Paths that stay inside a folder, whatever a file that was read says."""

from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import AfterValidator

from keepgain.core.errors import UserError


def inside(folder: Path, name: str) -> Path:
    """The file `name` below `folder`, which need not be there.

    Raises:
        UserError: It leads out of the folder, by its name or by a symbolic link.
    """
    path = folder / name
    if _leads_out(name) or not path.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"'{ascii(name)[1:-1][:80]}' leads out of its folder.", where=str(folder))
    return path


def _leads_out(name: str) -> bool:
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts or "\0" in name or "\\" in name


def _checked(name: str) -> str:
    if _leads_out(name):
        raise ValueError("must be a path below the sweep's folder, without '..'")
    return name


InnerPath = Annotated[str, AfterValidator(_checked)]
"""A path relative to the folder of a sweep. Links are looked at when it is read: see `inside`."""
