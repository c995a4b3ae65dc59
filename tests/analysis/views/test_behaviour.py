"""`analyze ID behaviour`: paragraphs, tables and data of one sweep with known changes."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from keepgain.analysis import cli
from keepgain.analysis.analyze import analyze
from keepgain.analysis.behaviour.outcomes import KIND
from keepgain.analysis.contract import view_to_json
from keepgain.analysis.grid import Grid, View
from keepgain.analysis.render import view_markdown, view_text
from keepgain.analysis.table import build_table
from keepgain.analysis.views.behaviour import behaviour_view
from keepgain.core.answers import Answers, keep_texts, write_answers
from keepgain.core.errors import UserError
from keepgain.core.guards import Guard
from keepgain.core.later import LaterEvidence
from keepgain.core.record import Evidence
from keepgain.core.rows import Row
from tests.analysis.behaviour.worlds import N, behaviour_world
from tests.analysis.evidence import ones

SUITES = {
    "steady": (ones(300, N, 1), ones(300, N)),
    "polite": (ones(300, N, 1), ones(240, N)),
    "brief": (ones(100, N, 1), ones(200, N)),
}
OUTCOME = {
    "metric": "resolved",
    "direction": "maximize",
    "of": "success",
    "control": "base",
    "arms": [
        {"arm": "base", "units": 1000, "mean": 0.3, "variance": 0.21},
        {"arm": "new", "trial": "tuned", "units": 1000, "mean": 0.36, "variance": 0.23},
    ],
}


def world(**guards: Guard) -> Evidence:
    made = behaviour_world(SUITES)
    question = made.sweep.question.model_copy(update={"guards": guards})
    later = LaterEvidence(kind=KIND, time="2026-01-02T03:04:05+00:00", data=OUTCOME)
    runs = tuple(
        r.model_copy(
            update={
                "metrics": {
                    "generation/test/polite/empty_share": 0.02 if r.kind == "base" else 0.1,
                    "generation/test/polite/truncated_share": 0.0,
                }
            }
        )
        for r in made.sweep.runs
    )
    sweep = made.sweep.model_copy(update={"question": question, "runs": runs})
    return Evidence(sweep, made.items, (later,))


def view(evidence: Evidence, trial: str | None = None, folders: dict | None = None) -> View:
    return behaviour_view(evidence, analyze(evidence), trial, folders or {})


def grid(found: View, title: str) -> Grid:
    return next(g for g in found.grids if g.title.startswith(title))


def test_what_moved_for_the_worse_comes_first() -> None:
    found = view(world())
    assert found.paragraphs[0] == (
        "Behaviour that moved for the worse for certain: polite from 0.750 to 0.600, by -15.0 "
        "points [-18.5, -11.5]."
    )
    assert found.paragraphs[1].startswith("Of 3 behaviour suites: 1 worse, 1 better, 0 farther")
    table = grid(found, "Behaviours of")
    assert [r[0] for r in table.rows] == ["polite", "steady", "brief"]
    assert [r[-1] for r in table.rows] == ["worse", "not resolved", "better"]
    parts = grid(found, "Slices of").rows
    assert parts[0][0] == "polite[half=second]" and parts[0][-1] == "worse"


def test_the_form_of_answers_stands_beside() -> None:
    (row,) = grid(view(world()), "Form of the answers").rows
    assert row == ("polite", "2.0 % → 10.0 %", "0.0 % → 0.0 %")


def test_guards_and_outcomes_have_tables_and_sentences() -> None:
    found = view(world(polite=Guard(max_decrease=0.2)))
    assert any(
        p.startswith("The guard polite (max_decrease 20.0 points) holds") for p in found.paragraphs
    )
    assert grid(found, "Guards on").rows[0][0] == "polite"
    control, live = grid(found, "Live: resolved").rows
    assert control[-1] == "control" and live[-1] == "0.060 [0.019, 0.101]"


def test_a_guard_has_one_answer_in_view_and_decision() -> None:
    """After two looks less than 5 % are left for the decision."""
    made = world(polite=Guard(max_decrease=0.2))
    sweep = made.sweep.model_copy(update={"planned_looks": (3, 6)})
    made = replace(made, sweep=sweep)
    decided = analyze(made).decision.guards[0][1]
    (shown,) = json.loads(view_to_json(analyze(made), view(made)))["data"]["guards"]
    assert decided.confidence == shown["confidence"] > 0.95
    assert decided.bound == shown["bound"]


def left_out(evidence: Evidence) -> list[str]:
    return [n for n in view(evidence).notes if "Left out here" in n and "test" in n]


def test_a_suite_that_cannot_be_compared_is_named_and_the_others_stay() -> None:
    """The base lacks `brief`, and one score of the trial is no number."""
    made = behaviour_world(SUITES)
    base = {r.run_key for r in made.sweep.runs if r.kind == "base"}
    kept = tuple((k, s) for k, s in made.items if not (k in base and s.suite == "brief"))
    (note,) = left_out(replace(made, items=kept))
    assert note == "Left out here: s base: test: no scores on brief."
    broken = tuple(
        (k, replace(s, values=np.where(np.arange(N) == 3, np.nan, s.values)))
        if k not in base and s.suite == "brief"
        else (k, s)
        for k, s in made.items
    )
    assert (
        left_out(replace(made, items=broken))[0]
        == "Left out here: s tuned: seed 0: test: brief: 1 scores are not finite."
    )
    table = build_table(replace(made, items=broken), ("behaviour",))
    scored = [set(c.scores["test"]) for c in table.configurations if c.kind == "trial"]
    assert scored == [SUITES.keys() - {"brief"}]


def test_one_seed_is_said_to_show_items_alone() -> None:
    one = {n: (base, tuned[:, :1]) for n, (base, tuned) in SUITES.items()}
    assert any("one seed" in n for n in view(behaviour_world(one, task_seeds=1)).notes)
    assert not any("one seed" in n for n in view(world()).notes)


def test_data_are_all_digits_of_the_same() -> None:
    evidence = world(polite=Guard(max_decrease=0.05))
    found = view(evidence, "tuned")
    data = json.loads(view_to_json(analyze(evidence), found))["data"]
    shown = {"split", "trials", "rows", "figures", "judged", "form", "guards", "outcomes"}
    assert set(data) == shown
    polite = next(r for r in data["rows"] if r["suite"] == "polite" and r["field"] is None)
    assert set(polite) == {
        "trial", "model", "suite", "field", "value", "scorer", "unit", "direction", "base",
        "tuned", "change", "adjusted_p", "verdict",
    }  # fmt: skip
    assert polite["change"]["value"] == pytest.approx(-0.15) and polite["verdict"] == "worse"
    assert data["guards"][0]["answer"] == "violated" and data["guards"][0]["questions"] == {}
    assert data["form"] == [
        {
            "trial": "tuned",
            "suite": "polite",
            "empty_share": {"base": 0.02, "tuned": 0.1},
            "truncated_share": {"base": 0.0, "tuned": 0.0},
        }
    ]
    assert all({"trial", "suite", "name", "tuned"} <= set(f) for f in data["figures"])


def test_questions_of_examples_are_shown_where_texts_were_kept(tmp_path: Path) -> None:
    evidence = world(polite=Guard(max_decrease=0.05))
    ids = ("test-00240",)
    answers = Answers("polite", "test", "d1", ids, ("No.",))
    write_answers(tmp_path / "answers.parquet", [answers])
    row = Row("test-00240", "pair", prompt="Would you kindly?", answer="Gladly.")
    keep_texts(tmp_path, "d1", [row])
    runs = tuple(
        r.model_copy(update={"answers": ("answers.parquet",)}) for r in evidence.sweep.runs
    )
    kept = replace(evidence, sweep=evidence.sweep.model_copy(update={"runs": runs}))
    found = view(kept, folders={r.run_key: tmp_path for r in runs})
    rows = grid(found, "Items that speak against a guard").rows
    assert rows == (("polite", "test-00240", "Would you kindly?"),)
    assert "Would you kindly?" not in analyze(kept).decision.reason  # texts may be private


def test_a_sweep_without_behaviours_says_so() -> None:
    made = behaviour_world({})
    found = view(made)
    assert found.paragraphs == ("The sweep has no behaviour suite with scores of this trial.",)


def test_an_unknown_trial_is_refused() -> None:
    with pytest.raises(UserError, match="no trial, base or reference arm 'nobody'"):
        view(world(), "nobody")


def test_the_view_can_be_printed_in_every_form(capsys: pytest.CaptureFixture[str]) -> None:
    found = view(world(polite=Guard(max_decrease=0.05)))
    assert "polite[half=second]" in view_text(found) and "| polite" in view_markdown(found)
    assert cli.main(["--example", "behaviour"]) == 0
    assert "no behaviour suite" in capsys.readouterr().out
    assert cli.main(["--example", "sizes", "--trial", "x"]) == 2
    assert "--trial is an option of" in capsys.readouterr().err
