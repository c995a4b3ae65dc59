"""How a sweep is written in MLflow: experiment and tag names, ids, reversible keys. No MLflow."""

import hashlib
import re
from collections.abc import Mapping

from keepgain.core.errors import UserError

EXPERIMENT_PREFIX = "keepgain/"
PARENT = "parent"
"""Run key of the sweep's own run."""

TAG_SWEEP = "keepgain.sweep_id"
TAG_SWEEP_NAME = "keepgain.sweep_name"
TAG_RUN_KEY = "keepgain.run_key"
TAG_ROLE = "keepgain.role"
TAG_KIND = "keepgain.kind"
"""Of a run: trial, base or reference."""
TAG_STAGE = "keepgain.stage"
"""Set by the driver on the parent run: the last stage that finished."""
TAG_NOTE = "mlflow.note.content"
"""Markdown that MLflow's UI shows with a run."""
TAG_COMPLETE = "keepgain.complete"
"""Of an ended run: `true` once all that its writers said is in the store, `partly` if some of it
was refused; `false` while it runs again."""
TAG_HEARTBEAT = "keepgain.heartbeat"
"""Of the parent run, while a driver is alive: who it is and when it said so, as JSON."""
TAG_DUPLICATE = "keepgain.duplicate_of"
"""Of a run that was made twice and deleted: the id of the one that stays."""
TAG_KEY = "keepgain.key."
"""Followed by the digest of a key too long for MLflow; the value is the key."""
METRIC_COMPLETED = "trials/completed"
METRIC_FAILED = "trials/failed"
METRIC_TOKENS = "cost/tokens"
METRIC_TRIALS = "cost/trials"
METRIC_CPU_HOURS = "cost/cpu_hours"
METRIC_GPU_HOURS = "cost/gpu_hours"
METRIC_USD = "cost/usd"
"""Metrics of the parent run that the driver keeps up to date, for `sweep list`."""
TAG_USER = "mlflow.user"
"""Who began the sweep; MLflow's UI shows it."""
RESERVED_TAGS = ("mlflow.", "keepgain.")
"""Beginnings of tags that are not the user's own."""
ROLE_SWEEP = "sweep"
ROLE_RUN = "run"
RECORD_FOLDER = "record"
"""Artifact folder of the parent run, and folder in the sweep's own, of `record_files`."""

MAX_KEY = 250

_SWEEP_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_ILLEGAL = re.compile(r"[^/\w.\- :]")
_ESCAPE = re.compile(r"_x([0-9A-F]*)_")
_LONG = re.compile(r"_xs([0-9a-f]{16})_$")


def experiment_name(sweep_name: str) -> str:
    """One experiment per question, so that its edited versions can be compared in the UI."""
    return f"{EXPERIMENT_PREFIX}{sweep_name}"


def check_id(sweep_id: str) -> str:
    """Returns the id if it is safe as a folder name and in a search filter.

    Raises:
        UserError: It is not.
    """
    if not _SWEEP_ID.fullmatch(sweep_id) or set(sweep_id) == {"."}:
        raise UserError(
            f"'{_printable(sweep_id)}' cannot be a sweep id: 1 to 64 letters (A-Z, a-z), digits, "
            "'.', '_' or '-'.",
            hint="`sweep list` shows the ids.",
        )
    return sweep_id


def mlflow_key(key: str) -> str:
    """A metric, parameter or tag key that MLflow accepts; `original_key` gives `key` back.

    Legal keys stay as they are, except that an underscore before an x is escaped as well, so that
    no two keys meet. What MLflow refuses (`acc,none`, `recall@5`, `a//b`, `../x`) becomes `_xHEX_`.
    A key that is longer than MLflow allows is cut and ends with a digest: `original_key` then needs
    the run's tags, among which the shipper puts `keepgain.key.DIGEST`.
    """
    if not key:
        return "_x_"
    encoded = "/".join(_segment(s) for s in re.split(r"(?<=[^/])/(?=[^/])", key))
    if len(encoded) <= MAX_KEY:
        return encoded
    # The cut may fall into an escape; harmless, since a long key is looked up, never decoded.
    return f"{encoded[:200].rstrip('/')}_xs{key_digest(key)}_"


def key_digest(key: str) -> str:
    """The digest that ends the MLflow form of a long key."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def is_long(encoded: str) -> bool:
    """True if `original_key` needs the run's tags to undo it."""
    return _LONG.search(encoded) is not None


def original_key(encoded: str, tags: Mapping[str, str] | None = None) -> str:
    """The reverse of `mlflow_key`; `tags` are the run's, for keys that were too long.

    Keys that other tools logged come back unchanged unless they look like an escape.
    """
    if match := _LONG.search(encoded):
        return (tags or {}).get(TAG_KEY + match.group(1), encoded)
    return _ESCAPE.sub(_decode, encoded)


def _segment(segment: str) -> str:
    """Escapes one part between single inner slashes; slashes left in it are illegal ones."""
    if segment == "." or segment.startswith(".."):
        # MLflow takes a key that begins so (`..a` too) for a path that leads out.
        return f"_x2E_{_segment(segment[1:])}" if len(segment) > 2 else f"_x2E_{segment[1:]}"
    escaped = re.sub(r"_(?=x)", "_x5F_", segment)
    return re.sub(r"[^\w.\- :]", lambda m: f"_x{ord(m.group()):X}_", escaped)


def _decode(match: re.Match[str]) -> str:
    digits = match.group(1)
    if not digits:
        return ""
    code = int(digits, 16)
    return chr(code) if code <= 0x10FFFF else match.group()


def _printable(text: str) -> str:
    return ascii(text[:80])[1:-1]
