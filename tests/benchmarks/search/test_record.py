"""A recording can be stopped at any time, on any machine."""

import json
from collections import Counter
from pathlib import Path

import pytest
import record
from front import Point
from grid import DOMAINS, SEEDS, Cell

from tests.benchmarks.search.made import GridTask

POINTS = [Point(0.1, 0.0), Point(0.2, 0.1), Point(0.5, 0.25)]
CELLS = [Cell("xs", "lora", rate, 0.1, 0.25) for rate in (2e-4, 5e-4, 1e-3)]


def recorded(task: GridTask, folder: Path, *cells: Cell, seed: int = 0) -> None:
    for cell in cells:
        record.append(folder / "far.jsonl", task.run(cell, seed, POINTS))


def test_what_was_recorded_is_known_by_configuration_and_seed(
    task: GridTask, tmp_path: Path
) -> None:
    recorded(task, tmp_path, *CELLS[:2])
    recorded(task, tmp_path, CELLS[0], seed=1)
    found = record.done(tmp_path, "far", tmp_path / "no tables")
    assert set(found) == {(CELLS[0], 0), (CELLS[1], 0), (CELLS[0], 1)}
    assert found[CELLS[0], 1] == task.run(CELLS[0], 1, POINTS)
    assert record.done(tmp_path, "near", tmp_path / "no tables") == {}


def test_a_line_torn_by_a_crash_is_left_out_with_a_word(
    task: GridTask, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded(task, tmp_path, *CELLS)
    path = tmp_path / "far.jsonl"
    path.write_bytes(path.read_bytes()[:-100])
    assert set(record.done(tmp_path, "far", tmp_path / "no tables")) == {(c, 0) for c in CELLS[:2]}
    assert "torn line" in capsys.readouterr().err


def test_a_recording_goes_on_from_the_table_and_from_the_work_folder(
    task: GridTask, tmp_path: Path
) -> None:
    task.write(tmp_path / "tables", {CELLS[0]: [POINTS[-1]]})
    recorded(task, tmp_path, CELLS[1])
    left = record.missing(tmp_path, task.models, tmp_path / "tables")
    assert len(left) == len(record.tasks(task.models)) - 2
    gone = set(record.tasks(task.models)) - set(left)
    assert gone == {("far", 0, CELLS[0]), ("far", 0, CELLS[1])}


def test_every_configuration_is_recorded_once_a_seed_and_a_domain(task: GridTask) -> None:
    found = record.tasks(task.models)
    assert len(found) == len(set(found)) == 2 * len(SEEDS) * 540
    assert found == record.tasks(task.models), "a second call must deal the same order"


@pytest.mark.parametrize("domain", DOMAINS)
def test_within_a_domain_one_seed_is_complete_before_the_next_begins(
    task: GridTask, domain: str
) -> None:
    seeds = [seed for d, seed, _ in record.tasks(task.models) if d == domain]
    assert seeds == sorted(seeds)


def test_a_recording_stopped_early_is_a_fair_sample_of_the_grid(task: GridTask) -> None:
    early = [cell for *_, cell in record.tasks(task.models)[:180]]
    # Hypergeometric: 60 of each base model are expected among 180 of 540, with a deviation of 5.2.
    assert all(40 <= n <= 80 for n in Counter(cell.model for cell in early).values())
    assert len({(c.method, c.learning_rate) for c in early}) == 12


def test_a_recorded_line_keeps_the_item_scores_as_they_were_written(
    task: GridTask, tmp_path: Path
) -> None:
    recorded(task, tmp_path, CELLS[0])
    line = json.loads((tmp_path / "far.jsonl").read_text())
    table = tmp_path / "tables"
    runs = record.done(tmp_path, "far", tmp_path / "no tables")
    record.write_table("far", task.bases(), runs, table)
    _, read = record.read_table("far", table)
    assert read[CELLS[0], 0]["rungs"] == line["rungs"]
