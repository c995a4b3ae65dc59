"""Whose code a base model runs: that of Transformers, or Python files of its own.

A folder's `config.json` names its own code under `auto_map`. It is run only where the spec says
`trust_remote_code: true`; then it is part of the model's digest, and a hub id needs the full hash
of a commit, since a branch may hold other code tomorrow.
"""

import ast
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from keepgain.core.errors import UserError

CODE = "*.py"
"""What is fetched and digested beside the usual files where the code is trusted."""
_MAPPING = "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES"


def require_commit(revision: str | None, where: str) -> None:
    """Refuses a hub model whose code is to be run at anything but a full commit hash."""
    if not re.fullmatch(r"[0-9a-f]{40}", revision or ""):
        raise UserError(
            f"code of a hub model is run at a full commit hash only (given: {revision!r}).",
            where=where,
            hint="Give `revision:` with the 40 digits of the commit that you have read.",
        )


def check_code(config: dict[str, Any], folder: Path, trusted: bool, where: str) -> None:
    """Refuses an architecture that can only be had by running code nobody has allowed.

    Args:
        config: The parsed config.json.
        where: `file:key` for messages.

    Raises:
        UserError: Code is needed and not trusted, is of another repository, or is not there.
    """
    own = config.get("auto_map") or {}
    named = own.get("AutoModelForCausalLM") if isinstance(own, dict) else None
    kind = config.get("model_type")
    if not trusted or named is None:
        if kind in builtin_types() or not builtin_types():
            return
        if named is None:
            raise UserError(
                f"{folder}: the installed transformers has no causal language model of the type "
                f"'{kind}'.",
                where=where,
                hint="A newer version of transformers may have it.",
            )
        raise UserError(
            f"{folder} brings its own code ({named}), which is not run.",
            where=where,
            hint="Read it; `trust_remote_code: true` at this model runs it with your rights.",
        )
    for text in _texts(own):
        if "--" in text:
            raise UserError(
                f"{folder} takes code from another repository ({text}), at no fixed commit.",
                where=where,
                hint="Copy that file into the folder and name it in `auto_map`.",
            )
        if not code_file(folder, text).is_file():
            raise UserError(
                f"{folder} has no {code_file(folder, text).name}, which its config.json names.",
                where=where,
            )


def code_file(folder: Path, reference: str) -> Path:
    """The file of an entry of `auto_map` such as `modeling_own.OwnForCausalLM`."""
    return folder / (reference.split(".")[0] + ".py")


def _texts(own: dict[str, Any]) -> list[str]:
    values = [v for v in own.values() if v is not None]
    nested = [list(v) if isinstance(v, list | tuple) else [v] for v in values]
    return [str(v) for inner in nested for v in inner if v is not None]


@cache
def builtin_types() -> frozenset[str]:
    """Model types that the installed transformers can load as a causal language model; empty where
    it is not installed. Read from its source, because importing it imports torch."""
    found = find_spec("transformers")
    if found is None or found.origin is None:
        return frozenset()
    path = Path(found.origin).parent / "models" / "auto" / "modeling_auto.py"
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        named = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == _MAPPING
        if named and isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            return frozenset(name for name, _ in ast.literal_eval(node.value.args[0]))
    return frozenset()
