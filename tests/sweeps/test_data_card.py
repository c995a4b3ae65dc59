"""The data card counts what is in the sets: worked by hand."""

from collections import Counter

import numpy as np

from keepgain.core.rows import Row
from keepgain.sweeps.data_card import DataCard, SetCard, Values, card_lines, counted, set_card
from keepgain.sweeps.gates.columns import Column
from keepgain.sweeps.gates.material import RowSet
from keepgain.sweeps.gates.shape import ShapeProbe

ROWS = (
    Row("1", "pair", prompt="one two", answer="ab"),  # 7 + 2 characters, 3 words
    Row("2", "pair", prompt="one two", answer="ab"),
    Row("3", "pair", prompt="one two", answer="b"),
    Row("4", "pair", prompt="x" * 30, answer="abc"),  # 33 characters
)


def card(rows: tuple[Row, ...] = ROWS, **more: Column) -> SetCard:
    places = tuple(f"t.jsonl:{i + 1}" for i in range(len(rows)))
    given = RowSet("t/train", "train", rows, places, role="task", columns=more, source="t")
    return set_card(given, ShapeProbe().measure(rows), {"m": 9})


def test_rows_are_alike_if_question_and_answer_are() -> None:
    assert (card().rows, card().distinct, card().words) == (4, 3, 11)


def test_lengths_are_medians_and_classes() -> None:
    found = card()
    assert found.question == {"p05": 7, "p50": 7, "p95": 30, "most": 30}
    assert found.answer["p50"] == 2
    assert found.lengths[:4] == (3, 0, 1, 0), "below 16, 16-31, 32-63, ... characters"


def test_texts_have_no_answers() -> None:
    found = card((Row("1", "text", text="some text"),))
    assert found.answer == {} and found.question["most"] == 9


def test_a_set_without_rows_has_a_card() -> None:
    assert card(()).rows == 0 and card(()).question == {}


def test_fields_are_counted_with_the_rows_that_lack_them() -> None:
    column = Column(("anna", "bo", "cleo"), np.array([1, 1, 0, -1], dtype=np.int32))
    found = card(annotator=column).fields["annotator"]
    assert found == Values(rows={"bo": 2, "anna": 1}, without=1)
    assert list(found.rows) == ["bo", "anna"], "the most frequent first; none of `cleo`"


def test_rare_values_are_counted_together() -> None:
    found = counted(Counter({f"v{i}": 30 - i for i in range(25)}))
    assert len(found.rows) == 20 and found.others == 5 and found.other_rows == 10 + 9 + 8 + 7 + 6


def test_lines_leave_out_columns_without_content() -> None:
    header, line = card_lines(DataCard(sweep="s", sets=(card(),)))
    assert header.split() == ["set", "use", "rows", "tokens", "alike", "characters"]
    assert line.split() == ["t/train", "task", "4", "9", "1", "7", "+", "2"]
    labelled = card().model_copy(update={"labels": Values(rows={"a": 3, "b\x1b[1m": 1})})
    assert card_lines(DataCard(sweep="s", sets=(labelled,)))[1].endswith("a 75%, b[1m 25%")


def test_personal_values_of_a_field_are_masked() -> None:
    column = Column(("anna@example.org", "abe@earth.org", "desk 7"), np.array([0, 1, 2, 1]))
    assert card(by=column).fields["by"].rows == {"a***@e***.org": 3, "desk 7": 1}
