"""Early stopping through real Ray Tune: no hang, breadth first, and the same end as without it.

The workers are stand-ins that answer at once, so that what is left is the cost of scheduling.
"""

import json
import pickle
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from keepgain.core.status import Stage, TrialStatus
from keepgain.sweeps.search.ledger import Event, Rung, read_events
from keepgain.sweeps.search.replay import SweepState, replay
from keepgain.sweeps.tune_scheduler import RungTrialScheduler
from tests.sweeps.e2e.world import PATIENCE, environment
from tests.sweeps.test_program import Sweep
from tests.sweeps.test_rung_scheduler import decisions, write
from tests.sweeps.tune_sweep import ROOT

pytestmark = pytest.mark.timeout(600 * PATIENCE)


def run_tune(spec: Path, folder: Path, slots: int) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.sweeps.tune_sweep", str(spec), str(folder), str(slots)],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300 * PATIENCE,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """66 trials over two base models."""
    path = write(tmp_path_factory.mktemp("world"))
    text = path.read_text().replace("trials_per_model: 12", "trials_per_model: 33")
    path.write_text(text.replace("generation_size: 6", "generation_size: 9"))
    return path


@pytest.fixture(scope="module")
def tuned(many: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("tuned")
    return folder, run_tune(many, folder, 2)


def state(folder: Path) -> tuple[list[Event], SweepState]:
    events = read_events(folder / "ledger.jsonl")
    return events, replay(events)


def test_sixty_trials_pause_and_end_on_two_slots(tuned: tuple[Path, dict[str, Any]]) -> None:
    folder, result = tuned
    _, found = state(folder)
    searched = [r for r in found.runs.values() if r.asked.stage is Stage.SEARCH]
    assert result["stage"] == "decided" and len(searched) == 66
    statuses = Counter(r.status for r in searched)
    assert set(statuses) == {TrialStatus.COMPLETED, TrialStatus.PRUNED}
    assert statuses[TrialStatus.PRUNED] > 33
    print(f"{result['seconds'] / result['reports']:.3f} s a report, start and end included")


def test_tune_changes_no_decision(
    tuned: tuple[Path, dict[str, Any]], many: Path, tmp_path: Path
) -> None:
    events, found = state(tuned[0])
    plain = Sweep(many, tmp_path).run(slots=1)
    assert decisions(events) == decisions(plain.ledger.events())
    assert {k: r.status for k, r in found.runs.items()} == {
        k: r.status for k, r in plain.state.runs.items()
    }


def test_every_report_reaches_the_program_once_and_breadth_first(
    tuned: tuple[Path, dict[str, Any]],
) -> None:
    events, found = state(tuned[0])
    order = [(e.report.run_key, e.report.rung) for e in events if isinstance(e, Rung)]
    assert len(order) == len(set(order))
    for model in ("m0", "m1"):
        for generation in range(4):
            own = {k for k, r in found.runs.items()
                   if (r.asked.model, r.asked.generation) == (model, generation)}  # fmt: skip
            rungs = [rung for key, rung in order if key in own]
            for rung in (1, 2):
                if rung in rungs:
                    last = max(i for i, r in enumerate(rungs) if r == rung - 1)
                    assert rung not in rungs[:last]


def test_one_slot_is_enough(tmp_path: Path) -> None:
    spec = write(tmp_path / "world")
    result = run_tune(spec, tmp_path / "sweep", 1)
    assert result["stage"] == "decided"
    plain = Sweep(spec, tmp_path / "plain").run()
    assert decisions(state(tmp_path / "sweep")[0]) == decisions(plain.ledger.events())


def test_asynchronous_trials_end_too(tmp_path: Path) -> None:
    spec = write(tmp_path / "world", mode="async")
    result = run_tune(spec, tmp_path / "sweep", 2)
    assert result["stage"] == "decided"
    runs = state(tmp_path / "sweep")[1].runs.values()
    searched = Counter(r.status for r in runs if r.asked.stage is Stage.SEARCH)
    assert sum(searched.values()) == 24
    assert set(searched) == {TrialStatus.COMPLETED, TrialStatus.PRUNED}


def test_the_scheduler_pickles_as_an_empty_object() -> None:
    scheduler = RungTrialScheduler(object(), object(), 2)  # type: ignore[arg-type]
    assert vars(pickle.loads(pickle.dumps(scheduler))) == {}
