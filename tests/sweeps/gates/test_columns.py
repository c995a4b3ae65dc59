"""Fields beside the content, by column."""

import json
from pathlib import Path

import numpy as np

from keepgain.core.formats import iterate_rows
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
