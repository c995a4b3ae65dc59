"""Fields beside the content, by column."""

import json
from pathlib import Path

import numpy as np
import pytest

from keepgain.core.row_files import iterate_rows
from keepgain.sweeps.gates import columns
from keepgain.sweeps.gates.columns import ColumnsBuilder


def test_a_row_without_a_field_has_none_there_wherever_the_field_begins_and_ends() -> None:
    builder = ColumnsBuilder()
    for fields in ({"by": "ann"}, {}, {"date": "2026-01", "by": "bob"}, {"by": "ann"}, {}):
        builder.add(fields)
    made = builder.columns()
    assert list(made["by"]) == ["ann", None, "bob", "ann", None]
    assert list(made["date"]) == [None, None, "2026-01", None, None]
    assert made["by"].values == ("ann", "bob")
    assert list(made["by"].where(np.array([0, 0, 1, 1, 0], dtype=np.bool_))) == ["bob", "ann"]


def test_a_field_that_names_every_row_is_given_up(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(columns, "MAX_DISTINCT", 2)
    builder = ColumnsBuilder()
    for number in range(5):
        builder.add({"url": str(number), "kind": "a"})
    assert set(builder.columns()) == {"kind"}


def test_content_and_ids_are_no_columns_and_long_texts_are_none(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    row = {"id": "1", "question": "q", "answer": "a", "label": 3, "sure": True, "notes": "x" * 201}
    path.write_text(json.dumps(row | {"tags": ["a"], "by": "ann"}) + "\n")
    (found,) = iterate_rows(path)
    assert found.beside == {"label": "3", "sure": "True", "by": "ann"}


def test_of_more_moments_than_a_column_holds_the_days_are_kept(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(columns, "MAX_DISTINCT", 3)
    builder = ColumnsBuilder()
    for second in range(9):
        moment = f"2026-01-0{1 + second // 4}T10:00:0{second}Z"
        builder.add({"at": moment} if second != 1 else {})
    at = builder.columns()["at"]
    assert at.values == ("2026-01-01", "2026-01-02", "2026-01-03")
    assert at.codes.tolist() == [0, -1, 0, 0, 1, 1, 1, 1, 2]


def test_seconds_since_1970_are_moments_in_a_field_of_dates_alone(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(columns, "MAX_DISTINCT", 3)
    builder = ColumnsBuilder(dates=["seen"])
    for second in range(9):
        moment = 1_767_225_600 + 86_400 * (second // 4) + second  # from 1 January 2026
        builder.add({"created_at": str(moment), "seen": f"{moment}000", "caller": str(moment)})
    made = builder.columns()
    assert set(made) == {"created_at", "seen"}
    for column in made.values():
        assert column.values == ("2026-01-01", "2026-01-02", "2026-01-03")
        assert column.codes.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2]


@pytest.mark.parametrize(
    ("row", "beside"),
    [
        ({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
         {"label": "x"}),
        ({"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
         {"label": "x"}),
        ({"instruction": "q", "output": "a"}, {"label": "x"}),
        ({"text": "t"}, {"label": "x"}),
        ({"prompt": "q", "answer": "a"}, {"label": "x"}),
        ({"prompt": "q"}, {}),
    ],
)  # fmt: skip
def test_a_label_is_content_only_where_it_is_the_answer(
    tmp_path: Path, row: dict[str, object], beside: dict[str, str]
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row | {"label": "x"}) + "\n")
    (found,) = iterate_rows(path)
    assert found.beside == beside
