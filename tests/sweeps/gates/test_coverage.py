"""Validation and test against training, and against production."""

from typing import Any

from keepgain.sweeps.gates.coverage import check_coverage
from keepgain.sweeps.gates.labels import facts_of
from keepgain.sweeps.gates.material import RowSet
from tests.sweeps.gates.labelled import Case, known, labelled, tickets

TASK = tickets(600)


def task(cases: list[Case] = TASK, **kind: Any) -> RowSet:
    return labelled("t/train", cases, role="task", source="t", **kind)


def items(part: str, cases: list[Case], **kind: Any) -> RowSet:
    return labelled(f"g/{part}", cases, measures="gain", source="t", **kind)


def test_a_random_split_is_covered() -> None:
    sets = [task(TASK[:400]), items("validation", TASK[400:500]), items("test", TASK[500:])]
    assert check_coverage(*known(*sets)) == []


def test_a_label_that_validation_lacks_is_named_with_its_share_of_training() -> None:
    without = [(q, a) for q, a in TASK[400:] if a != "refund"]
    found = check_coverage(*known(task(TASK[:400]), items("validation", without)))
    label = next(f for f in found if f.code == "coverage_label")
    share = sum(a == "refund" for _, a in TASK[:400]) / 400
    assert f"validation has no row of the label 'refund', {share:.1%} of training" in label.message
    assert label.figures["missing"] == 1
    assert label.figures["total_variation"] >= share - 0.01


def test_five_items_that_lack_a_label_by_chance_are_not_warned_of() -> None:
    without = [(q, a) for q, a in TASK[400:] if a != "refund"][:5]
    assert check_coverage(*known(task(TASK[:400]), items("validation", without))) == []


def test_groups_origins_lengths_and_openings_are_compared() -> None:
    train = [(f"how do I reset it number {i}", f"a{i}") for i in range(300)]
    test = [
        (f"why is my screen so very dark today, and what to do about {i}", f"b{i}")
        for i in range(100)
    ]
    sets = known(
        task(train, groups=["x", "y"] * 150, fields=[{"channel": "mail"}] * 300),
        items("test", test, groups=["x"] * 100, fields=[{"channel": "chat"}] * 100),
    )
    found = {f.code: f for f in check_coverage(*sets)}
    assert found.keys() == {f"coverage_{n}" for n in ("group", "origin", "length", "opening")}
    assert "the group 'x' is 100% of test, 50% of training" in found["coverage_group"].message
    assert "'how do i reset'" in found["coverage_opening"].message
    assert found["coverage_length"].figures["total_variation"] == 1.0


def test_production_is_compared_with_training_and_with_items() -> None:
    production = labelled("new/train", [(f"invoice {i} is missing a page", "") for i in range(200)])
    sets = [task(TASK[:400]), items("test", TASK[400:])]
    _, facts, labels = known(*sets)
    found = check_coverage(sets, {**facts, **facts_of([production])}, labels, production)
    assert {f.where for f in found} == {"t/train", "g/test"}
    assert all("of production" in f.message for f in found)


def test_a_set_without_rows_is_compared_with_nothing() -> None:
    assert check_coverage(*known(task([]), items("test", TASK[:100]))) == []


def test_rare_openings_together_are_not_called_an_opening() -> None:
    train = [(f"{a} {b} {c} now", "x") for a in "abcdefgh" for b in "abcde" for c in "abcde"]
    same = [("how do I pay it", "x")] * 100
    found = check_coverage(*known(task(train + same[:40]), items("test", same)))
    opening = next(f for f in found if f.code == "coverage_opening")
    assert "test has no row of any rarer opening, 83.3% of training" in opening.message
    assert "others" not in opening.message
