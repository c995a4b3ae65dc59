"""Brier scores, signed confidence and selected labels: worked by hand, and of a real tiny model."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from keepgain.core.rows import Row
from keepgain.core.scorer_options import ScorerOptions
from keepgain.core.scorers import scorer
from keepgain.trainers.models import BaseCache
from keepgain.trainers.reference import Prompting
from keepgain.trainers.scorers.choices import ChoiceLikelihoods
from keepgain.trainers.scorers.confidence import brier, probabilities, selected, signed_confidence
from keepgain.trainers.scoring import SuiteResult, score_suite
from keepgain.trainers.suites import prepare_suite
from tests.trainers import tiny

OPTIONS = ScorerOptions()


def likelihoods(*probabilities: float) -> ChoiceLikelihoods:
    texts = tuple("abcd"[: len(probabilities)])
    return ChoiceLikelihoods(texts, np.log(probabilities) - 40)


def row(answer: str) -> Row:
    return Row("x", "pair", prompt="?", answer=answer, choices=("a", "b", "c"))


def test_brier_is_the_squared_distance_to_the_right_choice():
    found = likelihoods(0.7, 0.2, 0.1)
    assert brier(found, row("a"), OPTIONS) == pytest.approx(0.09 + 0.04 + 0.01)
    assert brier(found, row("c"), OPTIONS) == pytest.approx(0.49 + 0.04 + 0.81)
    assert brier(likelihoods(*[0.25] * 4), row("b"), OPTIONS) == pytest.approx(3 / 4)


def test_what_the_choices_leave_to_other_texts_is_left_out():
    """They are the only texts that can be chosen, so their probabilities sum to 1."""
    assert probabilities(np.log([0.06, 0.03, 0.01])) == pytest.approx([0.6, 0.3, 0.1])


def test_confidence_has_the_sign_of_being_right():
    found = likelihoods(0.7, 0.2, 0.1)
    assert signed_confidence(found, row("a"), OPTIONS) == pytest.approx(0.7)
    assert signed_confidence(found, row("b"), OPTIONS) == pytest.approx(-0.7)


def test_choices_of_the_spec_keep_their_blanks_and_are_right_all_the_same():
    found = ChoiceLikelihoods((" a", " b"), np.log([0.9, 0.1]))
    right = Row("x", "pair", prompt="?", answer=" a", choices=(" a", " b"))
    assert signed_confidence(found, right, OPTIONS) == pytest.approx(0.9)
    assert brier(found, right, OPTIONS) == pytest.approx(0.02)


def test_of_equal_choices_the_first_is_chosen():
    found = likelihoods(0.5, 0.5)
    assert signed_confidence(found, row("a"), OPTIONS) == pytest.approx(0.5)
    assert signed_confidence(found, row("b"), OPTIONS) == pytest.approx(-0.5)


def test_selected_is_what_the_model_gives_whatever_is_right():
    for answer in "ab":
        options = [ScorerOptions(labels=("a", "b"), positive=p) for p in "ab"]
        found = [selected(likelihoods(0.6, 0.4), row(answer), o) for o in options]
        assert found == [1.0, 0.0]


@given(st.lists(st.floats(-2000, 0), min_size=2, max_size=6), st.integers(0, 5))
def test_scores_stay_in_their_range_however_unlikely_all_choices_are(logs, right):
    texts = tuple("abcdef"[: len(logs)])
    found = ChoiceLikelihoods(texts, np.array(logs))
    item = Row("x", "pair", prompt="?", answer=texts[right % len(texts)], choices=texts)
    assert 0 <= brier(found, item, OPTIONS) <= 2 + 1e-9
    signed = signed_confidence(found, item, OPTIONS)
    assert 1 / len(texts) - 1e-9 <= abs(signed) <= 1
    assert (signed > 0) == (found.likeliest() == item.answer)


def scored(folder, llama, rows, name, **options) -> SuiteResult:
    base = BaseCache().load(llama, torch.float32, torch.device("cpu"))
    suite = tiny.suite(folder, name, rows, name, measures="behaviour", **options)
    items = prepare_suite(base.codec, suite, rows, Prompting(), 256)
    return score_suite(base.model, base.codec, items, 8, 0)


def test_a_models_scores_agree_with_its_accuracy_and_with_one_another(tmp_path, llama):
    rows = [
        Row(f"c{i}", "pair", prompt=f"{i}=", answer="ab"[i % 2], choices=("a", "b", "c"))
        for i in range(20)
    ]
    found = {n: scored(tmp_path, llama, rows, n) for n in ("multiple_choice", "signed_confidence")}
    signed = found["signed_confidence"].scores.values
    assert np.array_equal(signed > 0, found["multiple_choice"].scores.values == 1)
    # Two of three choices cannot be surer than what the likeliest one leaves them.
    squared = scored(tmp_path, llama, rows, "brier").scores.values
    sure = np.abs(signed)
    right = signed > 0
    least = (1 - sure) ** 2 * 1.5
    assert np.all(squared[right] >= least[right] - 1e-9)
    assert np.all(squared[right] <= 2 * (1 - sure[right]) ** 2 + 1e-9)


def test_selected_of_a_model_counts_its_likeliest_label_and_keeps_the_truth(tmp_path, llama):
    slices = (("answer_is_positive", "yes"),), (("answer_is_positive", "no"),)
    rows = [
        Row(f"s{i}", "pair", prompt=f"{i}=", answer="ab"[i % 2], slices=slices[i % 2], group="g")
        for i in range(12)
    ]
    options = {"labels": ("a", "b")}
    right = scored(tmp_path, llama, rows, "classification", options=ScorerOptions(**options))
    chosen = {
        p: scored(
            tmp_path, llama, rows, "selected", options=ScorerOptions(**options, positive=p)
        ).scores
        for p in "ab"
    }
    assert chosen["a"].values + chosen["b"].values == pytest.approx(np.ones(12))
    truth = np.array([r.answer == "a" for r in rows])
    assert np.array_equal(chosen["a"].values == truth, right.scores.values == 1)
    assert chosen["a"].slices == {"answer_is_positive": ("yes", "no") * 6}
    assert scorer("selected").behaviour_only and scorer("signed_confidence").behaviour_only
