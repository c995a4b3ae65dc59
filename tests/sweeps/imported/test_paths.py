"""Columns of nested rows, by path."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepgain.sweeps.imported.paths import MISSING, columns, find, nearest

RUN = {
    "train_info": {"metrics": [{"test accuracy": 0.1}, {"test accuracy": 0.9}], "epochs": 2},
    "results": {"hellaswag": {"acc,none": 0.43, "acc_stderr,none": 0.005}},
    "gpt-3.5": {"score": 1.0},
    "a.b": 1,
    "a": {"b": 2, "c": None},
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("train_info.metrics.-1.test accuracy", 0.9),
        ("train_info.metrics.0.test accuracy", 0.1),
        ("results.hellaswag.acc,none", 0.43),
        ("gpt-3.5.score", 1.0),  # a key with a dot in it
        ("a.b", 1),  # the longest key first
        ("a.c", None),
        ("train_info.epochs", 2),
    ],
)
def test_a_path_leads_to_its_value(path: str, value: Any) -> None:
    assert find(RUN, path) == value


@pytest.mark.parametrize(
    "path",
    ["nothing", "train_info.metrics.2.test accuracy", "train_info.metrics.-3", "a.b.c", "",
     "train_info.metrics.first", "results.hellaswag.acc", "train_info.metrics.--1"],
)  # fmt: skip
def test_a_path_that_leads_nowhere_is_missing_not_none(path: str) -> None:
    assert find(RUN, path) is MISSING


@pytest.mark.parametrize(
    "cell", ["{'val/acc': 0.8, 'note': None}", '{"val/acc": 0.8, "note": null}']
)
def test_a_dictionary_in_a_cell_is_looked_into(cell: str) -> None:
    assert find({"summary": cell}, "summary.val/acc") == 0.8
    assert "summary.val/acc" in columns({"summary": cell})
    assert find({"summary": cell}, "summary") == cell


@pytest.mark.parametrize("cell", ["{broken", "[1, 2", "{1: " * 500, "plain", "__import__('os')"])
def test_other_text_in_a_cell_is_only_text(cell: str) -> None:
    assert find({"summary": cell}, "summary.acc") is MISSING


keys = st.text(min_size=1, max_size=6)
trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)


def walked(value: Any, path: str = "") -> list[tuple[str, Any]]:
    """Every path of a tree, by a plain walk."""
    join = f"{path}." if path else ""
    if isinstance(value, dict):
        return [f for k, v in value.items() for f in [(join + k, v), *walked(v, join + k)]]
    if isinstance(value, list):
        n = len(value)
        return [
            f
            for i, v in enumerate(value)
            for at in (str(i), str(i - n))
            for f in [(join + at, v), *walked(v, join + at)]
        ]
    return []


@given(st.dictionaries(keys.filter(lambda k: "." not in k), trees, max_size=3))
def test_every_path_of_a_tree_finds_a_value_that_the_tree_has(tree: dict[str, Any]) -> None:
    by_path: dict[str, list[Any]] = {}
    for path, value in walked(tree):
        by_path.setdefault(path, []).append(value)
    for path, values in by_path.items():
        assert find(tree, path) in values  # dots within inner keys may make a path ambiguous


@given(st.dictionaries(keys, trees, max_size=3), st.text(max_size=12))
def test_no_path_is_an_error(tree: dict[str, Any], path: str) -> None:
    find(tree, path)


@given(st.dictionaries(keys, trees, max_size=3))
def test_every_column_that_is_named_is_there(tree: dict[str, Any]) -> None:
    for path in columns(tree):
        assert find(tree, path) is not MISSING


def test_the_nearest_columns_are_named_also_by_their_last_part() -> None:
    known = columns(RUN)
    assert "'results.hellaswag.acc,none'" in nearest("results.hellaswag.acc", known)
    assert "'train_info.metrics.-1.test accuracy'" in nearest("accuracy", known)
    assert nearest("zzz", ["x", "y"]) == "Columns: 'x', 'y'."
