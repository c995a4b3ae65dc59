import numpy as np
import pytest

from keepgain.core.rows import Row
from keepgain.core.scorer_options import ScorerOptions
from keepgain.trainers.scorers.choices import (
    ChoiceLikelihoods,
    calibration,
    class_report,
    classification,
    classification_report,
    ece,
    generated_report,
    multiple_choice,
    multiple_choice_normalised,
)

OPTIONS = ScorerOptions(labels=("a", "b", "c"))


def item(answer: str, **logs: float) -> tuple[ChoiceLikelihoods, Row]:
    row = Row("r", "pair", prompt="q", answer=answer, choices=tuple(logs))
    return ChoiceLikelihoods(tuple(logs), np.array(list(logs.values()))), row


def test_the_likeliest_choice_is_chosen_and_per_byte_a_longer_one_may_be():
    # -3 / 2 bytes = -1.5 against -5 / 5 = -1.
    given, row = item("horse", ox=-3.0, horse=-5.0)
    assert multiple_choice(given, row, OPTIONS) == 0
    assert multiple_choice_normalised(given, row, OPTIONS) == 1


def test_bytes_are_counted_in_utf8():
    # 4 letters and 6 bytes: -5.4 / 6 = -.9 beats -3.8 / 4 = -.95; by letters it would not.
    given, _ = item("abcd", éé__=-5.4, abcd=-3.8)
    assert given.per_byte == pytest.approx([-0.9, -0.95])


def test_equal_choices_give_the_first():
    given, row = item("b", a=-1.0, b=-1.0)
    assert multiple_choice(given, row, OPTIONS) == 0


def test_calibration_error_by_hand():
    # Bins of width 1/15: (.6, .6667] holds .65 right and .61 wrong; (.8667, .9333] holds .9 right.
    confidence, correct = np.array([0.65, 0.61, 0.9]), np.array([1.0, 0.0, 1.0])
    by_hand = 2 / 3 * abs(0.5 - 0.63) + 1 / 3 * abs(1 - 0.9)
    assert ece(confidence, correct) == pytest.approx(by_hand)
    assert ece(np.array([1.0, 1.0]), np.array([1.0, 0.0])) == pytest.approx(0.5)


def test_a_calibrated_model_has_little_calibration_error_and_a_sure_wrong_one_much():
    generator = np.random.default_rng(0)
    confidence = generator.uniform(0.3, 1, 40_000)
    right = (generator.uniform(size=40_000) < confidence).astype(float)
    assert ece(confidence, right) < 0.02
    assert ece(confidence, np.zeros(40_000)) == pytest.approx(confidence.mean())


def test_confidence_is_the_softmax_over_the_choices():
    # Odds 3 to 1: confidence .75, right; error .25. Shifting all logs changes nothing.
    for shift in (0.0, -800.0):
        given, row = item("a", a=np.log(3) + shift, b=shift)
        assert calibration([given], [row], np.array([1.0]), OPTIONS) == {"ece": pytest.approx(0.25)}


WANTED = ["a"] * 4 + ["b"] * 3 + ["c"]
PREDICTED = ["a", "a", "a", "b", "b", "a", "x", "b"]


def test_class_figures_by_hand():
    report = class_report(WANTED, PREDICTED, OPTIONS.labels)
    by_hand = {
        "accuracy": 4 / 8,
        "n/a": 4,
        "precision/a": 3 / 4,
        "recall/a": 3 / 4,
        "f1/a": 3 / 4,
        "n/b": 3,
        "precision/b": 1 / 3,
        "recall/b": 1 / 3,
        "f1/b": 1 / 3,
        "n/c": 1,
        "recall/c": 0,
        "f1/c": 0,
        "macro_f1": (3 / 4 + 1 / 3 + 0) / 3,
        "worst_recall": 0,
        "worst_recall_n": 1,
    }
    assert report == pytest.approx(by_hand)
    assert "precision/c" not in report, "nothing was predicted as c"


def test_class_figures_agree_with_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    generator = np.random.default_rng(1)
    wanted = list(generator.choice(["a", "b", "c"], 300, p=[0.6, 0.3, 0.1]))
    guessed = generator.choice(["a", "b", "c"], 300)
    right = generator.uniform(size=300) < 0.7
    predicted = [w if r else g for w, g, r in zip(wanted, guessed, right, strict=True)]
    report = class_report(wanted, predicted, OPTIONS.labels)
    theirs = metrics.classification_report(wanted, predicted, output_dict=True)
    for label in OPTIONS.labels:
        for ours, name in (("precision", "precision"), ("recall", "recall"), ("f1", "f1-score")):
            assert report[f"{ours}/{label}"] == pytest.approx(theirs[label][name])
        assert report[f"n/{label}"] == theirs[label]["support"]
    assert report["macro_f1"] == pytest.approx(theirs["macro avg"]["f1-score"])
    assert report["accuracy"] == pytest.approx(theirs["accuracy"])
    worst = min(theirs[label]["recall"] for label in OPTIONS.labels)
    assert report["worst_recall"] == pytest.approx(worst)


def test_a_report_from_likelihoods_and_one_from_generated_labels():
    pairs = [item("a", a=-1.0, b=-2.0, c=-3.0), item("b", a=-1.0, b=-2.0, c=-3.0)]
    given, rows = [g for g, _ in pairs], [r for _, r in pairs]
    scores = np.array([classification(g, r, OPTIONS) for g, r in pairs])
    assert scores.tolist() == [1, 0]
    report = classification_report(given, rows, scores, OPTIONS)
    assert (report["accuracy"], report["recall/b"]) == (0.5, 0)
    sure = 1 / (1 + np.exp(-1) + np.exp(-2))
    assert report["ece"] == pytest.approx(abs(0.5 - sure))
    made = generated_report([" a\n", "what?"], rows, scores, OPTIONS)
    assert (made["accuracy"], made["no_label"]) == (0.5, 0.5)
