"""`trials`: filters, order, columns, and what was left out."""

import csv
import io

import pytest

from keepgain.analysis import render
from keepgain.analysis.analyze import analyze
from keepgain.analysis.grid import View
from keepgain.analysis.result import Analysis
from keepgain.analysis.views.trials import Selection, trials_view
from keepgain.core.errors import UserError
from keepgain.core.status import TrialStatus
from tests.analysis.evidence import Trial, base, build


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    trials = [
        base("s"),
        base("m"),
        Trial("aaaaaa11", "m", 0.8, params={"learning_rate": 3e-4}),
        Trial("bbbbbb22", "s", 0.6, params={"learning_rate": 1e-3}),
        Trial("cccccc33", "s", 0.9, seeds=0, method="lora", params={"learning_rate": 1e-2}),
        Trial("dddddd44", "s", 0.5, seeds=0, status=TrialStatus.FAILED),
    ]
    return analyze(build(trials, n_items=200))


def ids(view: View) -> list[str]:
    return [str(r["id"]) for r in view.data["rows"]]  # type: ignore[attr-defined]


def test_rows_of_one_base_model_and_the_reasons_of_those_left_out(analysis: Analysis) -> None:
    view = trials_view(analysis, Selection(model="s"))
    assert ids(view) == ["base-s", "bbbbbb22", "cccccc33"]
    assert view.grids[1].rows == (("s dddddd", "failed: loss is NaN at step 3"),)
    assert view.data["excluded"] == [
        {"trial": "dddddd44", "reason": "failed: loss is NaN at step 3"}
    ]
    assert trials_view(analysis, Selection(model="m")).data["excluded"] == []


def test_sorted_best_first_with_validation_after_test(analysis: Analysis) -> None:
    by_gain = ids(trials_view(analysis, Selection(sort="gain")))
    # cccccc33 gains most, on validation: never among the test figures.
    assert by_gain[:2] == ["aaaaaa11", "bbbbbb22"] and by_gain[-1] == "cccccc33"
    by_rate = ids(trials_view(analysis, Selection(sort="lr")))
    assert by_rate[:2] == ["aaaaaa11", "bbbbbb22"]
    forgetting = trials_view(analysis, Selection(sort="forgetting"))
    values = [r["objectives"]["forgetting"]["value"] for r in forgetting.data["rows"][:-1]]  # type: ignore[index]
    assert values == sorted(values)
    by_method = ids(trials_view(analysis, Selection(sort="method", model="s")))
    assert by_method == ["bbbbbb22", "base-s", "cccccc33"]


def test_top_keeps_the_first_and_says_so(analysis: Analysis) -> None:
    view = trials_view(analysis, Selection(sort="gain", top=1))
    assert ids(view) == ["aaaaaa11"] and view.data["of"] == 5
    assert "The first 1 of 5 rows." in view.paragraphs[0]
    assert any(
        "within a base model" in n for n in trials_view(analysis, Selection(sort="gain")).notes
    )


def test_chosen_objectives_are_the_columns(analysis: Analysis) -> None:
    view = trials_view(analysis, Selection(objectives=("general_score", "train_seconds")))
    assert "general score" in view.grids[0].header and "training time" in view.grids[0].header
    assert "gain" not in view.grids[0].header


def test_unknown_names_get_the_nearest(analysis: Analysis) -> None:
    with pytest.raises(UserError, match=r"no base model 'x'\. Known: s, m"):
        trials_view(analysis, Selection(model="x"))
    with pytest.raises(UserError, match=r"'forgeting'\. Nearest: forgetting"):
        trials_view(analysis, Selection(sort="forgeting"))


def test_csv_has_all_digits(analysis: Analysis) -> None:
    view = trials_view(analysis, Selection(sort="gain"))
    rows = list(csv.DictReader(io.StringIO(render.view_csv(view))))
    gain = next(r for r in analysis.rows if r.who.trial_id == "aaaaaa11").estimates["gain"]
    assert float(rows[0]["objectives.gain.value"]) == gain.value
    assert rows[0]["params.learning_rate"] == "0.0003" and rows[-2]["kind"] == "base"
