"""The texts behind item scores: questions, references and what each run answered.

They stay in the folder of the sweep that made them (see `core.answers`), so that they are there
only where the sweep was run, and only for runs that kept their answers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from keepgain.core.answers import Text, read_answers, read_texts, texts_path
from keepgain.core.config import Split
from keepgain.core.inside import inside
from keepgain.core.record import RunRecord

HOW = (
    "Questions and answers are shown where the sweep's own folder is at hand and its runs kept "
    "their answers; the item's id is that of its row in the suite's file."
)


@dataclass(frozen=True)
class Texts:
    """Of one suite and split."""

    items: Mapping[str, Text]
    """Item id → its question and reference; empty where they were not kept."""
    answers: Mapping[str, Mapping[str, str]]
    """Run key → item id → what the run answered."""


def texts_of(
    folders: Mapping[str, Path], runs: Sequence[RunRecord], suite: str, split: Split
) -> Texts | None:
    """What is known of the texts; None if nothing is.

    Args:
        folders: Run key → folder of the sweep that it belongs to; empty: none is at hand.

    Raises:
        UserError: A file is there and cannot be read, or lies elsewhere.
    """
    answers: dict[str, Mapping[str, str]] = {}
    items: dict[str, Text] = {}
    for run in runs:
        folder = folders.get(run.run_key)
        paths = [] if folder is None else [inside(folder, name) for name in run.answers]
        for path in paths:
            if not path.is_file():
                continue
            for given in read_answers(path):
                if (given.suite, given.split) != (suite, split):
                    continue
                answers[run.run_key] = dict(zip(given.item_ids, given.given, strict=True))
                assert folder is not None
                if texts_path(folder, given.digest).is_file():
                    items.update(read_texts(folder, given.digest))
    return Texts(items, answers) if answers or items else None
