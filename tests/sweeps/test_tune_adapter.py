"""Commands and signals reach a sweep of which no trial runs or waits: Tune then only asks."""

from pathlib import Path

import pytest
from ray.tune.search import Searcher

from keepgain.sweeps.steering import Inbox, is_waiting, send
from keepgain.sweeps.tune_adapter import JobSearcher
from tests.sweeps.test_program import Sweep
from tests.sweeps.test_rung_scheduler import write


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("world"))


def paused(world: Path, folder: Path) -> tuple[Sweep, JobSearcher]:
    """A sweep that was paused before its first job was handed out."""
    sweep = Sweep(world, folder)
    sweep.program.inbox = Inbox(folder, print, clock=iter(range(1_000)).__next__)
    searcher = JobSearcher(sweep.program, "tests.sweeps.stand_in", {})
    command = send(folder, "pause")
    sweep.program.on_tick()
    assert not is_waiting(folder, command) and sweep.program.reins.paused
    return sweep, searcher


def test_a_paused_sweep_without_any_trial_takes_up_commands_while_tune_asks(
    world: Path, tmp_path: Path
) -> None:
    _, searcher = paused(world, tmp_path)
    assert searcher.suggest("t1") is None
    command = send(tmp_path, "resume")
    assert searcher.suggest("t2") is None, "it was still paused when it was asked"
    assert not is_waiting(tmp_path, command)
    config = searcher.suggest("t3")
    assert isinstance(config, dict) and config["run_key"]


def test_an_interrupted_sweep_hands_out_nothing_and_lets_tune_end(
    world: Path, tmp_path: Path
) -> None:
    _, searcher = paused(world, tmp_path)
    seen = False
    searcher.is_interrupted = lambda: seen
    assert searcher.suggest("t1") is None
    seen = True
    assert searcher.suggest("t2") == Searcher.FINISHED
