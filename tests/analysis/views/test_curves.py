"""`analyze ID curves`: amounts of data; rungs of audits and confirmed trials, exactly."""

import json

import pytest

from keepgain.analysis import cli
from keepgain.analysis.analyze import analyze
from keepgain.analysis.views.curves import curves_view
from keepgain.analysis.why.rungs import series
from keepgain.core.record import Evidence
from keepgain.core.status import Stage
from tests.analysis.test_overfitting import RUNGS, made
from tests.analysis.test_rung_check import RISING, evidence
from tests.analysis.why.made import sweep as made_of


def test_figures_of_a_confirmed_trial_at_each_rung() -> None:
    (found,) = series(made())
    assert found.trial == "trial" and found.confirmed
    assert [p.tokens for p in found.points] == list(RUNGS)
    assert [p.share for p in found.points] == pytest.approx([0.1, 0.4, 1.0])
    # 60, 120 and 160 of 200 right, the base 50; facts 150 at every rung, the base 50.
    assert [p.gain.value for p in found.points] == pytest.approx([0.05, 0.35, 0.55])
    assert [p.forgetting.value for p in found.points] == pytest.approx([-0.5, -0.5, -0.5])
    assert all(p.gain.low < p.gain.value < p.gain.high for p in found.points)
    assert [p.gain.n_seeds for p in found.points] == [2, 2, 2]
    # Losses of two seeds, .02 apart; .5 on training rows.
    assert [p.validation_loss for p in found.points] == pytest.approx([2.01, 1.01, 0.81])
    assert [p.gap for p in found.points] == pytest.approx([1.51, 0.51, 0.31])


def test_the_view_has_sparklines_figures_and_the_last_step() -> None:
    found = made()
    view = curves_view(found, analyze(found))
    (said,) = view.paragraphs
    assert said.startswith("s: from 40 % of the training to its end, gain changed by +0.200")
    lines, figures = view.grids
    assert lines.rows[0][5] == "▁▅█ 0.050 → 0.550"
    assert [row[2] for row in figures.rows] == ["10 %", "40 %", "100 %"]
    assert len(view.data["rows"]) == 3
    assert view.data["rows"][2]["gain"]["value"] == pytest.approx(0.55)
    json.dumps(view.data, allow_nan=False)


def test_audits_are_shown_and_promoted_trials_are_not() -> None:
    audits = [True] * 6 + [False] * 6
    found = evidence(RISING, RISING[::-1], audits=audits)
    assert [s.trial for s in series(found)] == [f"t{i:03d}" for i in range(6)]
    assert not any(s.confirmed for s in series(found))


def test_the_mean_of_the_last_step_has_an_interval_over_trials() -> None:
    found = evidence([0.0] * 4, [0.1, 0.2, 0.3, 0.4])
    (said,) = curves_view(found, analyze(found)).paragraphs
    # Mean .25, sd .1291, t with 3 degrees of freedom 3.182: +-.2054.
    assert "from 33.3 % of the training to its end" in said
    assert "gain changed by +0.250 [+0.045, +0.455]" in said
    assert "on average over 4 trials" in said


def test_a_confirmed_trial_counts_with_its_fresh_seeds_alone() -> None:
    found = made()
    runs = tuple(
        r.model_copy(update={"stage": Stage.SEARCH, "audit": True})
        if r.run_key == "trial-s0"
        else r
        for r in found.sweep.runs
    )
    (only,) = series(Evidence(found.sweep.model_copy(update={"runs": runs}), found.items))
    assert [p.gain.n_seeds for p in only.points] == [1, 1, 1]
    assert only.points[-1].gain.low is None  # nothing is replicated: no interval


def test_amounts_come_before_the_rungs_and_are_judged_by_the_question() -> None:
    trials = [
        ("s", {"rows": r}, t + k, 80 + k) for r, t in ((100, 80), (200, 120)) for k in range(5)
    ]
    found = made_of(trials)
    view = curves_view(found, analyze(found, delta=0.15))
    assert view.paragraphs[0].startswith("How much data is enough? rows on s: gain +20.0 [")
    assert "only 200 rows, the most tried, is shown to be within 15.0 points" in view.paragraphs[0]
    assert view.grids[0].title == "How much data is enough: rows"
    assert [c["measure"] for c in view.data["amounts"]] == ["gain", "forgetting"]
    assert view.data["amounts"][0]["points"][1]["verdict"] == "within"
    assert view.data["rows"] == []
    json.dumps(view.data, allow_nan=False)


def test_without_amounts_it_says_what_to_vary() -> None:
    found = made()
    view = curves_view(found, analyze(found))
    assert view.data["amounts"] == []
    assert "rows: {ordered: [...]}" in view.notes[0]


def test_without_rungs_it_says_what_to_add(capsys) -> None:
    assert cli.main(["--example", "curves"]) == 0
    assert "training: {rungs: [0.33, 1.0]}" in capsys.readouterr().out
