"""What safetensors files say of themselves: names and shapes, without reading a weight."""

import json
import struct
from pathlib import Path

from keepgain.core.errors import UserError

MAX_HEADER_BYTES = 100_000_000


def tensor_shapes(folder: Path, where: str) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Names and shapes from the headers of the safetensors files; no weight is read.

    Args:
        folder: Of the model.
        where: `file:key` for messages.

    Raises:
        UserError: A file is missing, or not whole.
    """
    files = [folder / name for name in shards_of(folder)] or sorted(folder.glob("*.safetensors"))
    if not files:
        raise UserError(
            f"{folder} has no *.safetensors file.",
            where=where,
            hint="Pickled weights are not read; save with `save_pretrained(...)`.",
        )
    shapes: list[tuple[str, tuple[int, ...]]] = []
    for file in files:
        if not file.is_file():
            raise UserError(f"{file} is named by the index and missing.", where=where)
        shapes += _header_shapes(file, where)
    return tuple(shapes)


def _header_shapes(file: Path, where: str) -> list[tuple[str, tuple[int, ...]]]:
    try:
        with file.open("rb") as handle:
            (size,) = struct.unpack("<Q", handle.read(8))
            if size > min(MAX_HEADER_BYTES, file.stat().st_size):
                raise ValueError("header longer than the file")
            header = json.loads(handle.read(size))
        header.pop("__metadata__", None)
        end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
        if 8 + size + end > file.stat().st_size:
            raise ValueError(f"{8 + size + end} bytes announced, {file.stat().st_size} there")
        return [(name, tuple(entry["shape"])) for name, entry in header.items()]
    except (OSError, struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{file} is not a whole safetensors file ({error}).",
            where=where,
            hint="Copy or fetch it again.",
        ) from None


def shards_of(folder: Path) -> list[str]:
    """File names of the shards, if there is an index.

    Raises:
        UserError: The index is not readable.
    """
    for path in sorted(folder.glob("*.safetensors.index.json")):
        try:
            return sorted(set(json.loads(path.read_text())["weight_map"].values()))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise UserError("not readable as a safetensors index.", where=str(path)) from None
    return []
