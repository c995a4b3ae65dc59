"""Which PEFT tuners there are and what options each takes, read from the library's source.

Importing PEFT imports torch and transformers and takes seconds; a spec is checked before that.
Source files are parsed, not run: a tuner registers itself in `tuners/NAME/__init__.py`, and its
options are the annotated fields of a configuration class in `tuners/NAME/config.py`.
"""

import ast
import difflib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from keepgain.core.config import PeftSettings
from keepgain.core.errors import UserError

_FORWARD = "puts virtual tokens before the prompt in a forward pass of its own"
_LORA = "is reached by its own name"
REFUSED = {
    "LORA": f"{_LORA}: `method: lora`, `rslora`, `dora` or `qlora`, with settings under `lora:`",
    "ADALORA": "moves its ranks by a number of steps known before, and budgets are in tokens",
    "POLY": "needs the number of a task with every row",
    "XLORA": "mixes adapters that are trained already",
    "SHADOW": "replaces what passes between the blocks of the model",
    "PROMPT_TUNING": _FORWARD,
    "MULTITASK_PROMPT_TUNING": _FORWARD,
    "P_TUNING": _FORWARD,
    "PREFIX_TUNING": _FORWARD,
    "CARTRIDGE": _FORWARD,
    "CPT": _FORWARD,
}
"""Tuners that cannot be a trial here, and why. All others were trained, saved and loaded again on
a tiny Llama (PEFT 0.21)."""
OURS = frozenset(
    "peft_type task_type inference_mode base_model_name_or_path revision auto_mapping peft_version"
    " runtime_config".split()
)
"""Options that Keepgain sets itself."""


def check_peft(settings: PeftSettings, where: str) -> None:
    """Refuses a tuner that is not known or not usable, and options that it does not have.

    Where PEFT is not installed nothing is checked; the worker then does.

    Args:
        settings: As the spec or a trial has them.
        where: `file:training.peft`, for messages.

    Raises:
        UserError: With what there is.
    """
    known = tuners()
    if not known:
        return
    usable = [t for t in known if t not in REFUSED]
    if settings.type in REFUSED:
        raise UserError(
            f"the PEFT tuner {settings.type} {REFUSED[settings.type]}.",
            where=f"{where}.type",
            hint=f"Usable: {', '.join(usable)}.",
        )
    if settings.type not in known:
        near = difflib.get_close_matches(settings.type, usable, n=2)
        raise UserError(
            f"PEFT has no tuner '{settings.type}'.",
            where=f"{where}.type",
            hint=f"Did you mean {' or '.join(near)}?" if near else f"Usable: {', '.join(usable)}.",
        )
    options = sorted(known[settings.type] - OURS)
    for name in settings.options:
        if name in OURS:
            raise UserError(f"'{name}' is set by Keepgain.", where=f"{where}.{name}")
        if name not in options:
            near = difflib.get_close_matches(name, options, n=2)
            raise UserError(
                f"{settings.type} has no option '{name}'.",
                where=f"{where}.{name}",
                hint=f"Did you mean {' or '.join(near)}?"
                if near
                else f"Its options: {', '.join(options)}.",
            )


@cache
def tuners() -> dict[str, frozenset[str]]:
    """Type of each tuner → names of its options; empty where PEFT is not installed."""
    found = find_spec("peft")
    if found is None or found.origin is None:
        return {}
    root = Path(found.origin).parent
    classes: dict[str, ast.ClassDef] = {}
    registered: dict[str, str] = {}
    for path in [root / "config.py", *root.glob("tuners/*.py"), *root.glob("tuners/*/config.py")]:
        body = ast.parse(path.read_text(encoding="utf-8")).body
        classes |= {node.name: node for node in body if isinstance(node, ast.ClassDef)}
    for path in sorted(root.glob("tuners/*/__init__.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "register_peft_method":
                given = {k.arg: k.value for k in node.keywords}
                name = ast.literal_eval(given["name"]).upper()
                registered[name] = ast.unparse(given["config_cls"])
    return {name: frozenset(_fields(cls, classes)) for name, cls in sorted(registered.items())}


def _fields(name: str, classes: dict[str, ast.ClassDef]) -> set[str]:
    """Fields that the constructor of a dataclass takes, inherited ones included."""
    if name not in classes:
        return set()
    found: set[str] = set()
    for base in classes[name].bases:
        found |= _fields(ast.unparse(base), classes)
    for node in classes[name].body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            outside = "init=False" in ast.unparse(node.value) if node.value else False
            found = found - {node.target.id} if outside else found | {node.target.id}
    return found
