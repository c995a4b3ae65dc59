"""`compare A B`: differences, who won which items, and McNemar run by run."""

import json
import re

import numpy as np
import pytest
from scipy.stats import binomtest

from keepgain.analysis.analyze import analyze
from keepgain.analysis.contract import view_to_json
from keepgain.analysis.grid import View
from keepgain.analysis.views.compare import compare_view
from keepgain.analysis.views.pairs import paired
from keepgain.core.errors import UserError
from keepgain.core.multiplicity import holm
from keepgain.core.record import Evidence
from tests.analysis.evidence import SIZES, Trial, base, build, exact, ones

MEASURES = {"task": "gain", "facts": "forgetting"}


def worked() -> Evidence:
    """60 items a suite, two runs each: of the task, A has 0-39 right and B 20-49."""
    return exact(
        {
            "base-m": ("m", "base", {"task": ones(10, 60, 1), "facts": ones(50, 60, 1)}),
            "aaa": ("m", "trial", {"task": ones(40, 60), "facts": ones(48, 60)}),
            "bbb": ("m", "trial", {"task": ones(30, 60, start=20), "facts": ones(36, 60)}),
            "base-s": ("s", "base", {"task": ones(5, 60, 1), "facts": ones(20, 60, 1)}),
            "ccc": ("s", "trial", {"task": ones(35, 60), "facts": ones(20, 60)}),
        },
        measures=MEASURES,
        sizes=SIZES,
    )


def compared(evidence: Evidence, a: str, b: str, split: str = "validation") -> View:
    return compare_view(evidence, analyze(evidence), a, b, split)  # type: ignore[arg-type]


def test_hand_worked_differences_churn_and_mcnemar() -> None:
    data = compared(worked(), "aaa", "bbb").data
    by_name = {o["name"]: o for o in data["objectives"]}  # type: ignore[attr-defined]
    assert by_name["task_score"]["a_better_by"]["value"] == pytest.approx(10 / 60)
    assert by_name["forgetting"]["a_better_by"]["value"] == pytest.approx(12 / 60)
    assert by_name["max_forgetting"]["a_better_by"]["value"] is None
    task, facts = data["suites"]  # type: ignore[misc]
    # A alone is right on items 0-19, B alone on 40-49; 20-39 both.
    assert task["only_a_right"] == pytest.approx(20 / 60)
    assert task["only_b_right"] == pytest.approx(10 / 60)
    pair = task["mcnemar"][0]
    assert (pair["seed_a"], pair["seed_b"]) == (0, 0)
    assert (pair["only_a"], pair["only_b"]) == (20, 10)
    expected = [binomtest(10, 30).pvalue, binomtest(0, 12).pvalue]
    assert [s["mcnemar"][0]["p"] for s in (task, facts)] == pytest.approx(expected)
    adjusted = [s["mcnemar"][0]["p_adjusted"] for s in (task, facts)]
    assert adjusted == pytest.approx(holm(expected).tolist())
    assert len(task["mcnemar"]) == 2


def test_swapping_the_two_turns_every_sign() -> None:
    evidence = build([base("m"), Trial("aaa", "m", 0.8), Trial("bbb", "m", 0.7)], n_items=200)
    there, back = (compared(evidence, *names).data for names in (("aaa", "bbb"), ("bbb", "aaa")))
    for part in ("objectives", "suites"):
        for x, y in zip(there[part], back[part], strict=True):  # type: ignore[call-overload]
            if x["a_better_by"]["value"] is None:
                continue
            assert x["a_better_by"]["value"] == pytest.approx(-y["a_better_by"]["value"])
            assert x["a_better_by"]["low"] == pytest.approx(-y["a_better_by"]["high"])
    for x, y in zip(there["suites"], back["suites"], strict=True):  # type: ignore[call-overload]
        assert (x["only_a_right"], x["only_b_right"]) == (y["only_b_right"], y["only_a_right"])
        difference = x["only_a_right"] - x["only_b_right"]
        assert difference == pytest.approx(x["a_better_by"]["value"])


