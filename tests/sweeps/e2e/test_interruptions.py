"""Ctrl-C and SIGKILL in the middle of a search; the same command then ends it as if undisturbed.

One sweep goes through both, since every start of a driver costs seconds. The undisturbed sweep is
the session's: its trials of `xs` have the same seeds and settings.
"""

import itertools
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from keepgain.core.status import Stage, TrialStatus
from keepgain.core.store.names import TAG_RUN_KEY
from keepgain.sweeps.search.ledger import Asked, Finished, Rung
from keepgain.sweeps.tune_runner import _Halt, _Interruption
from tests.sweeps.e2e.world import (
    Swept,
    background,
    item_scores,
    json_of,
    mlflow_runs,
    run,
    searched,
    survivors,
    without_agents,
    write_spec,
)


@dataclass
class Disturbed:
    """A sweep that was interrupted, then killed, then ended, and what was seen on the way."""

    swept: Swept
    interrupted_code: int = 0
    interrupted_output: str = ""
    after_interrupt: dict[str, Any] = field(default_factory=dict)
    orphans: dict[str, list[str]] = field(default_factory=dict)
    finished_before_kill: dict[str, Any] = field(default_factory=dict)
    """Run key → (MLflow run id, its start and end) of what had ended before the SIGKILL."""
    events_before_kill: int = 0


def finished_searches(swept: Swept) -> list[Any]:
    return [r for r in searched(swept.state()) if r.status is TrialStatus.COMPLETED]


def optuna_states(swept: Swept) -> list[TrialState]:
    storage = JournalStorage(JournalFileBackend(str(swept.folder / "optuna.journal")))
    names = [n for n in optuna.get_all_study_names(storage) if "@rung" not in n]
    studies = [optuna.load_study(study_name=name, storage=storage) for name in names]
    return [t.state for s in studies for t in s.get_trials()]


@pytest.fixture(scope="module")
def disturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disturbed]:
    folder = tmp_path_factory.mktemp("disturbed")
    spec = write_spec(folder / "user")
    swept = Swept(spec.parent, spec, folder / "store")
    seen = Disturbed(swept)
    command = ("sweep", "run", spec, "--store", swept.store)

    log = folder / "interrupted.log"
    with background(*command, cwd=swept.cwd, log=log, new_group=True) as driver:
        driver.until(
            "a search trial is at its first rung",
            lambda: any(isinstance(e, Rung) and not e.report.final for e in swept.events()),
        )
        family = driver.family()
        # What a terminal does on Ctrl-C: every process of the group gets it.
        os.killpg(driver.process.pid, signal.SIGINT)
        seen.interrupted_code = driver.wait(90)
        seen.interrupted_output = driver.output
        seen.orphans["after SIGINT"] = survivors(family, 30)
    seen.after_interrupt = {
        "mlflow": sorted(r.info.status for r in mlflow_runs(swept.store)),
        "optuna": optuna_states(swept),
        "ledger": [r.status for r in swept.state().runs.values()],
    }

    ended = len(finished_searches(swept))
    with background(*command, cwd=swept.cwd, log=folder / "killed.log") as driver:
        driver.until(
            "another search trial has ended", lambda: len(finished_searches(swept)) > ended
        )
        driver.until(
            "its record is shipped",
            lambda: any(
                r.data.tags.get(TAG_RUN_KEY) == finished_searches(swept)[0].run_key
                and r.info.status == "FINISHED"
                for r in mlflow_runs(swept.store)
            ),
        )
        family = driver.family()
        workers = without_agents(family)
        driver.process.kill()
        driver.wait(30)
        seen.orphans["after SIGKILL"] = survivors(workers, 30)
    seen.events_before_kill = len(swept.events())
    done = {k for k, r in swept.state().runs.items() if r.status is TrialStatus.COMPLETED}
    seen.finished_before_kill = {
        r.data.tags[TAG_RUN_KEY]: r.info
        for r in mlflow_runs(swept.store)
        if r.data.tags.get(TAG_RUN_KEY) in done and r.info.status == "FINISHED"
    }
    swept.run().expect()
    seen.orphans["after SIGKILL and a minute"] = survivors(family, 90)
    yield seen


