"""Prose of this repository and what happens to copies of it, for tests of the gates."""

import random
import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from keepgain.core.rows import Row
from keepgain.sweeps.gates.material import RowSet

DOCS = Path(__file__).resolve().parents[3] / "docs"


@cache
def paragraphs() -> tuple[str, ...]:
    """Of 30 to 300 words each, all different."""
    found = []
    for path in sorted(DOCS.glob("*.md")):
        text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.S)
        for part in re.split(r"\n\s*\n|\n- ", text):
            words = part.split()
            listed = part.lstrip().startswith("|") or "*Why:*" in part  # entries are alike
            if 30 <= len(words) <= 300 and not listed:
                found.append(" ".join(words))
    return tuple(dict.fromkeys(found))


def _each(text: str, rate: float, rng: random.Random, change: Callable[[str], str]) -> str:
    return " ".join(change(w) if rng.random() < rate else w for w in text.split())


def _typo(word: str, rng: random.Random) -> str:
    i = rng.randrange(len(word))
    return word[:i] + rng.choice("abcdefgh") + word[i:]


def _moved(text: str, rng: random.Random) -> str:
    sentences = re.split(r"(?<=[.;:])\s+", text)
    rng.shuffle(sentences)
    return " ".join(sentences)


def _some(rng: random.Random, count: int) -> str:
    vocabulary = " ".join(paragraphs()).split()
    return " ".join(rng.choices(vocabulary, k=count))


EDITS: dict[str, Callable[[str, float, random.Random], str]] = {
    "typos": lambda t, rate, rng: _each(t, rate, rng, lambda w: _typo(w, rng)),
    "other words": lambda t, rate, rng: _each(t, rate, rng, lambda w: _some(rng, 1)),
    "left out": lambda t, rate, rng: _each(t, rate, rng, lambda w: ""),
    "added": lambda t, rate, rng: _each(t, rate, rng, lambda w: f"{w} {_some(rng, 1)}"),
    "case": lambda t, rate, rng: _each(t, rate, rng, str.upper),
    "punctuation": lambda t, rate, rng: _each(t, rate, rng, lambda w: f"({w}),"),
    "white space": lambda t, rate, rng: _each(t, rate, rng, lambda w: f"\n\t{w}  "),
    "sentences moved": lambda t, rate, rng: _moved(t, rng),
    "begun otherwise": lambda t, rate, rng: f"{_some(rng, 9)} {t}",
    "cut": lambda t, rate, rng: " ".join(t.split()[: round(0.6 * len(t.split()))]),
}
"""Name → what makes a copy of a text with about so large a share of its words changed."""


def text_set(label: str, texts: Sequence[str], **more: Any) -> RowSet:
    """Rows of plain text."""
    return _set(label, [Row(str(i), "text", text=t) for i, t in enumerate(texts)], more)


def pair_set(label: str, pairs: Sequence[tuple[str, str]], **more: Any) -> RowSet:
    """Rows with (question, answer)."""
    rows = [Row(str(i), "pair", prompt=q, answer=a) for i, (q, a) in enumerate(pairs)]
    return _set(label, rows, more)


def _set(label: str, rows: Sequence[Row], more: dict[str, Any]) -> RowSet:
    part = label.split("/")[1]
    kind = {"role": "task"} if part == "train" else {"measures": "gain", "scorer": "exact_match"}
    places = tuple(f"{label}.jsonl:{i + 1}" for i in range(len(rows)))
    return RowSet(label, part, rows, places, **(kind | more))  # type: ignore[arg-type]
