"""Synthetic rows are known by role and fields: how many, by what, how deep, and where."""

from typing import Any

import pytest

from keepgain.core.rows import Row
from keepgain.sweeps.gates.columns import ColumnsBuilder
from keepgain.sweeps.gates.findings import Finding
from keepgain.sweeps.gates.material import RowSet
from keepgain.sweeps.gates.synthetic import (
    SyntheticFields,
    check_synthetic,
    synthetic_rows,
    synthetic_sets,
)
from tests.sweeps.gates.whole import whole


def row_set(fields: list[dict[str, str]], label: str = "data/train", **kind: Any) -> RowSet:
    builder = ColumnsBuilder()
    for one in fields:
        builder.add(one)
    rows = [Row(str(i), "pair", prompt=f"q{i}", answer="a") for i in range(len(fields))]
    name, part = label.split("/")
    more = {"source": name} | kind
    return RowSet(label, part, rows, [f"f:{i + 1}" for i in range(len(rows))],  # type: ignore[arg-type]
                  columns=builder.columns(), **more)  # fmt: skip


def codes(findings: list[Finding]) -> list[str]:
    return [f.code for f in findings]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([{"synthetic": "True"}, {"synthetic": "false"}, {}], [True, False, False]),
        ([{"is_synthetic": "1"}, {"is_synthetic": "0"}], [True, False]),
        ([{"source": "synthetic"}, {"source": "forum"}, {"source": "LLM-v2"}], [True, False, True]),
        ([{"generated_by": "m-7b"}, {"generated_by": "human"}, {}], [True, False, False]),
        ([{"model": "T1000"}, {"model": "X"}], [False, False]),  # of a car, perhaps
        ([{"source": "Model railways"}, {"source": "model"}], [False, True]),
    ],
)
def test_rows_are_synthetic_where_a_field_says_so(
    fields: list[dict[str, str]], expected: list[bool]
) -> None:
    assert synthetic_rows(row_set(fields, role="task")).tolist() == expected


def test_all_rows_of_a_synthetic_source_are() -> None:
    assert synthetic_rows(row_set([{}, {}], role="synthetic")).all()


def test_the_note_says_how_many_and_what_made_them() -> None:
    fields = [{"generator": "m-7b", "parent": "3"}] * 3 + [{"generator": "m-1b"}] + [{}] * 4
    (found,) = check_synthetic([row_set(fields, role="task")])
    assert (found.code, found.severity, found.count, found.of) == ("synthetic_rows", "note", 4, 8)
    assert "by m-7b 3, m-1b 1; 0 do not say; 3 name a parent" in found.message
    (found,) = check_synthetic([row_set([{}] * 4, role="synthetic")])
    assert "none says what made it" in found.message
    assert found.figures == {"share": 1.0, "without_generator": 1.0, "with_parent": 0.0}
    (found,) = check_synthetic([row_set([{}] * 4, role="task")], generators={"data": "m-7b v2"})
    assert "by m-7b v2 4; 0 do not say" in found.message


def test_synthetic_items_are_an_error() -> None:
    fields = [{"synthetic": "yes"}, {"synthetic": "no"}]
    (found,) = check_synthetic([row_set(fields, "gain/test", measures="gain", source=None)])
    assert (found.code, found.severity, found.count) == ("synthetic_evaluation", "error", 1)
    assert whole(found) == [1] and found.where == "gain/test"


def test_a_suite_of_a_synthetic_source_is_synthetic_itself() -> None:
    train = row_set([{}] * 3, "made/train", role="synthetic")
    suite = row_set([{}] * 2, "gain/validation", measures="gain", source="made")
    other = row_set([{}] * 2, "else/test", measures="gain", source=None)
    assert codes(check_synthetic([train, suite, other])) == [
        "synthetic_rows",
        "synthetic_evaluation",
    ]
    assert set(synthetic_sets([train, suite, other])) == {"made/train", "gain/validation"}


def test_rows_of_a_later_generation_are_warned_of() -> None:
    depths = [{"generation": d} for d in ("1", "2", "3", "first")]
    share, deep = check_synthetic([row_set(depths, role="synthetic")])
    assert (share.code, deep.code) == ("synthetic_rows", "deep_generations")
    assert (deep.count, deep.of, deep.figures["depth"]) == (2, 4, 3.0)
    assert whole(deep) == [2, 3]
    # Depth of a lake: the rows are not synthetic.
    assert check_synthetic([row_set([{"depth": "40"}], role="task")]) == []


def test_review_is_asked_for_where_the_spec_does() -> None:
    fields = [{"reviewed": "yes"}, {"reviewed": "no"}, {}]
    rows = row_set(fields, role="synthetic")
    assert codes(check_synthetic([rows])) == ["synthetic_rows"]
    _, found = check_synthetic([rows], reviewed={"data": True})
    assert (found.code, found.count, found.of) == ("unreviewed_synthetic", 2, 3)
    bare = row_set([{}] * 3, role="synthetic")
    assert codes(check_synthetic([bare], reviewed={"data": True})) == ["synthetic_rows"]
    _, found = check_synthetic([bare], reviewed={"data": False})
    assert whole(found) == [1, 2, 3]


def test_the_spec_can_name_the_fields() -> None:
    named = SyntheticFields().named("made_up", None, None)
    rows = row_set([{"made_up": "true"}, {"synthetic": "true"}], role="task")
    assert synthetic_rows(rows, fields=named).tolist() == [True, False]
