"""What people said of the answers of two configurations, as `sweep review` records it and `analyze`
reads it: evidence that comes after the sweep (`core.later`)."""

from collections.abc import Iterable
from typing import Literal

from keepgain.core.later import FILE_NAME, LaterEvidence
from keepgain.core.schema import StrictModel, parse

KIND = "review"
EVEN = 0.5
"""Win rate of two that are alike."""

Prefers = Literal["a", "tie", "b"]


class ReviewFigure(StrictModel):
    """A figure of a review with its two-sided 95 % interval over items."""

    value: float
    low: float | None = None
    """None where nothing bounds it, as `high`."""
    high: float | None = None
    items: int
    """That people were asked about."""


class ReviewRubric(StrictModel):
    """One question of a review's rubric, on the items that people were asked about."""

    a: float
    """Mean score of a's answers."""
    b: float
    difference: ReviewFigure
    """a - b, paired by item."""
    alpha: float | None = None
    """Krippendorff's, ordinal; None with one rater, and where all gave one score."""


class Rating(StrictModel):
    """What one person said of one item."""

    rater: int
    """From 1."""
    suite: str
    item: str
    prefers: Prefers
    a: dict[str, int] = {}
    """Name in the rubric → score of a's answer."""
    b: dict[str, int] = {}


class Review(StrictModel):
    """What people said, blind, of the answers of two configurations to the same items. Their
    names are not in it."""

    export: str
    """Id of the page that they filled in; a later record of the same one replaces it."""
    split: str
    suites: tuple[str, ...]
    a: str
    """Trial id."""
    b: str
    a_run: str
    """Run key: the answers are those of one replicate."""
    b_run: str
    items: int
    """That people were asked about."""
    identical: int
    """Items that both answered alike: ties that nobody had to be asked about."""
    of: int
    """Items that the figures speak of, `identical` among them."""
    raters: int
    win_rate: ReviewFigure
    """Of a over b among all items: a win counts 1, a tie 1/2."""
    ties: float
    """Share of all items, `identical` among them."""
    by_rater: tuple[ReviewFigure, ...] = ()
    """The win rate by each alone."""
    alpha: float | None = None
    """Krippendorff's, nominal, of the preferences; None with one rater, and where all said one
    thing."""
    disputed: int = 0
    """Items on which raters differ."""
    rubric: dict[str, ReviewRubric] = {}
    metric_agreement: ReviewFigure | None = None
    """Of the items that the scorer tells apart and people do not call a tie: the share on which
    people prefer the answer with the better score; None where there are none."""

    @property
    def wins(self) -> int:
        """+1: people prefer a, beyond the interval; -1: they prefer b; 0: not told apart."""
        low, high = self.win_rate.low, self.win_rate.high
        if low is None or high is None:
            return 0
        return 1 if low > EVEN else -1 if high < EVEN else 0


class ReviewRecord(Review):
    """The same with what single people said of single items."""

    ratings: tuple[Rating, ...] = ()

    @property
    def summary(self) -> Review:
        """Without that."""
        return Review.model_validate(self.model_dump(exclude={"ratings"}))


def reviews_of(later: Iterable[LaterEvidence]) -> tuple[ReviewRecord, ...]:
    """The reviews among what came after the sweep, oldest first; of one page the last record.

    Raises:
        UserError: An entry is none: its file was changed by hand.
    """
    found: dict[str, ReviewRecord] = {}
    for entry in later:
        if entry.kind == KIND:
            record = parse(ReviewRecord, entry.data, source=f"{FILE_NAME} ({entry.time})")
            found.pop(record.export, None)
            found[record.export] = record
    return tuple(found.values())
