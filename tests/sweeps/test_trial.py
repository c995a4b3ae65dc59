"""The trial that Ray Tune runs, with real workers and without Ray."""

from pathlib import Path

import pytest

from keepgain.core.config import Runtime
from keepgain.core.errors import TrialFailure
from keepgain.core.record import RungReport
from keepgain.core.rows import Row
from keepgain.core.work import TrainRequest
from keepgain.sweeps.trial import REPORT_KEY, REQUEST_KEY, SweepTrial
from tests.trainers import tiny
from tests.trainers.limited_worker import LIMIT

ROWS = 96


def trial_with(tmp_path: Path, micro: int, megabytes: int) -> SweepTrial:
    """Two rungs of one step each, on long rows."""
    text = "every row of this is as long as the others. " * 10
    rows = [Row(f"r{i}", "text", text=text + f"{i:03d}") for i in range(ROWS)]
    model = tiny.model_folder(tmp_path / "wide", width=64)
    suite = tiny.suite(tmp_path, "sums", tiny.sums(4), "bits_per_byte")
    config = tiny.trial(
        tmp_path, model, batch_size=ROWS, max_length=500, budget=2 * ROWS, rungs=(ROWS, 2 * ROWS),
        budget_unit="examples", mixture={"task": 1.0}, suites=(suite,),
        sources=(tiny.source(tmp_path, "task", rows),),
        runtime=Runtime(micro_batch_size=micro, scoring_batch_size=1),
    )  # fmt: skip
    request = TrainRequest(config=config, seed=0, rung=0, sweep_folder=str(tmp_path))
    env = {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1", LIMIT: str(megabytes << 20)}
    made = object.__new__(SweepTrial)
    entry = "tests.trainers.limited_worker"
    made.setup({REQUEST_KEY: request.model_dump_json(), "entry_point": entry, "env": env})
    return made


def step(trial: SweepTrial) -> RungReport:
    return RungReport.model_validate_json(trial.step()[REPORT_KEY])


@pytest.mark.fault("R3")
def test_memory_that_ran_out_is_met_once_with_half_the_micro_batch(tmp_path):
    trial = trial_with(tmp_path, ROWS, 590)
    try:
        first, second = step(trial), step(trial)
    finally:
        trial.cleanup()
    for report in (first, second):
        assert report.numerics["micro_batch_size"] == str(ROWS // 2)
        (warning,) = report.warnings
        assert f"trained with micro-batches of {ROWS // 2}: memory ran out at step 0" in warning
        assert f"a micro-batch of {ROWS} rows" in warning
    assert (first.examples, second.examples) == (ROWS, 2 * ROWS)


@pytest.mark.fault("R3")
def test_memory_that_runs_out_again_fails_the_trial_with_its_sizes(tmp_path):
    trial = trial_with(tmp_path, ROWS, 120)
    try:
        with pytest.raises(TrialFailure, match=f"a micro-batch of {ROWS // 2} rows") as caught:
            trial.step()
    finally:
        trial.cleanup()
    assert caught.value.cause == "out_of_memory"
