"""Newer rows against those of a sweep."""

from typing import Any

import numpy as np
import pytest

from keepgain.sweeps.gates.drift import Drift, Old, check_drift
from keepgain.sweeps.gates.drift_shares import distance_by_chance, given_labels
from keepgain.sweeps.gates.drift_words import unseen_words, words_of
from keepgain.sweeps.gates.labels import facts_of, labels_of
from tests.sweeps.gates.labelled import Case, labelled, tickets
from tests.sweeps.gates.whole import whole

ROWS = tickets(900)


def drift_of(
    cases: list[Case],
    fields: list[dict[str, str]] | None = None,
    train_fields: list[dict[str, str]] | None = None,
    **how: Any,
) -> Drift:
    train = labelled("t/train", ROWS[:400], train_fields, role="task", source="t")
    items = labelled("g/test", ROWS[400:600], measures="gain", source="t")
    new = labelled("new/test", cases, fields)
    facts = facts_of([train, items, new])
    return check_drift(new, Old([train], [items], labels_of([train, items], facts)), facts, **how)


def codes(drift: Drift) -> set[str]:
    """Without rows that training has: these questions are made of few phrases."""
    return {f.code for f in drift.findings} - {"drift_trained_on"}


def test_rows_drawn_from_the_same_distribution_have_not_drifted() -> None:
    found = drift_of(ROWS[600:])
    assert codes(found) == set()
    assert {c.aspect for c in found.changes} >= {"label", "length"}
    assert not any(c.shares for c in found.changes)
    assert all(t.low < 0.6 for t in found.texts)
    assert (found.rows, found.labelled, found.items) == (300, 300, 0)


def test_a_label_that_has_become_rarer_is_named_with_both_shares() -> None:
    left = [c for i, c in enumerate(ROWS[600:]) if c[1] != "login" or i % 10 == 0]
    (finding,) = [f for f in drift_of(left).findings if f.code == "drift_label"]
    now = sum(a == "login" for _, a in left) / len(left)
    before = sum(a == "login" for _, a in ROWS[:400]) / 400
    assert f"the label 'login' is {now:.0%} of the rows, {before:.0%} of" in finding.message
    assert finding.severity == "warning"
    assert finding.figures["total_variation"] > 3 * finding.figures["by_chance"]


def test_a_label_that_was_never_seen_is_named_however_rare() -> None:
    cases = [*ROWS[600:], ("where do I cancel it all", "cancellation")]
    (finding,) = [f for f in drift_of(cases).findings if f.code == "drift_new_labels"]
    assert "1 of 301 labelled rows" in finding.message and "'cancellation' (1)" in finding.message
    assert finding.rows == ("new/test:301",)


def test_rows_without_answers_are_compared_but_for_their_labels() -> None:
    found = drift_of([(q, "") for q, _ in ROWS[600:]])
    assert found.labelled == 0 and codes(found) == set()
    assert "label" not in {c.aspect for c in found.changes}
    assert "length" in {c.aspect for c in found.changes}


def test_other_questions_are_told_apart_and_their_new_words_counted() -> None:
    cases = [(f"the zeppelin number {i} hovers above gate {i % 7}", "refund") for i in range(200)]
    found = drift_of(cases)
    assert {"drift_texts", "drift_words", "drift_opening"} <= codes(found)
    assert {t.against for t in found.texts} == {"training", "evaluation"}
    assert min(t.low for t in found.texts) > 0.9
    assert found.words is not None and found.words.share == 1.0
    assert dict(found.words.words)["zeppelin"] == 200


def test_rows_that_training_or_the_items_have_are_counted() -> None:
    others = [(f"unlike all others {'abcdefghij'[i]} is row {i * i}", "refund") for i in range(9)]
    found = drift_of([*ROWS[:7], *others, *ROWS[400:403]])
    near = found.trained_on - 7
    assert (found.searched, found.items) == (19, 3) and 0 <= near <= 3  # phrases of the items
    by_code = {f.code: f for f in found.findings}
    assert by_code["drift_trained_on"].count == found.trained_on
    assert whole(by_code["drift_trained_on"])[0] == 1
    assert len(whole(by_code["drift_known_items"])) == found.items
    assert by_code["drift_known_items"].severity == "note"


def test_a_field_with_other_shares_is_named_and_a_date_is_counted_by_month() -> None:
    def fields(channel: str, month: int) -> dict[str, str]:
        return {"channel": channel, "date": f"2026-{month:02d}-05"}

    old = [fields("mail" if i % 2 else "chat", 1 + i % 2) for i in range(400)]
    new = [fields("app" if i % 2 else "chat", 3) for i in range(300)]
    found = drift_of(ROWS[600:], new, old)
    (field,) = [f for f in found.findings if f.code == "drift_field"]
    assert "the field channel 'app' is new: 50.0% of the rows, none of t/train" in field.message
    assert [(m.month, m.training, m.new) for m in found.months] == [
        ("2026-01", 200, 0),
        ("2026-02", 200, 0),
        ("2026-03", 0, 300),
    ]
    (dates,) = [f for f in found.findings if f.code == "drift_dates"]
    assert dates.figures == {"newer_share": 1.0}
    assert not any("date" in c.aspect for c in found.changes)


def test_the_distance_by_chance_is_the_mean_of_two_samples_of_one_distribution() -> None:
    by_hand = 2 * np.sqrt(2 / np.pi * 0.25 * (1 / 100 + 1 / 100)) / 2
    assert distance_by_chance(np.array([[40, 60], [60, 40]])) == pytest.approx(by_hand)
    random = np.random.default_rng(0)
    p = [0.5, 0.3, 0.2]
    a, b = random.multinomial(200, p, 2000) / 200, random.multinomial(500, p, 2000) / 500
    simulated = (np.abs(a - b).sum(axis=1) / 2).mean()
    expected = distance_by_chance(np.array([[100, 60, 40], [250, 150, 100]]))
    assert expected == pytest.approx(simulated, rel=0.05)


def test_known_labels_keep_their_codes_and_unknown_ones_follow() -> None:
    train = labelled("t/train", ROWS[:400], role="task", source="t")
    known = labels_of([train], facts_of([train]))["t/train"]
    cases = [("a", "other"), ("b", known.values[1]), ("c", ""), ("d", "other")]
    found = given_labels(labelled("new/test", cases), known, None)
    assert found is not None
    assert found.values == (*known.values, "other")
    assert found.codes.tolist() == [len(known.values), 1, -1, len(known.values)]


def test_unseen_words_are_runs_of_letters_whatever_their_case() -> None:
    assert words_of("Order 66: ORDER, déjà_vu2") == {"order", "déjà", "vu"}
    train = labelled("t/train", [("Red green", "x")])
    items = labelled("g/test", [("red blue", "x"), ("green", "x")])
    new = labelled("new/test", [("Blue pink", "x"), ("pink RED", "x"), ("red", "x"), ("12", "x")])
    found = unseen_words(new, [train], [items])
    assert found is not None
    assert (found.rows, found.share, found.item_share) == (4, 0.5, 0.5)
    assert found.words == (("pink", 2),)
    assert (found.vocabulary, found.training_rows) == (2, 1)
