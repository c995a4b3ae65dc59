"""HTML pages that are one file: every text in them is escaped and without control characters."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from keepgain.core.errors import UserError
from keepgain.core.terminal import clean


def environment(templates: Path) -> Environment:
    """For templates of a folder; the filter `prose` shows what stands between backticks as code."""
    made = Environment(
        loader=FileSystemLoader(templates),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    made.filters["prose"] = _prose
    return made


def save(path: Path, text: str) -> None:
    """Writes a file whole or not at all; signs that UTF-8 does not have become `?`.

    Raises:
        UserError: It cannot be written.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        temporary.write_bytes(text.encode("utf-8", "replace"))
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UserError(f"the report cannot be written ({error}).", where=str(path)) from None


def _prose(text: str) -> Markup:
    """A sentence in which what stands between backticks is code."""
    parts = clean(text).split("`")
    if len(parts) % 2 == 0:
        return escape(clean(text))
    code = Markup("<code>{}</code>")
    return Markup("").join(code.format(p) if n % 2 else escape(p) for n, p in enumerate(parts))


def _shown(value: Any) -> Any:
    """Without control and direction characters: texts come from users and from stores."""
    return clean(value) if isinstance(value, str) and not hasattr(value, "__html__") else value
