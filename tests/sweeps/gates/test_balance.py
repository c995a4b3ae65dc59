"""How labels and groups are shared out."""

import pytest

from keepgain.sweeps.gates.balance import check_associations, check_balance
from tests.sweeps.gates.labelled import Case, known, labelled


def cases(**of_label: int) -> list[Case]:
    return [(f"{label} {i}", label) for label, n in of_label.items() for i in range(n)]


def test_the_interval_that_the_rarest_label_of_a_test_allows_is_said() -> None:
    train = labelled("t/train", cases(refund=100, login=100), role="task", source="t")
    test = labelled("g/test", cases(refund=12, login=88), measures="gain", source="t")
    even, rare = check_balance(*known(train, test))
    assert (even.code, even.severity) == ("label_balance", "note")
    assert even.figures["effective_labels"] == pytest.approx(2)
    assert (rare.code, rare.where, rare.count) == ("rare_label_in_test", "g/test", 1)
    assert "label 'refund': 12 test items, so its recall is known to ±25 points" in rare.message


def test_a_label_of_the_source_that_no_item_has_is_rare_too() -> None:
    train = labelled("t/train", cases(refund=100, login=100), role="task", source="t")
    test = labelled("g/test", cases(login=88), measures="gain", source="t")
    rare = check_balance(*known(train, test))[1]
    assert "'refund': 0 test items, so its recall is not known" in rare.message


def test_few_or_uneven_labels_to_train_on_are_warned_of() -> None:
    (few,) = check_balance(*known(labelled("t/train", cases(a=95, b=95, c=6), role="task")))
    assert (few.severity, few.count) == ("warning", 1) and "'c', has 6 of 196 rows" in few.message
    shares = {"a": 980, "b": 15, "c": 15, "d": 15}
    (uneven,) = check_balance(*known(labelled("t/train", cases(**shares), role="task")))
    assert uneven.severity == "warning"


def test_groups_count_where_answers_are_no_labels() -> None:
    test = [(f"q{i}", f"a{i}") for i in range(100)]
    groups = ["small" if i < 10 else "large" for i in range(100)]
    (rare,) = check_balance(*known(labelled("g/test", test, groups=groups, measures="gain")))
    assert (rare.code, rare.figures["rarest_items"]) == ("rare_group_in_test", 10)


def test_labels_that_go_with_groups_fields_and_words_are_found() -> None:
    rows = [
        (f"{('she', 'he')[i % 2]} asks {i}", ("yes", "no")[i % 2 or i % 10 == 0])
        for i in range(200)
    ]
    groups = ["ab"[i % 2] for i in range(200)]
    fields = [{"sex": "fm"[i % 2], "day": str(i % 7)} for i in range(200)]
    gate = known(labelled("t/train", rows, fields, groups, role="task"))
    terms = {"female": ("she", "her"), "unrelated": ("asks 1",)}
    group, field, word = check_associations(*gate, ["sex", "day"], terms)
    assert (group.code, group.severity) == ("group_label_association", "note")
    assert (field.code, field.severity) == ("group_label_association", "warning")
    assert "'sex'" in field.message and field.of == 200
    assert word.code == "term_label_association"
    assert (
        "80% of 100 rows that name 'female' are labelled 'yes', of the 100 others 0%"
        in word.message
    )


def test_groups_that_labels_do_not_go_with_are_not_named() -> None:
    rows = [(f"q{i}", ("yes", "no")[i % 2]) for i in range(200)]
    groups = ["ab"[i // 2 % 2] for i in range(200)]
    assert check_associations(*known(labelled("t/train", rows, groups=groups, role="task"))) == []
