"""`reviews` of the JSON that `analyze` prints: without what single people said of single items."""

from keepgain.core.review_record import ReviewFigure, ReviewRecord, ReviewRubric
from keepgain.core.schema import StrictModel


class ReviewPart(StrictModel):
    """As `core.review_record.ReviewRecord`."""

    export: str
    split: str
    suites: list[str]
    a: str
    b: str
    a_run: str
    b_run: str
    items: int
    identical: int
    of: int
    raters: int
    win_rate: ReviewFigure
    ties: float
    by_rater: list[ReviewFigure]
    alpha: float | None
    disputed: int
    rubric: dict[str, ReviewRubric]
    metric_agreement: ReviewFigure | None


def review_part(record: ReviewRecord) -> ReviewPart:
    """One entry of `reviews`."""
    return ReviewPart.model_validate(record.model_dump(exclude={"ratings"}))
