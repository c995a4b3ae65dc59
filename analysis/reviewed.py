"""What people said of the answers, beside the decision; and a decision that waits for them.

A review compares two configurations, blind (`sweep review`). It changes no figure and no choice.
With `question.require_review` a decision for a trial is provisional until one of that trial against
its base is recorded; what people then prefer is said in the reason.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from keepgain.analysis.decide import Decision
from keepgain.core.later import LaterEvidence
from keepgain.core.record import Question, SweepRecord, short_id
from keepgain.core.review_record import ReviewFigure, ReviewRecord, reviews_of

MISSING = (
    "People have not compared its answers with its base's yet, which the question requires "
    "(`sweep review`): until then the decision is provisional."
)
WORSE = "But people prefer its base: by {raters} its answers win {share} of the time, ties as half."


def held(
    decision: Decision, question: Question, sweep: SweepRecord, later: Iterable[LaterEvidence]
) -> Decision:
    """The decision with what the review of its trial against the base says of it.

    Args:
        decision: As the rule makes it.
        later: What came after the sweep.
    """
    if decision.trial is None or not _for_a_trial(decision):
        return decision
    found = deciding_review(decision, sweep, later)
    if found is None:
        if not question.require_review:
            return decision
        reason = f"{decision.reason} {MISSING}"
        return replace(decision, status="provisional", reason=reason)
    if _wins(found, decision.trial) >= 0:
        return decision
    rate = found.win_rate if found.a == decision.trial else _turned(found.win_rate)
    raters = f"{found.raters} {'person' if found.raters == 1 else 'people'}"
    said = WORSE.format(raters=raters, share=_share(rate))
    return replace(decision, reason=f"{decision.reason} {said}")


def awaits_review(
    decision: Decision, question: Question, sweep: SweepRecord, later: Iterable[LaterEvidence]
) -> bool:
    """True if a review is required of the decision's trial, and none is recorded."""
    wanted = question.require_review and _for_a_trial(decision)
    return wanted and deciding_review(decision, sweep, later) is None


def deciding_review(
    decision: Decision, sweep: SweepRecord, later: Iterable[LaterEvidence]
) -> ReviewRecord | None:
    """The newest review of the decision's trial against its base, whichever side was called a."""
    bases = {r.trial_id for r in sweep.runs if r.kind == "base" and r.model == decision.model}
    found = [
        r
        for r in reviews_of(later)
        if (r.a == decision.trial and r.b in bases) or (r.b == decision.trial and r.a in bases)
    ]
    return found[-1] if found else None


def said(sweep: SweepRecord, reviews: Sequence[ReviewRecord]) -> list[str]:
    """A line a review, for people."""
    labels = {run.trial_id: run.label for run in sweep.runs}
    lines = []
    for one in reviews:
        a, b = (labels.get(trial, short_id(trial)) for trial in (one.a, one.b))
        verdict = {1: f"people prefer {a}", -1: f"people prefer {b}", 0: "not resolved"}[one.wins]
        alpha = "" if one.alpha is None else f", Krippendorff's alpha {one.alpha:.2f}"
        metric = ""
        if one.metric_agreement is not None:
            metric = (
                f"; where both tell answers apart, people agree with the scorer on "
                f"{_share(one.metric_agreement)} of {one.metric_agreement.items} items"
            )
        raters = f"{one.raters} {'rater' if one.raters == 1 else 'raters'}"
        lines.append(
            f"Review of {one.items} of {one.of} {one.split} items by {raters}: {a} wins over {b} "
            f"{_share(one.win_rate)} of the time, ties as half: {verdict}{alpha}{metric}."
        )
    return lines


def _for_a_trial(decision: Decision) -> bool:
    """False too where a provisional answer is not to fine-tune: its trial is the arm."""
    return decision.verdict.pick is not None


def _wins(found: ReviewRecord, trial: str) -> int:
    return found.wins if found.a == trial else -found.wins


def _turned(figure: ReviewFigure) -> ReviewFigure:
    """The same of b over a."""
    low, high = figure.high, figure.low
    return figure.model_copy(
        update={
            "value": 1 - figure.value,
            "low": None if low is None else 1 - low,
            "high": None if high is None else 1 - high,
        }
    )


def _share(figure: ReviewFigure) -> str:
    value = f"{100 * figure.value:.1f} %"
    if figure.low is None or figure.high is None:
        return f"{value} [unknown]"
    return f"{value} [{100 * figure.low:.1f}, {100 * figure.high:.1f}]"
