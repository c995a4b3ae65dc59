"""The page that raters fill in: one file, offline, which says nothing of the arms."""

import base64
import hashlib
import json
import re
from pathlib import Path

from markupsafe import Markup

from keepgain.core.pages import environment
from keepgain.sweeps.review.bundle import Bundle
from keepgain.sweeps.spec_review import ReviewSpec

TEMPLATES = Path(__file__).parents[1] / "templates"

# Escape sequences, and marks that turn the direction of what follows. Joiners stay: scripts and
# emojis need them.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff]")


def to_html(bundle: Bundle, asked: ReviewSpec) -> str:
    """The page as text.

    Args:
        bundle: Only what is shown, the rubric and the export's id are taken from it.
        asked: What the page asks.
    """
    key = bundle.key
    data = {
        "export": key.export,
        "rubric": {name: _plain(question) for name, question in key.rubric.items()},
        "instructions": _plain(asked.instructions),
        "items": [
            {
                "id": one.id,
                "question": _plain(one.question),
                "reference": _plain(one.reference),
                "left": _plain(one.left),
                "right": _plain(one.right),
            }
            for one in bundle.shown
        ],
    }
    script = (TEMPLATES / "review.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        environment(TEMPLATES)
        .get_template("review.html")
        .render(
            # No text can end the element that holds it.
            data=Markup(json.dumps(data).replace("<", "\\u003c")),
            digest=Markup(f"'sha256-{digest}'"),
            rubric=bool(key.rubric),
            script=Markup(script),
            style=Markup((TEMPLATES / "review.css").read_text(encoding="utf-8")),
        )
    )


def _plain(text: str) -> str:
    return _CONTROL.sub("", text)
