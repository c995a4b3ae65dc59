"""A decision that waits for people, and what they say beside it."""

import numpy as np
import pytest

from keepgain.analysis.analyze import analyze
from keepgain.analysis.render import text
from keepgain.analysis.result import Analysis
from keepgain.analysis.reviewed import said
from keepgain.core.config import Split
from keepgain.core.errors import UserError
from keepgain.core.later import LaterEvidence
from keepgain.core.record import Evidence, Question
from keepgain.core.review_record import ReviewFigure, ReviewRecord, reviews_of
from tests.analysis.evidence import exact

N = 200


def record(a: str, b: str, low: float, high: float, export: str = "p1") -> ReviewRecord:
    rate = ReviewFigure(value=(low + high) / 2, low=low, high=high, items=60)
    return ReviewRecord(
        export=export,
        split="test",
        suites=("tickets",),
        a=a,
        b=b,
        a_run=f"{a}-s0",
        b_run=f"{b}-s0",
        items=60,
        identical=10,
        of=N,
        raters=2,
        win_rate=rate,
        ties=0.2,
        alpha=0.7,
    )


def entry(of: ReviewRecord) -> LaterEvidence:
    return LaterEvidence(kind="review", time="2026-01-01T00:00:00Z", data=of.model_dump())


def analysed(
    *reviews: ReviewRecord, require: bool = True, better: bool = True, split: Split | None = None
) -> Analysis:
    """Base right on half of the items; a trial of two seeds on nearly all, or on fewer."""
    base = np.arange(N) % 2
    right = np.ones(N) if better else base * (np.arange(N) % 4 > 1)
    trial = np.column_stack([right, np.where(np.arange(N) == 7, 1 - right, right)])
    made = exact(
        {
            "base-s": ("s", "base", {"tickets": base[:, None]}),
            "aaa": ("s", "trial", {"tickets": trial}),
        },
        measures={"tickets": "gain"},
        sizes={"s": 10},
        question=Question(require_review=require),
    )
    return analyze(Evidence(made.sweep, made.items, tuple(map(entry, reviews))), split=split)


def test_without_the_question_asking_for_it_nothing_waits() -> None:
    found = analysed(require=False)
    assert (found.decision.status, found.awaits_review) == ("recommended", False)


def test_a_required_review_holds_the_decision_until_one_of_the_pair_is_there() -> None:
    waiting = analysed()
    assert (waiting.decision.status, waiting.awaits_review) == ("provisional", True)
    assert waiting.decision.trial == "aaa"
    assert waiting.decision.reason.endswith("until then the decision is provisional.")
    other = analysed(record("aaa", "bbb", 0.6, 0.8))
    assert (other.decision.status, other.awaits_review) == ("provisional", True)
    for one in (record("aaa", "base-s", 0.6, 0.8), record("base-s", "aaa", 0.2, 0.4)):
        done = analysed(one)
        assert (done.decision.status, done.awaits_review) == ("recommended", False)
        assert "people prefer" not in done.decision.reason.lower()


@pytest.mark.parametrize("turned", [False, True])
def test_people_who_prefer_the_base_change_the_words_and_not_the_choice(turned: bool) -> None:
    one = record("base-s", "aaa", 0.65, 0.85) if turned else record("aaa", "base-s", 0.15, 0.35)
    found = analysed(one, require=False)
    assert (found.decision.status, found.decision.trial) == ("recommended", "aaa")
    assert "by 2 people its answers win 25.0 % [15.0, 35.0] of the time" in found.decision.reason


def test_a_decision_for_no_trial_waits_for_nobody() -> None:
    found = analysed(better=False)
    assert found.decision.status not in ("recommended", "tied", "provisional")
    assert not found.awaits_review


def test_a_provisional_answer_not_to_fine_tune_waits_for_nobody() -> None:
    found = analysed(better=False, split="validation")
    assert (found.decision.status, found.decision.trial) == ("provisional", "base-s")
    assert not found.awaits_review and "sweep review" not in found.decision.reason


def test_the_last_record_of_a_page_counts_and_the_newest_review_decides() -> None:
    first, again = record("aaa", "base-s", 0.1, 0.3), record("aaa", "base-s", 0.6, 0.8)
    (kept,) = reviews_of([entry(first), entry(again)])
    assert kept.win_rate.value == pytest.approx(0.7)
    newer = record("aaa", "base-s", 0.1, 0.3, export="p2")
    assert "prefer its base" in analysed(again, newer).decision.reason


def test_a_review_is_told_in_text() -> None:
    found = analysed(record("aaa", "base-s", 0.4, 0.7))
    (line,) = said(found.sweep, found.reviews)
    assert line == (
        "Review of 60 of 200 test items by 2 raters: s aaa wins over s base 55.0 % [40.0, 70.0] of "
        "the time, ties as half: not resolved, Krippendorff's alpha 0.70."
    )
    assert "Review of 60 of 200 test items" in text(found)


def test_an_entry_that_is_no_review_is_named() -> None:
    with pytest.raises(UserError, match=r"later.jsonl .*export"):
        reviews_of([LaterEvidence(kind="review", time="2026-01-01T00:00:00Z", data={})])
