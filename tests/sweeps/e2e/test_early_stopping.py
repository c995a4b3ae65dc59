"""Early stopping with real training: on one slot, and on two with the driver killed in the middle.

Both must come to the same decisions, scores and Optuna states, and both breadth first.
"""

import itertools
import json
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from keepgain.core.status import Stage, TrialStatus
from keepgain.core.store.names import TAG_RUN_KEY
from keepgain.sweeps.recorder import TAG_EXECUTION
from keepgain.sweeps.search.ledger import Finished, Promoted
from tests.sweeps.e2e.world import (
    Swept,
    background,
    item_scores,
    json_of,
    mlflow_runs,
    run,
    searched,
    write_spec,
)

RUNGS = "[0.2, 0.5, 1]"


def spec_of(folder: Path, slots: int) -> Path:
    """Six trials in two generations, one of each an audit at most, half of them go on."""
    path = write_spec(folder, trials=6, rungs=RUNGS, learning_rate="{log: [1e-4, 1e-2]}")
    old = "generation_size: 2,"
    assert old in path.read_text()
    stopping = "generation_size: 3, stopping: {audit_trials: 1, keep: 0.4},"
    text = path.read_text().replace(old, stopping) + f"resources: {{slots: {slots}}}\n"
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def one_slot(tmp_path_factory: pytest.TempPathFactory) -> Swept:
    folder = tmp_path_factory.mktemp("one-slot")
    spec = spec_of(folder / "user", 1)
    swept = Swept(spec.parent, spec, folder / "store")
    swept.run(seconds=800).expect()
    return swept


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Swept:
    """On two slots; killed when the first trial has been promoted."""
    folder = tmp_path_factory.mktemp("killed")
    spec = spec_of(folder / "user", 2)
    swept = Swept(spec.parent, spec, folder / "store")
    command = ("sweep", "run", spec, "--store", swept.store)
    with background(*command, cwd=swept.cwd, log=folder / "killed.log") as driver:
        driver.until(
            "a trial is promoted", lambda: any(isinstance(e, Promoted) for e in swept.events())
        )
        driver.process.kill()
        driver.process.wait(30)
    assert any(r.waits for r in swept.state().runs.values()), "somebody waited at its rung"
    swept.run(seconds=800).expect()
    return swept


@pytest.fixture(params=["one_slot", "killed"])
def swept(request: pytest.FixtureRequest) -> Swept:
    found: Swept = request.getfixturevalue(request.param)
    return found


def optuna_states(swept: Swept) -> list[TrialState]:
    """Of the one base model's study of the full budget."""
    storage = JournalStorage(JournalFileBackend(str(swept.folder / "optuna.journal")))
    study = optuna.load_study(study_name=f"{swept.id}/xs", storage=storage)
    return [t.state for t in study.get_trials()]


def decided(swept: Swept) -> dict[str, Any]:
    promoted = [(e.run_key, e.rung) for e in swept.events() if isinstance(e, Promoted)]
    stopped = {e.run_key: e.reason for e in swept.events()
               if isinstance(e, Finished) and e.status is TrialStatus.PRUNED}  # fmt: skip
    return {"promoted": sorted(set(promoted)), "stopped": stopped}


def test_trials_were_stopped_and_told_so(swept: Swept) -> None:
    runs = sorted(searched(swept.state()), key=lambda r: r.asked.number or 0)
    states = {TrialStatus.COMPLETED: TrialState.COMPLETE, TrialStatus.PRUNED: TrialState.PRUNED}
    assert optuna_states(swept) == [states[r.status] for r in runs]
    assert {r.status for r in runs} == set(states)
    assert all("the best" in str(r.reason) for r in runs if r.status is TrialStatus.PRUNED)


def spans(swept: Swept) -> dict[tuple[str, int], tuple[float, float]]:
    """(run key, rung) of search trials → when its worker began and ended it."""
    asked = {r.run_key for r in searched(swept.state())}
    found = {}
    for one in mlflow_runs(swept.store):
        key = one.data.tags.get(TAG_RUN_KEY)
        for tag, value in one.data.tags.items() if key in asked else ():
            if tag.startswith(TAG_EXECUTION):
                at = json.loads(value)
                found[key, int(tag.removeprefix(TAG_EXECUTION))] = (at["began"], at["ended"])
    return found


def test_breadth_first_by_the_clock(swept: Swept) -> None:
    """Nobody begins a rung before all of its generation have ended the one below."""
    generations = {r.run_key: r.asked.generation for r in searched(swept.state())}
    times: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for (key, rung), at in spans(swept).items():
        times.setdefault((generations[key] or 0, rung), []).append(at)
    assert {g for g, _ in times} == {0, 1}
    for (generation, rung), ended in times.items():
        above = times.get((generation, rung + 1))
        if above is not None:
            assert max(end for _, end in ended) <= min(begin for begin, _ in above)


def test_one_slot_trains_one_trial_at_a_time_on_two_cpus(one_slot: Swept) -> None:
    ordered = sorted(spans(one_slot).values())
    assert all(a_end <= b_begin for (_, a_end), (b_begin, _) in itertools.pairwise(ordered))


def test_one_slot_or_two_and_a_killed_driver_decide_alike(one_slot: Swept, killed: Swept) -> None:
    assert decided(one_slot) == decided(killed)
    assert item_scores(one_slot.folder) == item_scores(killed.folder)
    assert optuna_states(one_slot) == optuna_states(killed)


def test_stopped_trials_leave_no_checkpoint_and_are_never_ranked(swept: Swept) -> None:
    pruned = {r.run_key for r in searched(swept.state()) if r.status is TrialStatus.PRUNED}
    for key in pruned:
        assert not list((swept.folder / "runs" / key).glob("checkpoint-*"))
    done = run("analyze", swept.id, "--format", "json", "--store", swept.store, cwd=swept.cwd)
    answer = json_of(done)
    assert answer["sweep"]["stage"] == "decided"
    runs = [r for r in mlflow_runs(swept.store) if r.data.tags.get(TAG_RUN_KEY) in pruned]
    assert len(runs) == len(pruned)
    for one in runs:
        assert one.info.status == "FINISHED" and one.data.tags["keepgain.status"] == "pruned"
        assert "the best" in one.data.tags["keepgain.reason"]
        assert not any(name.startswith("final/") for name in one.data.metrics)
    confirmed = {r.asked.trial_id for r in swept.state().runs.values()
                 if r.asked.stage is Stage.CONFIRM}  # fmt: skip
    assert not confirmed & {k.partition("-")[0] for k in pruned}