@pytest.mark.fault("P6")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_is_kept_until_tune_is_between_two_steps(number: signal.Signals) -> None:
    """A handler that raised would leave half a line in the ledger."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    before = [signal.getsignal(n) for n in numbers]
    interruption = _Interruption()
    with interruption:
        interruption.look()
        os.kill(os.getpid(), number)
        assert interruption.seen
        with pytest.raises(_Halt):
            interruption.look()
        os.kill(os.getpid(), signal.SIGTERM)  # whoever asks for an end may ask twice
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert [signal.getsignal(n) for n in numbers] == before


def test_ctrl_c_ends_with_130_and_says_how_to_go_on(disturbed: Disturbed) -> None:
    assert disturbed.interrupted_code == 130, disturbed.interrupted_output[-3000:]
    assert "the same command continues" in disturbed.interrupted_output
    assert "Traceback" not in disturbed.interrupted_output


@pytest.mark.fault("P6")
def test_ctrl_c_leaves_nothing_running(disturbed: Disturbed) -> None:
    assert "RUNNING" not in disturbed.after_interrupt["mlflow"]
    assert TrialState.RUNNING not in disturbed.after_interrupt["optuna"]
    statuses = disturbed.after_interrupt["ledger"]
    assert TrialStatus.INTERRUPTED in statuses
    assert set(statuses) <= {TrialStatus.COMPLETED, TrialStatus.INTERRUPTED}


@pytest.mark.parametrize("when", ["after SIGINT", "after SIGKILL", "after SIGKILL and a minute"])
@pytest.mark.fault("P5")
def test_no_process_is_left(disturbed: Disturbed, when: str) -> None:
    assert disturbed.orphans[when] == []


def test_a_trial_went_on_from_its_rung(disturbed: Disturbed) -> None:
    events = disturbed.swept.events()
    stopped = {e.run_key for e in events if isinstance(e, Finished)
               and e.status is TrialStatus.INTERRUPTED}  # fmt: skip
    rungs = {k: [e.report.rung for e in events if isinstance(e, Rung) and e.report.run_key == k]
             for k in stopped}  # fmt: skip
    assert [0, 1] in rungs.values(), "no interrupted trial kept its first rung"
    log = "".join(p.read_text() for p in disturbed.swept.folder.glob("runs/*/worker.log"))
    assert "goes on from" in log and "checkpoint-r0" in log


@pytest.mark.fault("P5")
def test_the_scores_are_those_of_the_undisturbed_sweep(
    disturbed: Disturbed, finished: Swept
) -> None:
    ours, undisturbed = (item_scores(s.folder) for s in (disturbed.swept, finished))
    trials = [r.run_key for r in searched(disturbed.swept.state())]
    assert len(trials) == 3
    for key in trials:
        assert ours[key] == undisturbed[key]
    shared = set(ours) & set(undisturbed)
    assert len(shared) >= 4  # the base too, and what was confirmed in both
    assert all(ours[key] == undisturbed[key] for key in shared)


@pytest.mark.fault("P5")
def test_no_finished_trial_was_trained_again(disturbed: Disturbed) -> None:
    now = {r.data.tags.get(TAG_RUN_KEY): r.info for r in mlflow_runs(disturbed.swept.store)}
    assert len(disturbed.finished_before_kill) >= 2
    for key, before in disturbed.finished_before_kill.items():
        after = now[key]
        assert (after.run_id, after.start_time, after.end_time) == (
            *(before.run_id, before.start_time, before.end_time),
        )
    later = disturbed.swept.events()[disturbed.events_before_kill :]
    again = {e.report.run_key for e in later if isinstance(e, Rung)}
    assert not again & set(disturbed.finished_before_kill)


@pytest.mark.fault("P5")
def test_the_record_is_as_after_one_run(disturbed: Disturbed) -> None:
    swept = disturbed.swept
    assert {r.info.status for r in mlflow_runs(swept.store)} == {"FINISHED"}
    keys = [r.data.tags[TAG_RUN_KEY] for r in mlflow_runs(swept.store)]
    assert len(keys) == len(set(keys))
    states = optuna_states(swept)
    assert states == [TrialState.COMPLETE] * 3, "in the study of the full budget"
    draws = [e for e in swept.events() if isinstance(e, Asked) and e.stage is Stage.SEARCH]
    assert len({e.run_key for e in draws}) == 3
    for a, b in itertools.pairwise(sorted({e.number for e in draws})):
        assert b == a + 1
    answer = json_of(
        run("analyze", swept.id, "--format", "json", "--store", swept.store, cwd=swept.cwd)
    )
    assert answer["sweep"]["stage"] == "decided" and answer["sweep"]["test_opened"] == 1


def test_the_spec_of_a_running_sweep_lies_beside_its_ledger(disturbed: Disturbed) -> None:
    kept: Path = disturbed.swept.folder / "sweep.yaml"
    assert kept.read_text() == disturbed.swept.spec.read_text()
