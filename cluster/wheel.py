"""The installed Keepgain as an unpacked wheel, for nodes that have only what it depends on.

Written from the package's own files, editable installs included: no build, no network, no pip. A
folder with it on PYTHONPATH is all that `python -m keepgain...` needs; a packed wheel in Ray's
`py_modules` would be installed by pip together with everything that it depends on (ray 2.60).
"""

import csv
import hashlib
import io
import shutil
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

from keepgain.core.errors import UserError

NAME = "keepgain"
PACKAGES = ("core", "trainers", "cluster", "analysis", "sweeps")
WHEEL = """\
Wheel-Version: 1.0
Generator: keepgain
Root-Is-Purelib: true
Tag: py3-none-any
"""
_COPIED = ("METADATA", "entry_points.txt", "LICENSE")
_LEFT_OUT = ("__pycache__", ".")


def write_unpacked(target: Path) -> list[Path]:
    """Writes `keepgain/` and its `.dist-info` into `target`.

    Returns:
        The files, relative to `target`.

    Raises:
        UserError: Keepgain is not installed here, or `target` has a `keepgain` of its own.
    """
    if (target / NAME).exists():
        raise UserError(
            f"the upload has a '{NAME}' of its own, which would be taken for this package.",
            hint="Give that folder or module another name.",
        )
    try:
        installed = distribution(NAME)
    except PackageNotFoundError:
        raise UserError(
            "Keepgain is not installed here, so there is nothing to send along.",
            hint="Install it, or give --image-has-keepgain.",
        ) from None
    written: list[Path] = []
    for package in PACKAGES:
        root = _folder_of(package)
        for file in _files(root):
            relative = Path(NAME, package, file.relative_to(root))
            (target / relative).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target / relative)
            written.append(relative)
    info = Path(f"{NAME}-{installed.version}.dist-info")
    (target / info).mkdir()
    texts = {name: installed.read_text(name) for name in _COPIED}
    for name, text in {**texts, "WHEEL": WHEEL}.items():
        if text is not None:
            (target / info / name).write_text(text, encoding="utf-8")
            written.append(info / name)
    record = io.StringIO()
    rows = csv.writer(record, lineterminator="\n")
    rows.writerows([str(p), _digest(target / p), (target / p).stat().st_size] for p in written)
    rows.writerow([str(info / "RECORD"), "", ""])
    (target / info / "RECORD").write_text(record.getvalue(), encoding="utf-8")
    return [*written, info / "RECORD"]


def _folder_of(package: str) -> Path:
    spec = find_spec(f"{NAME}.{package}")
    assert spec is not None and spec.origin is not None, f"{NAME}.{package} is a package"
    return Path(spec.origin).parent


def _files(root: Path) -> Iterator[Path]:
    """The package's modules and the data beside them, in name order."""
    for path in sorted(root.rglob("*")):
        inner = path.relative_to(root).parts
        if path.is_file() and not any(part.startswith(_LEFT_OUT) for part in inner):
            yield path


def _digest(path: Path) -> str:
    """As RECORD has it (PEP 427)."""
    raw = hashlib.sha256(path.read_bytes()).digest()
    return f"sha256={urlsafe_b64encode(raw).rstrip(b'=').decode()}"
