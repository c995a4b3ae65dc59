"""The tables say what was reached and what was not, in figures that can be worked out by hand."""

from pathlib import Path

import pytest
from arms import Task
from domain import Domain, load_domain
from front import Point
from grid import Cell
from measure import Compared, curve
from plots import save_plots
from report import markdown
from settings import Constants
from simulate import Finish, Outcome

from tests.benchmarks.search.made import GridTask

GOOD = tuple(Cell(model, "full", 1e-3, 0.0, 0.0) for model in ("xs", "s", "m"))
BAD = Cell("xs", "full", 1e-2, 0.0, 0.0)
SLOTS = (1, 4, 64)
MILLION = 1_000_000


@pytest.fixture(scope="module")
def domain(task: GridTask, tmp_path_factory: pytest.TempPathFactory) -> Domain:
    """One configuration of each base model is all of its front; another one of xs is useless."""
    folder = tmp_path_factory.mktemp("tables")
    finals = {cell: [Point(0.5, 0.125)] for cell in GOOD} | {BAD: [Point(-0.5, 0.5)]}
    task.write(folder, finals)
    return load_domain("far", folder)


def sweep(domain: Domain, arm: str, slots: int, seed: int, tokens: int) -> Outcome:
    """Four trials, of which the last but one completes the front at so many tokens; 0: none does,
    for want of the last base model."""
    order = (*GOOD, BAD) if tokens else (*GOOD[:2], BAD)
    each = (tokens or 3 * MILLION) // 3
    finishes = tuple(
        Finish(n * each / 1e4 / slots, n * each, domain.trial_ids[cell], 0)
        for n, cell in enumerate(order, 1)
    )
    task = Task("far", arm, seed, slots)
    return Outcome(task, finishes, finishes[-1].tokens, finishes[-1].ended, 4, wall_seconds=1.0)


def compared(domain: Domain, **tokens: list[int]) -> Compared:
    """Arms by the tokens at which they reach the front, seed by seed."""
    outcomes = {
        (arm, slots, seed): sweep(domain, arm, slots, seed, cost)
        for arm, costs in tokens.items()
        for seed, cost in enumerate(costs)
        for slots in SLOTS
    }
    return Compared(
        domain=domain,
        arms={arm: arm.capitalize() for arm in tokens},
        slots=SLOTS,
        outcomes=outcomes,
        curves={key: curve(domain, outcome) for key, outcome in outcomes.items()},
        seeds=len(tokens["random"]),
    )


def text_of(found: Compared) -> str:
    return markdown(found, "far: 4 runs", Constants())


def test_a_target_is_met_when_the_whole_interval_is_below_it(domain: Domain) -> None:
    text = text_of(compared(domain, random=[12 * MILLION] * 3, ours=[3 * MILLION] * 3))
    assert (
        "Ours: 0.25 of random search's tokens [0.25, 0.25]; the target of 1/4 (the stretch) is met."
    ) in text
    assert (
        "- Ours is ahead of Random: fewer tokens in 3 of 3 paired sweeps, more in 0, neither "
        "reached the level in 0."
    ) in text
    assert "| Ours | 3.00 | 0.25 [0.25, 0.25] | 3/3 |" in text


def test_an_interval_beyond_the_target_is_said(domain: Domain) -> None:
    ours = [4 * MILLION, 4 * MILLION, 9 * MILLION]
    text = text_of(compared(domain, random=[12 * MILLION] * 3, ours=ours))
    assert (
        "Ours: 0.33 of random search's tokens [0.33, 0.75]; the target of 1/3 is met; the interval "
        "reaches beyond it."
    ) in text


def test_a_missed_target_is_said(domain: Domain) -> None:
    text = text_of(compared(domain, random=[12 * MILLION] * 3, ours=[6 * MILLION] * 3))
    assert (
        "Ours: 0.50 of random search's tokens [0.50, 0.50]; the target of 1/3 is missed."
    ) in text


def test_sweeps_that_never_reach_the_level_are_counted_and_never_left_out(domain: Domain) -> None:
    arms = {"random": [12 * MILLION] * 3, "ours": [3 * MILLION, 0, 0], "asha": [6 * MILLION, 0, 0]}
    text = text_of(compared(domain, **arms))
    assert "Ours: the median sweep does not reach the level; the target of 1/3 is missed." in text
    assert "| Ours | not reached | not reached | 1/3 | not reached" in text
    assert (
        "- Ours is behind Random: fewer tokens in 1 of 3 paired sweeps, more in 2, neither reached "
        "the level in 0."
    ) in text
    assert (
        "- Ours is ahead of Asha: fewer tokens in 1 of 3 paired sweeps, more in 0, neither reached "
        "the level in 2."
    ) in text


def test_the_first_comparison_is_a_share_of_random_searchs_whole_training(domain: Domain) -> None:
    """Random search trains 4 M tokens a trial, 16 M in all; xs is settled after one trial of ours
    (1 M), m after three."""
    text = text_of(compared(domain, random=[12 * MILLION] * 3, ours=[3 * MILLION] * 3))
    assert "| Ours | 0.06 (0.06) | 0.12 (0.12) | 0.19 (0.19) | 0.19 (0.19) |" in text


def test_figures_are_drawn_the_same_each_time(domain: Domain, tmp_path: Path) -> None:
    found = compared(domain, random=[12 * MILLION] * 3, ours=[3 * MILLION, 6 * MILLION, 0])
    paths = [save_plots(found, tmp_path / folder) for folder in ("one", "two")]
    assert [p.name for p in paths[0]] == ["hypervolume-far.png", "hypervolume-far.svg"]
    assert [p.read_bytes() for p in paths[0]] == [p.read_bytes() for p in paths[1]]
