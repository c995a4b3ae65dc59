"""Trials that diverge: recorded with their cause, survived by the sweep, counted against its limit.

Both sweeps share a store, so that the second one reuses the base's scores.
"""

import math
from pathlib import Path

import pytest

from keepgain.core.status import FailureCause, Stage, TrialStatus
from keepgain.core.store.names import TAG_RUN_KEY
from tests.sweeps.e2e.world import Done, Swept, json_of, mlflow_runs, run, searched, write_spec

HOPELESS = "1e30"
"""A learning rate at which the loss is not finite after a step or two."""


@pytest.fixture(scope="module")
def diverged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Swept, Done]:
    """A sweep in which two of three trials at most can end well."""
    folder = tmp_path_factory.mktemp("diverged")
    spec = write_spec(
        folder, learning_rate=f"[1e-3, {HOPELESS}]", trials=4, failure_rate=0.9, rungs="[1]"
    )
    swept = Swept(folder, spec, folder / "store")
    return swept, swept.run().expect()


@pytest.mark.fault("N1")
def test_a_diverging_trial_fails_with_its_cause_and_the_sweep_goes_on(
    diverged: tuple[Swept, Done],
) -> None:
    swept, done = diverged
    by_rate = {float(r.asked.params["learning_rate"]): set[object]() for r in
               searched(swept.state())}  # fmt: skip
    for one in searched(swept.state()):
        by_rate[float(one.asked.params["learning_rate"])].add((one.status, one.cause))
    assert by_rate == {
        1e-3: {(TrialStatus.COMPLETED, None)},
        float(HOPELESS): {(TrialStatus.FAILED, FailureCause.NAN)},
    }
    assert "FAILED: nan" in done.out
    assert Stage.TEST in swept.state().stages


@pytest.mark.fault("N1")
def test_a_failed_trial_is_failed_in_mlflow_and_excluded_with_its_reason(
    diverged: tuple[Swept, Done],
) -> None:
    swept, _ = diverged
    failed = {r.run_key: r for r in searched(swept.state()) if r.status is TrialStatus.FAILED}
    recorded = {r.data.tags[TAG_RUN_KEY]: r for r in mlflow_runs(swept.store)}
    for key, one in failed.items():
        child = recorded[key]
        assert child.info.status == "FAILED"
        assert child.data.tags["keepgain.reason"] == one.reason
        assert child.data.tags["keepgain.optuna_state"] == "FAIL"
        assert all(map(math.isfinite, child.data.metrics.values()))
    answer = json_of(run("analyze", "--format", "json", "--store", swept.store, cwd=swept.cwd))
    trials = {one.asked.trial_id for one in failed.values()}
    assert {e["trial"] for e in answer["excluded"]} >= trials
    status = json_of(swept.sweep("status", swept.id, "--json"))
    assert {f["run_key"] for f in status["failures"]} == set(failed)
    assert {f["cause"] for f in status["failures"]} == {"nan"}


@pytest.mark.fault("N6")
def test_too_many_failures_stop_the_sweep_with_1_and_the_reason(
    diverged: tuple[Swept, Done],
) -> None:
    shared = diverged[0]
    # Four trials are needed before a rate is judged; the space offers as many by its mixture.
    spec = write_spec(
        shared.cwd / "hopeless",
        name="hopeless",
        learning_rate=f"[{HOPELESS}]",
        trials=6,
        rungs="[1]",
    )
    done = shared.sweep("run", spec).expect(1)
    assert "the sweep stopped: 4 of 4 trials failed" in done.out
    assert "search.max_failure_rate 0.5" in done.out and "nan" in done.out
    assert "1 finished runs of other sweeps were reused" in done.out
    (folder,) = (shared.store / "sweeps").glob("hopeless-*")
    recorded = [r for r in mlflow_runs(shared.store) if r.info.status == "RUNNING"]
    assert recorded == []
    assert len(list(folder.glob("runs/*/worker.log"))) == 4, "no trial began after the stop"
    (parent,) = [r for r in mlflow_runs(shared.store) if r.info.run_name == folder.name]
    assert parent.info.status == "FAILED"
    assert "max_failure_rate" in parent.data.tags["keepgain.reason"]


@pytest.mark.fault("N6")
def test_a_stopped_sweep_can_be_looked_at(diverged: tuple[Swept, Done]) -> None:
    store: Path = diverged[0].store
    for folder in (store / "sweeps").glob("hopeless-*"):
        answer = run("analyze", folder.name, "--store", store, cwd=store).expect()
        assert answer.out.strip()
