"""Figures without leaked items, and on real and synthetic ones apart: worked by hand."""

import json

import numpy as np
import pytest

from keepgain.analysis.analyze import analyze
from keepgain.analysis.contract import to_json
from keepgain.analysis.result import Analysis
from keepgain.analysis.views.decision import subset_lines
from keepgain.core.record import Evidence
from tests.analysis.evidence import exact

ITEMS = 200


def column(right: int, of: int = ITEMS, *, seeds: int = 1) -> np.ndarray:
    """The first items are right."""
    values = np.zeros((of, seeds))
    values[:right] = 1.0
    return values


def ids(first: int, last: int) -> tuple[str, ...]:
    return tuple(f"test-{i:05d}" for i in range(first, last))


def evidence(flagged: dict[str, dict[str, dict[str, tuple[str, ...]]]]) -> Evidence:
    """The trial has the first 120 of 200 items right, the base the first 40; facts: 150 and 160."""
    whole = exact(
        {
            "base": ("s", "base", {"task": column(40), "facts": column(160)}),
            "trial": ("s", "trial", {"task": column(120, seeds=2), "facts": column(150, seeds=2)}),
        },
        measures={"task": "gain", "facts": "forgetting"},
        sizes={"s": 1000},
    )
    return Evidence(whole.sweep.model_copy(update={"flagged": flagged}), whole.items)


def gain(analysis: Analysis) -> float:
    (row,) = [r for r in analysis.rows if r.who.trial_id == "trial"]
    value = row.estimates["gain"].value
    assert value is not None
    return value


def test_main_figures_keep_leaked_items_and_stand_beside_those_without() -> None:
    """Of the 100 items left the trial has 20 right beyond the base's none: .2, not .4."""
    found = analyze(evidence({"leaked": {"task": {"test": ids(0, 100)}}}))
    assert gain(found) == pytest.approx(80 / 200)
    (part,) = found.subsets
    assert (part.subset, part.used, part.of) == ("without_leaked", {"task": 100}, {"task": 200})
    figures = part.trials["trial"]
    assert figures["gain"].value == pytest.approx(20 / 100)
    assert figures["task_score"].value == pytest.approx(20 / 100)
    assert figures["forgetting"].value == pytest.approx(10 / 200), "facts has no flagged items"
    assert figures["gain"].n_items == 100 and figures["gain"].low is not None


def test_the_decision_is_on_real_items_and_synthetic_ones_have_their_own_figures() -> None:
    """Synthetic are the first 100: base 40, trial 100 right; real are the others: 0 and 20."""
    found = analyze(evidence({"synthetic": {"task": {"test": ids(0, 100)}}}))
    assert gain(found) == pytest.approx(20 / 100)
    (part,) = found.subsets
    assert part.trials["trial"]["gain"].value == pytest.approx(60 / 100)
    assert part.trials["trial"]["forgetting"].value is None, "facts has no synthetic items"
    assert part.used == {"task": 100}


def test_a_suite_of_synthetic_items_alone_keeps_them() -> None:
    found = analyze(evidence({"synthetic": {"task": {"test": ids(0, ITEMS)}}}))
    assert gain(found) == pytest.approx(80 / 200)


def test_nothing_is_left_of_a_suite_whose_items_all_leaked() -> None:
    found = analyze(evidence({"leaked": {"task": {"test": ids(0, ITEMS)}}}))
    figures = found.subsets[0].trials["trial"]
    assert figures["gain"].value is None and figures["forgetting"].value is not None


def test_few_items_have_no_interval() -> None:
    found = analyze(evidence({"leaked": {"task": {"test": ids(20, ITEMS)}}}))
    estimate = found.subsets[0].trials["trial"]["task_score"]
    assert (estimate.value, estimate.low, estimate.interval_method) == (1.0, None, "unknown")


def test_items_of_the_other_split_change_nothing() -> None:
    assert analyze(evidence({"leaked": {"task": {"validation": ids(0, 9)}}})).subsets == ()
    assert analyze(evidence({})).subsets == ()


def test_json_and_text_have_them() -> None:
    found = analyze(evidence({"leaked": {"task": {"test": ids(0, 100)}}}))
    (part,) = json.loads(to_json(found))["subsets"]
    assert part["trials"]["trial"]["gain"]["value"] == pytest.approx(0.2)
    assert part["used"] == {"task": 100} and part["of"] == {"task": 200}
    (line,) = subset_lines(found)
    assert line.startswith("Without leaked items (100 of 200 task), trial: gain +0.200")
    assert "(+0.400" in line
