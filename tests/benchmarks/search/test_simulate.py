"""What is kept of a simulated sweep, and that an interrupted comparison goes on."""

from pathlib import Path
from typing import Any

import pytest
import simulate
from arms import Task
from domain import Domain, load_domain
from front import Point
from grid import Cell, params
from settings import Constants
from simulate import Finish, outcome_of, run_tasks

from keepgain.sweeps.search.draws import Draw
from keepgain.sweeps.simulated.runner import Step
from keepgain.sweeps.stages.base import base_jobs
from keepgain.sweeps.stages.trials import search_job
from tests.benchmarks.search.made import GridTask

RATES = (2e-4, 5e-4, 1e-3, 2e-3)
CELLS = [Cell(m, "full", rate, 0.0, 0.0) for m in ("xs", "s", "m") for rate in RATES]


@pytest.fixture(scope="module")
def tables(task: GridTask, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four configurations of each base model, of which each gains more than the one before."""
    folder = tmp_path_factory.mktemp("tables")
    gains = {cell: 0.1 * (1 + RATES.index(cell.learning_rate)) for cell in CELLS}
    task.write(folder, {cell: [Point(gain, 0.1)] for cell, gain in gains.items()})
    return folder


@pytest.fixture(scope="module")
def domain(tables: Path) -> Domain:
    return load_domain("far", tables)


def step(domain: Domain, number: int, rung: int, began: float, ended: float, tokens: int) -> Step:
    cell = CELLS[number]
    draw = Draw(cell.model, number, 0, 0, "sampler", {}, params(domain.prepared, cell))
    job = search_job(domain.prepared, Path(), draw)
    report = domain.curves.of(job.asked.trial_id, 0).rungs[rung].report
    return Step(job, report, began, ended, tokens)


def test_a_rung_counts_in_full_from_its_beginning(domain: Domain) -> None:
    """Two slots: trial 0 runs through; trial 1 stops at its first rung, trial 2 follows there."""
    steps = [
        step(domain, 0, 0, 0.0, 10.0, 1000),
        step(domain, 1, 0, 0.0, 12.0, 1000),
        step(domain, 0, 1, 10.0, 30.0, 2000),
        step(domain, 2, 0, 12.0, 22.0, 1000),
        step(domain, 2, 1, 22.0, 60.0, 2000),
        step(domain, 0, 2, 30.0, 59.0, 6000),
        step(domain, 2, 2, 60.0, 90.0, 6000),
    ]
    found = outcome_of(domain, Task("far", "random", 0, 2), steps, wall_seconds=0.5)
    asked = [s.job.asked for s in (steps[5], steps[6])]
    assert found.finishes == (
        Finish(59.0, 13_000, asked[0].trial_id, asked[0].seed),
        Finish(90.0, 19_000, asked[1].trial_id, asked[1].seed),
    )
    assert (found.tokens, found.ended, found.trials) == (19_000, 90.0, 3)


def test_a_rung_that_begins_when_a_trial_ends_is_not_charged_to_it(domain: Domain) -> None:
    steps = [
        step(domain, 0, 2, 0.0, 10.0, 6000),
        step(domain, 1, 0, 10.0, 20.0, 1000),
        step(domain, 1, 2, 20.0, 30.0, 6000),
    ]
    found = outcome_of(domain, Task("far", "random", 0, 1), steps, wall_seconds=0.0)
    assert [f.tokens for f in found.finishes] == [6000, 13_000]


def test_scoring_the_bases_is_no_training_but_takes_time(domain: Domain) -> None:
    base = base_jobs(domain.prepared, Path())[0]
    report = domain.curves.of(base.asked.trial_id, 0).rungs[0].report
    found = outcome_of(
        domain, Task("far", "random", 0, 1), [Step(base, report, 0.0, 7.0, 0)], wall_seconds=0.0
    )
    assert (found.finishes, found.tokens, found.ended, found.trials) == ((), 0, 7.0, 0)


# -- going on --------------------------------------------------------------------------------------

TASKS = [Task("far", "random", seed, 2) for seed in range(3)]


def forbidden(arguments: Any) -> Any:
    raise AssertionError(f"simulated once more: {arguments[0]}")


def test_a_second_call_simulates_nothing_and_returns_the_same(
    tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run_tasks(TASKS, Constants(), tables, tmp_path, jobs=1)
    assert [o.task for o in first] == TASKS
    assert [len(o.finishes) for o in first] == [12, 12, 12]
    written = (tmp_path / "outcomes.jsonl").read_bytes()
    monkeypatch.setattr(simulate, "_simulated", forbidden)
    assert run_tasks(TASKS, Constants(), tables, tmp_path, jobs=1) == first
    assert (tmp_path / "outcomes.jsonl").read_bytes() == written


def test_only_what_an_interruption_tore_or_lost_is_simulated_again(
    tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run_tasks(TASKS, Constants(), tables, tmp_path, jobs=1)
    path = tmp_path / "outcomes.jsonl"
    path.write_bytes(path.read_bytes()[:-40])  # the end of the third line
    done: list[Task] = []
    simulated = simulate._simulated
    monkeypatch.setattr(
        simulate, "_simulated", lambda told: done.append(told[0]) or simulated(told)
    )
    again = run_tasks(TASKS, Constants(), tables, tmp_path, jobs=1)
    assert done == TASKS[2:]
    assert [o.finishes for o in again] == [o.finishes for o in first]


def test_what_is_simulated_after_an_interruption_is_kept(
    tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_tasks(TASKS, Constants(), tables, tmp_path, jobs=1)
    path = tmp_path / "outcomes.jsonl"
    path.write_bytes(path.read_bytes()[:-40])
    again = run_tasks(TASKS, Constants(), tables, tmp_path, jobs=1)
    monkeypatch.setattr(simulate, "_simulated", forbidden)
    assert run_tasks(TASKS, Constants(), tables, tmp_path, jobs=1) == again


def test_outcomes_of_another_table_are_not_taken_for_this_ones(
    task: GridTask, tables: Path, tmp_path: Path
) -> None:
    run_tasks(TASKS[:1], Constants(), tables, tmp_path / "work", jobs=1)
    task.write(tmp_path / "tables", {cell: [Point(0.9, 0.1)] for cell in CELLS})
    run_tasks(TASKS[:1], Constants(), tmp_path / "tables", tmp_path / "work", jobs=1)
    assert len((tmp_path / "work" / "outcomes.jsonl").read_text().splitlines()) == 2
