"""What is taken for a classification, and what are its labels."""

import numpy as np
import pytest

from keepgain.sweeps.gates.columns import Column
from keepgain.sweeps.gates.labels import facts_of, group_column, labels_of, opening
from tests.sweeps.gates.labelled import Case, known, labelled, tickets


def given(column: Column) -> list[str | None]:
    return list(column)


def test_few_answers_that_come_back_are_labels_up_to_case_and_space() -> None:
    cases = [(f"q{i}", ("Yes", "no", "yes ")[i % 3]) for i in range(30)]
    train = labelled("t/train", cases, role="task", source="t")
    test = labelled("g/test", [("z", "NO")], measures="gain", source="t")
    _, _, labels = known(train, test)
    assert labels["t/train"].values == ("yes", "no")
    assert given(labels["t/train"])[:3] == ["yes", "no", "yes"]
    assert given(labels["g/test"]) == ["no"], "splits of a source share its labels"


@pytest.mark.parametrize(
    "cases",
    [
        [(f"q{i}", f"a{i}") for i in range(200)],
        [(f"q{i}", f"a{i % 60}") for i in range(600)],
        [(f"q{i}", f"a{i % 5}") for i in range(20)],
        [(f"q{i}", "same") for i in range(50)],
    ],
    ids=["free text", "more than 50 values", "four rows each", "one value"],
)
def test_other_answers_are_no_labels(cases: list[Case]) -> None:
    assert known(labelled("t/train", cases, role="task"))[2] == {}


def test_slips_of_the_pen_do_not_hide_a_classification() -> None:
    cases = [(f"q{i}", f"a{i % 3}") for i in range(3000)]
    cases += [(f"r{i}", f"slip {i}") for i in range(60)]
    labels = known(labelled("t/train", cases, role="task"))[2]["t/train"]
    assert sorted(labels.values) == ["a0", "a1", "a2"]
    assert (labels.codes[3000:] == -1).all()


def test_a_small_suite_takes_the_labels_that_its_answers_have() -> None:
    train = labelled("t/train", tickets(60), role="task")
    small = labelled("own/test", tickets(8, seed=5), measures="gain")
    other = labelled("other/test", [("q", "else"), ("r", "refund")], measures="gain")
    labels = known(train, small, other)[2]
    assert labels["own/test"].values == labels["t/train"].values
    assert "other/test" not in labels


def test_a_field_of_the_spec_and_listed_labels_go_before_the_answers() -> None:
    cases = [(f"q{i}", f"a long answer {i}") for i in range(20)]
    rows = labelled("t/train", cases, [{"kind": "ab"[i % 2]} for i in range(20)], role="task")
    facts = facts_of([rows])
    assert labels_of([rows], facts) == {}
    assert labels_of([rows], facts, field="kind")["t/train"].values == ("a", "b")
    few = labelled("t/train", [("q", "Yes"), ("r", "no")], role="task")
    (column,) = labels_of([few], facts_of([few]), values=("yes", "no", "unknown")).values()
    assert given(column) == ["yes", "no"]


def test_groups_are_decoded_and_rows_without_one_have_none() -> None:
    rows = labelled("t/train", [("q", "a"), ("r", "b")], groups=["x", "y"], role="task")
    assert given(group_column(rows, facts_of([rows])["t/train"])) == ["x", "y"]
    plain = labelled("t/train", [("q", "a")], role="task")
    assert given(group_column(plain, facts_of([plain])["t/train"])) == [None]


def test_an_opening_is_the_first_words_with_numbers_masked() -> None:
    assert opening("Order 4711 of  May is late, please help") == "order # of may"
    assert (
        np.unique(
            facts_of([labelled("t/train", [("A 1", "x"), ("a 22", "y")])])["t/train"].opening
        ).size
        == 1
    )
