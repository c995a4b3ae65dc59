"""Typos cost a tuned model right answers, and training on changed copies restores some: real
trainings of a tiny base."""

import pytest

from benchmarks.behaviour.made import Measured
from benchmarks.behaviour.robustness import run, table
from keepgain.analysis.behaviour.figure import Figure
from keepgain.analysis.behaviour.robustness import robustness_figures
from keepgain.trainers.process import prepare_libraries

BUDGET = 250_000
"""Tokens: some 200 steps of 64 rows."""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    prepare_libraries()
    return run(tmp_path_factory.mktemp("robustness"), "s", seeds=1, budget=BUDGET, items=150)


def named(measured: Measured, arm: str, name: str) -> Figure:
    found = robustness_figures(measured.items, measured.tuned[arm], measured.base)
    return next(f for f in found if f.name == name)


def test_typos_lower_the_score_and_changed_copies_restore_some_of_it(measured: Measured) -> None:
    clean, augmented = (named(measured, arm, "drop under typos") for arm in ("clean", "augmented"))
    assert clean.estimate.low is not None and clean.estimate.low > 0, clean.note
    assert augmented.estimate.value is not None and clean.estimate.value is not None
    assert augmented.estimate.value < clean.estimate.value, (clean.note, augmented.note)
    assert clean.change is not None and clean.change.value is not None and clean.change.value > 0


def test_each_kind_of_change_is_in_the_table(measured: Measured) -> None:
    lines = table(measured)
    assert lines[2].startswith("| none | score | ") and lines[2].endswith(" | 150 |")
    kinds = {line.split("|")[1].strip() for line in lines[3:]}
    assert kinds == {"typos", "casing", "insertion", "paraphrase", "distractors", "suffix"}
    assert all(len(line.split("|")) == 8 for line in lines)