def test_two_base_models_are_compared_on_levels_alone() -> None:
    view = compared(worked(), "aaa", "ccc")
    by_name = {o["name"]: o["a_better_by"]["value"] for o in view.data["objectives"]}  # type: ignore[attr-defined]
    assert by_name["gain"] is None and by_name["forgetting"] is None
    assert by_name["task_score"] == pytest.approx(5 / 60)
    assert by_name["general_score"] == pytest.approx(28 / 60)
    assert any("compared on levels" in note for note in view.notes)


def test_a_base_stands_against_every_run_and_runs_are_used_once() -> None:
    assert paired(1, 3) == [(0, 0), (0, 1), (0, 2)]
    assert paired(3, 1) == [(0, 0), (1, 0), (2, 0)]
    assert paired(2, 3) == [(0, 0), (1, 1)]
    view = compared(worked(), "m-base", "bbb")
    assert len(view.data["suites"][0]["mcnemar"]) == 2  # type: ignore[index]


def test_the_words_say_who_is_better_by_how_much_or_what_it_would_take() -> None:
    evidence = build([base("m"), Trial("aaa", "m", 0.85), Trial("bbb", "m", 0.6)], n_items=400)
    said = compared(evidence, "bbb", "aaa").paragraphs
    assert said[0] == "A is m bbb (3 runs), B is m aaa (3 runs)."
    assert said[1].startswith("Task score: m aaa is better by ")
    value, low, high = map(float, re.findall(r"\d+\.\d", said[1]))
    assert 0 < low < value < high
    close = build([base("m"), Trial("aaa", "m", 0.705), Trial("bbb", "m", 0.7)], n_items=400)
    view = compared(close, "aaa", "bbb")
    task = next(o for o in view.data["objectives"] if o["name"] == "task_score")  # type: ignore[attr-defined]
    assert task["shown"] is False and "cannot be told apart" in view.paragraphs[1]
    needed = task["items_needed"]
    assert (f"{needed:,} items" if needed else "more seeds might") in view.paragraphs[1]


def test_without_a_replicate_nothing_is_shown_to_differ() -> None:
    trials = [base("m"), Trial("aaa", "m", 0.9, seeds=0), Trial("bbb", "m", 0.5, seeds=0)]
    view = compared(build(trials, n_items=200, test=False), "aaa", "bbb")
    assert all(o["shown"] is None for o in view.data["objectives"])  # type: ignore[attr-defined]
    assert "interval unknown" in view.paragraphs[1]


def test_clustered_items_get_no_mcnemar() -> None:
    from dataclasses import replace

    evidence = worked()
    names = tuple(f"c{i // 2}" for i in range(60))
    clustered = tuple((k, replace(s, clusters=names)) for k, s in evidence.items)
    view = compared(replace(evidence, items=clustered), "aaa", "bbb")
    assert view.data["suites"][0]["mcnemar"][0]["p"] is None  # type: ignore[index]
    assert any("clusters" in note for note in view.notes)


def test_test_items_only_where_asked_with_their_openings() -> None:
    evidence = build([base("m"), Trial("aaa", "m", 0.8), Trial("bbb", "m", 0.7)], n_items=100)
    quiet, open_ = (compared(evidence, "aaa", "bbb", split) for split in ("validation", "test"))
    assert quiet.data["split"] == "validation" and "opened" not in quiet.title
    assert "test items opened once" in open_.title
    assert any("no further opening" in note for note in open_.notes)


def test_what_was_not_scored_there_is_refused() -> None:
    trials = [base("m"), Trial("aaa", "m", 0.8), Trial("bbb", "m", 0.7, seeds=0)]
    with pytest.raises(UserError, match=r"m bbb has no test scores.*--split validation"):
        compared(build(trials, n_items=100), "aaa", "bbb", "test")


def test_the_data_is_json_without_numpy_or_nan() -> None:
    evidence = worked()
    analysis = analyze(evidence)
    view = compare_view(evidence, analysis, "aaa", "bbb", "validation")
    again = json.loads(view_to_json(analysis, view))
    assert again["view"] == "compare" and again["sweep"]["id"] == "exact-123456"
    assert again["data"]["a"]["seeds"] == [0, 1]
    assert not any(isinstance(v, np.generic) for s in view.data["suites"] for v in s.values())  # type: ignore[attr-defined]
