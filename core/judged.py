"""What a judge model said of a sweep's answers, as it is kept beside the record.

Scores and pairs are item scores in a Parquet file below `judged/` of the sweep's folder; who judged
by what rubric, and how that agrees with people, is an entry of `core.later`. No text of an answer
is in either.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from keepgain.core.config import Split
from keepgain.core.identity import fingerprint
from keepgain.core.inside import InnerPath, inside
from keepgain.core.items import ItemScores, read_items
from keepgain.core.later import read_later
from keepgain.core.schema import StrictModel, parse

KIND = "judged"
"""Of the entry, and name of the folder."""
SCORE = "judge_score"
"""Metric of item scores on the rubric's scale."""
PAIR = "judge_pair"
"""Metric of item scores against the base: 1 won, 0.5 tie, 0 lost."""
ORDERS = "orders"
"""Slice of pairs: `agree` or `differ`, over both orders in which the answers were shown; `same`:
the answers are equal, and nobody was asked."""
Of = Literal["scores", "pairs"]


class JudgeFacts(StrictModel):
    """Who judged, and by what."""

    endpoint: str
    """Its name in the spec."""
    base_url: str
    model: str
    rubric: str
    scale: tuple[int, int]
    prompts: str
    """Hash of all that is asked beside the material, rubric and parameters included."""
    min_agreement: float
    min_labels: int

    @property
    def identity(self) -> str:
        """The same for judgements that may stand side by side."""
        return fingerprint([self.base_url, self.model, self.prompts])


class Labelled(StrictModel):
    """One answer, or pair of answers, that people have judged too."""

    of: Of
    item: str
    people: float
    """Mean of their scores; of pairs -1, 0 or 1: the second is better, a tie, the first is."""
    judge: float | None
    """The same by the judge; None: it could not be read."""


class Counts(StrictModel):
    """Questions to the judge; equal ones count once."""

    questions: int = 0
    unreadable: int = 0
    """First replies that could not be read; these were asked once more."""
    missing: int = 0
    """Without a reply that could be read in the end."""


class Judged(StrictModel):
    """One suite and split, by one judge."""

    suite: str
    split: Split
    judge: JudgeFacts
    items: InnerPath
    """Parquet of item scores, relative to the sweep's folder."""
    scores: Counts
    pairs: Counts | None
    """Each order counts; None: none were asked."""
    labelled: tuple[Labelled, ...] = ()
    strange_labels: int = 0
    """Labels of items that the suite does not have; they count for nothing."""
    judges: int = 1
    """Judges, rubrics or prompts that were tried on this suite and split, this one included."""


def read_judged(folder: Path) -> tuple[Judged, ...]:
    """The newest judgement of each suite and split of a sweep's folder, by suite and split.

    Raises:
        UserError: An entry that is none.
    """
    found: dict[tuple[str, str], Judged] = {}
    for entry in read_later(folder, KIND):
        judged = parse(Judged, entry.data, source=str(folder))
        found[judged.suite, judged.split] = judged
    return tuple(found[key] for key in sorted(found))


@dataclass(frozen=True)
class JudgedItems:
    """Item scores of one judgement, by run key; a run lacks the items that could not be judged."""

    scores: Mapping[str, ItemScores]
    pairs: Mapping[str, ItemScores]


def read_judged_items(folder: Path, judged: Judged) -> JudgedItems:
    """Raises UserError where the file is missing or damaged."""
    found = read_items(inside(folder, judged.items))
    return JudgedItems(
        {key: s for key, s in found if s.metric == SCORE},
        {key: s for key, s in found if s.metric == PAIR},
    )
