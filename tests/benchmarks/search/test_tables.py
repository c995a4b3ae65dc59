"""Tables are read as they were written, and item scores come back bit for bit."""

from pathlib import Path

import numpy as np
import pytest
import tables
from front import Point
from grid import Cell
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import Runs, described, read_table, unpack, write_table

from tests.benchmarks.search.made import CPU, GridTask, packed

CELL = Cell("xs", "lora", 1e-3, 0.1, 0.25)
OTHER = Cell("m", "full", 2e-4, 0.0, 0.0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=70))
def test_item_scores_survive_packing(right: list[bool]) -> None:
    assert unpack(packed(np.array(right)), len(right)).tolist() == right


def test_a_table_is_read_as_it_was_written(task: GridTask, tmp_path: Path) -> None:
    points = [Point(0.1, 0.0), Point(0.25, 0.125), Point(0.5, 0.25)]
    failed = task.run(OTHER, 1, points[:1])
    failed["rungs"].append({"failed": "nan", "detail": "loss at step 7"})
    runs: Runs = {(CELL, 0): task.run(CELL, 0, points), (OTHER, 1): failed}
    bases = task.bases()
    write_table("far", bases, runs, tmp_path)
    assert read_table("far", tmp_path) == (bases, runs)


def test_equal_recordings_give_equal_files_in_whatever_order(
    task: GridTask, tmp_path: Path
) -> None:
    points = [Point(0.1, 0.0), Point(0.25, 0.125), Point(0.5, 0.25)]
    runs = {(c, s): task.run(c, s, points) for c in (CELL, OTHER) for s in (0, 1)}
    backwards = dict(reversed(runs.items()))
    one = write_table("far", task.bases(), runs, tmp_path / "one")
    two = write_table("far", task.bases(), backwards, tmp_path / "two")
    assert one.read_bytes() == two.read_bytes()


def test_a_table_that_does_not_exist_is_empty(tmp_path: Path) -> None:
    assert read_table("far", tmp_path) == ({}, {})


def test_a_table_too_large_to_ship_is_not_written(
    task: GridTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "MAX_BYTES", 100)
    with pytest.raises(AssertionError, match="more than 100"):
        write_table("far", task.bases(), {}, tmp_path)
    assert not (tmp_path / "far.parquet").exists()


def test_a_table_says_what_it_holds(task: GridTask, tmp_path: Path) -> None:
    finals = {CELL: [Point(0.5, 0.25), Point(0.5, 0.25)], OTHER: [Point(0.5, 0.25)]}
    task.write(tmp_path, finals)
    said = f'far: 3 runs (2 of seed 0, 1 of seed 1) on ["{CPU}"]'
    assert described("far", tmp_path) == said
