"""What is shown in a terminal: no control characters, whoever chose the name; no secrets."""

import re
import sys
import traceback
from types import TracebackType

from keepgain.core.redaction import redact

# Escape sequences begin with a control character; direction marks and zero-width characters make a
# name look like another one; half a character (a lone surrogate) cannot be printed at all.
_ANYWHERE = r"\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff"
_CONTROL = re.compile(rf"[\x00-\x1f{_ANYWHERE}]")
_BUT_LINES = re.compile(rf"[\x00-\x08\x0b-\x1f{_ANYWHERE}]")


def clean(text: object) -> str:
    """One line of text without control and direction characters."""
    return _CONTROL.sub("", str(text))


def shown(text: object) -> str:
    """Text as it may be printed: redacted, lines and tabs kept, no other control character."""
    return redact(_BUT_LINES.sub("", str(text)))


def show_faults_redacted() -> None:
    """From now on the traceback of an error that nobody handles is printed without secrets."""
    sys.excepthook = _show


def _show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    print(shown("".join(traceback.format_exception(kind, error, trace))), file=sys.stderr, end="")
