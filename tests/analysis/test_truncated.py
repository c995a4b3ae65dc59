"""A trial that was stopped early never competes, however good it looked when it was stopped."""

from pathlib import Path

import numpy as np

from keepgain.analysis import plots, render
from keepgain.analysis.analyze import analyze
from keepgain.core.record import Evidence, RunRecord
from keepgain.core.status import Stage, TrialStatus
from tests.analysis.evidence import TOKENS, Trial, base, build, scores


def with_a_stopped_star(status: TrialStatus = TrialStatus.PRUNED) -> Evidence:
    """Perfect scores on everything, at a third of the budget."""
    plain = build([base("s"), base("m"), Trial("big", "m", 0.6), Trial("small", "s", 0.6)],
                  n_items=400)  # fmt: skip
    star = RunRecord(
        run_key="star-s0",
        trial_id="star",
        seed=0,
        kind="trial",
        model="s",
        stage=Stage.SEARCH,
        status=status,
        reason="rank 5 of 9 at a third of the budget",
        params={"method": "full"},
        tokens=TOKENS // 3,
        budget=TOKENS,
        metrics={"validation/tickets": 1.0},
    )
    perfect = tuple(
        ("star-s0", scores(suite, split, np.ones(400), TOKENS // 3))
        for suite in ("tickets", "facts", "sums")
        for split in ("validation", "test")
    )
    sweep = plain.sweep.model_copy(update={"runs": (*plain.sweep.runs, star)})
    return Evidence(sweep, (*plain.items, *perfect))


def test_it_would_win_if_it_counted() -> None:
    evidence = with_a_stopped_star(TrialStatus.COMPLETED)
    runs = tuple(
        r.model_copy(update={"tokens": TOKENS, "stage": Stage.CONFIRM})
        if r.trial_id == "star"
        else r
        for r in evidence.sweep.runs
    )
    items = tuple(
        (k, scores(s.suite, s.split, s.values, TOKENS)) if k == "star-s0" else (k, s)
        for k, s in evidence.items
    )
    found = analyze(Evidence(evidence.sweep.model_copy(update={"runs": runs}), items))
    assert found.decision.trial == "star"


def test_it_is_listed_and_not_ranked_counted_or_plotted(tmp_path: Path) -> None:
    for status in (TrialStatus.PRUNED, TrialStatus.COMPLETED):  # the latter: a mark that lies
        analysis = analyze(with_a_stopped_star(status))
        (row,) = (r for r in analysis.rows if r.who.trial_id == "star")
        assert row.split is None and row.place is None
        assert all(e.value is None for e in row.estimates.values())
        without = analyze(without_it(with_a_stopped_star(status)))
        assert analysis.decision.trial == without.decision.trial == "big"
        assert {r.place.rank for r in analysis.rows if r.place and r.who.trial_id == "small"} == {1}
        assert any(e.trial == "star" for e in analysis.excluded)
        shown = render.text(analysis)
        assert "star" not in shown.split("Left out")[0]
        drawn = [tmp_path / f"{status}.svg", tmp_path / f"without-{status}.svg"]
        plots.save(analysis, drawn[0])
        plots.save(without, drawn[1])
        marks = [path.read_text().count("<use ") for path in drawn]
        assert marks[0] == marks[1] > 0


def without_it(evidence: Evidence) -> Evidence:
    runs = tuple(r for r in evidence.sweep.runs if r.trial_id != "star")
    items = tuple((k, s) for k, s in evidence.items if k != "star-s0")
    return Evidence(evidence.sweep.model_copy(update={"runs": runs}), items)


def test_it_is_effort_if_it_was_stopped_and_else_its_tokens_alone_are() -> None:
    for status, trials in ((TrialStatus.PRUNED, 2), (TrialStatus.COMPLETED, 1)):
        (s, _) = analyze(with_a_stopped_star(status)).efforts
        assert (s.model, s.trials, s.tokens) == ("s", trials, TOKENS + TOKENS // 3)
