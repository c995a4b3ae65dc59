"""A sweep that tunes a tuned model: forgetting against the original base, and since then."""

import pytest

from keepgain.analysis import render
from keepgain.analysis.analyze import analyze
from keepgain.analysis.contract import to_json
from keepgain.analysis.objectives import SINCE_PREVIOUS
from tests.analysis.evidence import Trial, base, build

ORIGINAL, PREVIOUS, TUNED = 0.8, 0.7, 0.65
"""Levels of the general suites: .15 lost since the original, .05 of it in this round."""
SIZES = {"s": 100_000, "m": 1_000_000}


@pytest.fixture(scope="module")
def analysis():
    return analyze(
        build(
            [
                base("s", general=ORIGINAL),
                base("m", general=ORIGINAL),
                Trial("prev-m", "m", 0.4, PREVIOUS, seeds=1, arm="previous_round"),
                Trial("tuned-m", "m", 0.6, TUNED),
                Trial("tuned-s", "s", 0.5, 0.78),
            ],
            n_items=4000,
            sizes=SIZES,
            seed_sd=0.0,
        )
    )


def rows(analysis):
    return {r.who.trial_id: r.estimates for r in analysis.rows if r.split is not None}


def test_both_losses_are_shown_and_differ_by_what_the_earlier_round_lost(analysis) -> None:
    found = rows(analysis)
    since_original = found["tuned-m"]["forgetting"].value
    since_previous = found["tuned-m"][SINCE_PREVIOUS].value
    earlier = found["prev-m"]["forgetting"].value
    assert since_original == pytest.approx(ORIGINAL - TUNED, abs=0.03)
    assert since_previous == pytest.approx(PREVIOUS - TUNED, abs=0.03)
    # The same items and the mean over seeds: the two parts sum exactly.
    assert since_original == pytest.approx(earlier + since_previous, abs=1e-12)
    assert found["tuned-m"][SINCE_PREVIOUS].high is not None


def test_only_trials_of_a_later_round_have_it(analysis) -> None:
    found = rows(analysis)
    assert [name for name, e in found.items() if SINCE_PREVIOUS in e] == ["tuned-m"]


def test_the_report_has_a_column_and_says_what_it_is(analysis) -> None:
    for text in (render.text(analysis), render.markdown(analysis)):
        assert "since previous" in text
        assert "Gain and forgetting are against the original base" in text
    assert SINCE_PREVIOUS in to_json(analysis)


def test_a_first_round_has_no_such_column() -> None:
    text = render.text(analyze(build([base("s"), base("m"), Trial("a", "m", 0.8)])))
    assert "since previous" not in text


def test_a_round_that_is_no_better_than_the_one_before_is_not_recommended() -> None:
    trials = [
        base("s"),
        base("m"),
        Trial("prev-m", "m", 0.6, 0.79, seeds=1, arm="previous_round"),
        Trial("tuned-m", "m", 0.5, 0.79),
    ]
    decision = analyze(build(trials, n_items=3000)).decision
    assert (decision.status, decision.trial) == ("do_not_fine_tune", "prev-m")
    assert "the model that m started from" in decision.reason
