"""`analyze ID why`: a sentence for each question, then tables; all of it in JSON."""

import json

import numpy as np
import pytest

from keepgain.analysis import cli
from keepgain.analysis.analyze import analyze
from keepgain.analysis.load import EXAMPLE
from keepgain.analysis.views.why import why_view
from keepgain.core.record import Evidence, GivenObjective
from keepgain.core.store.record_files import load_folder
from tests.analysis.evidence import base, build
from tests.analysis.why.made import sweep
from tests.analysis.why.test_learning import searched as rows_searched
from tests.analysis.why.test_mixture import searched as mixture_searched

SECTIONS = [
    "importance",
    "contrasts",
    "mixture",
    "learning_curves",
    "rungs",
    "overfitting",
    "rounds",
    "ranks",
]


@pytest.fixture(scope="module")
def example():
    evidence = load_folder(EXAMPLE)
    return why_view(evidence, analyze(evidence))


def test_every_question_has_a_sentence_and_its_figures(example) -> None:
    assert list(example.data) == SECTIONS
    assert len(example.paragraphs) == len(SECTIONS)
    for paragraph, part in zip(example.paragraphs, example.data.values(), strict=True):
        assert paragraph.endswith(part["said"]) and part["said"].endswith((".", ")."))
    json.dumps(example.data, allow_nan=False)


def test_the_example_says_what_it_cannot_tell_and_what_it_would_take(example) -> None:
    said = {name: part["said"] for name, part in example.data.items()}
    assert "12 trials with scores, 20 are needed" in said["importance"]
    assert "trials_per_model: 20" in said["importance"]
    assert "none of 8 declared contrasts is resolved on 36 trials" in said["contrasts"]
    assert "rows: {ordered: [...]}" in said["learning_curves"]
    assert "no trials with the same settings on both" in said["ranks"]
    assert [g.title for g in example.grids] == ["Planned contrasts"]


def test_a_mixture_is_predicted_and_never_shown_as_a_result() -> None:
    evidence = sweep(mixture_searched(30))
    view = why_view(evidence, analyze(evidence))
    said = view.data["mixture"]["said"]
    assert said.count("PREDICTION, not a result") == 2
    assert "cross-validated" in said and "tried" in said
    tables = " ".join(cell for g in view.grids for row in g.rows for cell in row)
    assert "PREDICTION" not in tables


def test_more_rows_are_told_with_an_interval_and_the_number_of_trials() -> None:
    evidence = rows_searched((125, 250, 500, 1000))
    said = why_view(evidence, analyze(evidence)).data["learning_curves"]["said"]
    assert "twice the rows (1,000 to 2,000) would help s (+" in said
    assert "points on tickets, 16 trials)" in said


def test_importance_is_told_from_noise_in_words() -> None:
    rng = np.random.default_rng(4)
    trials = []
    for _ in range(32):
        rate = float(10 ** rng.uniform(-4, -2))
        right = round(160 - 60 * (np.log10(rate) + 3) ** 2 + rng.normal(0, 2))
        settings = {"learning_rate": rate, "weight_decay": float(rng.random())}
        trials.append(("s", settings, right, int(rng.integers(70, 100))))
    evidence = sweep(trials)
    view = why_view(evidence, analyze(evidence))
    said = view.data["importance"]["said"]
    assert "gain of s: learning_rate (" in said
    assert "forgetting of s: no setting is told from noise" in said
    grid = next(g for g in view.grids if g.title.startswith("Importance"))
    verdicts = {row[1:3]: row[6] for row in grid.rows}
    assert verdicts["gain", "learning_rate"] == "told from noise"
    assert verdicts["gain", "weight_decay"] == "not told from noise"


def test_a_sweep_without_trials_is_not_assessed() -> None:
    evidence = build([base("s"), base("m")], n_items=50)
    view = why_view(evidence, analyze(evidence))
    json.dumps(view.data, allow_nan=False)
    assert view.data["importance"]["found"] == []
    assert view.grids == ()


def test_the_command_prints_it(capsys) -> None:
    assert cli.main(["--example", "why"]) == 0
    out = capsys.readouterr().out
    assert "What mattered in ticket-routing-471510" in out and "Planned contrasts" in out


def test_of_a_table_from_elsewhere_only_importance_is_asked() -> None:
    rng = np.random.default_rng(6)
    evidence = sweep([("s", {}, 100, 80)] * 24)
    runs = []
    for i, run in enumerate(r for r in evidence.sweep.runs if r.kind == "trial"):
        rate = float(10 ** rng.uniform(-4, -2))
        figures = {"err": (np.log10(rate) + 3) ** 2 + 0.02 * float(rng.normal())}
        params = {"lr": rate, "seed": i % 3, "name": f"run-{i}"}
        runs.append(run.model_copy(update={"metrics": figures, "params": params}))
    objectives = (GivenObjective(name="err", direction="minimize"),)
    table = Evidence(
        evidence.sweep.model_copy(update={"runs": tuple(runs), "objectives": objectives}), ()
    )
    view = why_view(table, analyze(table))
    assert list(view.data) == ["importance"]
    assert "err of s: lr (" in view.data["importance"]["said"]
    # A name that differs in every row is no setting.
    assert {row[2] for row in view.grids[0].rows} == {"lr", "seed"}
    assert "no item scores" in view.notes[-1]
