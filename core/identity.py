"""Names that follow from content: fingerprints, sweep and trial ids, derived seeds."""

import hashlib
import json
from pathlib import Path
from typing import Any

DIGEST_CHARS = 12


def canonical_json(value: Any) -> str:
    """One text per value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def fingerprint(value: Any, chars: int = DIGEST_CHARS) -> str:
    """The first `chars` hex digits of the SHA-256 of `canonical_json(value)`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:chars]


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def folder_digest(folder: Path, patterns: tuple[str, ...]) -> str:
    """SHA-256 over the names and contents of the files that match, in name order."""
    names = sorted({p for pattern in patterns for p in folder.glob(pattern) if p.is_file()})
    parts = [(str(p.relative_to(folder)), file_digest(p)) for p in names]
    return hashlib.sha256(canonical_json(parts).encode()).hexdigest()


def derive_seed(*parts: str | int) -> int:
    """A seed in [0, 2**31) that follows from its parts, e.g. sweep seed, trial id and replicate."""
    digest = hashlib.sha256(canonical_json([str(p) for p in parts]).encode()).digest()
    return int.from_bytes(digest[:4], "big") % (1 << 31)


def sweep_id(name: str, content: Any) -> str:
    """`name` and six hex digits of the spec's content, e.g. `ticket-routing-7f3a2c`."""
    return f"{name}-{fingerprint(content, 6)}"
