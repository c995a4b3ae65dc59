"""Judgements by people: a sheet to fill in, and what came back.

A line of the file is one answer, or pair of answers, to an item. It says nothing of who gave the
answer, so that people judge blind. Answers stand in full: a label belongs to that very text, and
stays good for later sweeps with the same items.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keepgain.core.answers import Text
from keepgain.core.errors import UserError
from keepgain.core.jsonl import json_name, read_records
from keepgain.sweeps.judging.prompts import BETTER, Better

PREFERENCE: Mapping[Better, float] = {"first": 1.0, "tie": 0.0, "second": -1.0}
_SCORED, _PAIRED = ("id", "answer", "score"), ("id", "first", "second", "preferred")
_BESIDE = ("question", "reference", "annotator")


@dataclass(frozen=True)
class Label:
    """What people say of one answer, or pair."""

    item: str
    answers: tuple[str, ...]
    """One, or the first and the second."""
    value: float
    """Mean over people of the score, or of the preference: 1 the first, -1 the second."""

    @property
    def people(self) -> float:
        """The score; or which answer most prefer: -1, 0 or 1."""
        return self.value if len(self.answers) == 1 else float(np.sign(self.value))


def read_labels(path: Path, scale: tuple[int, int]) -> tuple[Label, ...]:
    """The lines that were filled in; several people's labels of one text are averaged.

    Args:
        path: JSON Lines with `id`, `answer` and `score`, or `id`, `first`, `second`, `preferred`.
        scale: Of the rubric.

    Raises:
        UserError: The first line that cannot be used, as `file:line`.
    """
    found: dict[tuple[str, tuple[str, ...]], dict[str, float]] = {}
    for number, record in read_records(path):
        where = f"{path}:{number}"
        paired = "preferred" in record
        keys = _PAIRED if paired else _SCORED
        _refuse_other_keys(record, keys, where)
        value = _value(record[keys[-1]], None if paired else scale, where)
        if value is None:
            continue  # nobody has judged it yet
        answers = tuple(record[k] for k in keys[1:-1])
        by = found.setdefault((record["id"], answers), {})
        annotator = record.get("annotator") or ""
        if annotator in by:
            raise UserError(
                f"'{annotator or 'somebody'}' has judged this text of item '{record['id']}' twice.",
                where=where,
                hint="Name each person in `annotator`, or leave one of the lines out.",
            )
        by[annotator] = value
    return tuple(
        Label(item, answers, sum(by.values()) / len(by)) for (item, answers), by in found.items()
    )


def _refuse_other_keys(record: Mapping[str, Any], keys: Sequence[str], where: str) -> None:
    for key in (*keys, *record):
        if key not in record:
            raise UserError(
                f"no `{key}`.",
                where=where,
                hint="A label has `id`, `answer` and `score`; of a pair `id`, `first`, `second` "
                "and `preferred`.",
            )
        if key not in (*keys, *_BESIDE):
            raise UserError(
                f"unknown key '{key:.40}'.",
                where=where,
                hint=f"Known: {', '.join((*keys, *_BESIDE))}.",
            )
        if key != keys[-1] and not isinstance(record[key], str):
            raise UserError(f"`{key}` is {json_name(record[key])}, not text.", where=where)


def _value(given: Any, scale: tuple[int, int] | None, where: str) -> float | None:
    """Of a score on the scale, else of a preference; None of null."""
    if given is None:
        return None
    if scale is None:
        if given not in BETTER:
            raise UserError(
                f"`preferred` is {json_name(given)}.", where=where, hint=f"{', '.join(BETTER)}."
            )
        return PREFERENCE[given]
    number = isinstance(given, int | float) and not isinstance(given, bool)
    if not number or not scale[0] <= given <= scale[1]:
        raise UserError(
            f"`score` is {json_name(given)}.",
            where=where,
            hint=f"A number from {scale[0]} to {scale[1]}, as the suite's `scale`; null: not yet.",
        )
    return float(given)


def sheet(
    answers: Mapping[str, Mapping[str, str]],
    bases: Mapping[str, str],
    texts: Mapping[str, Text],
    count: int,
    seed: int,
    *,
    pairs: bool,
) -> list[dict[str, Any]]:
    """Lines for people to fill in: different texts, drawn over all runs and items alike.

    Args:
        answers: Run key → item → answer.
        bases: Run key → run key of its base; of pairs.
        texts: Item → question and reference.
        count: Lines; fewer where there are not so many.
        seed: Of the draw, and of which answer of a pair stands first.
    """
    rng = np.random.default_rng(seed)
    found: dict[tuple[str, ...], None] = {}
    for run, given in sorted(answers.items()):
        before = answers.get(bases.get(run, ""), {})
        for item, answer in sorted(given.items()):
            if not pairs:
                found[item, answer] = None
            elif before.get(item, answer) != answer:
                found[item, answer, before[item]] = None
    known = list(found)
    drawn = rng.permutation(len(known))[:count]
    lines = []
    for item, *given_answers in (known[i] for i in drawn):
        text = texts[item]
        line: dict[str, Any] = {"id": item, "question": text.question, "reference": text.reference}
        if pairs:
            turned = given_answers[::-1] if rng.integers(2) else given_answers
            line |= {"first": turned[0], "second": turned[1], "preferred": None}
        else:
            line |= {"answer": given_answers[0], "score": None}
        lines.append(line)
    return lines
