"""Plans against real trials: tokens of a finished sweep, speeds from it, and a calibration."""

from pathlib import Path

import pytest

from keepgain.core.status import Stage
from tests.sweeps.e2e.world import Swept, json_of, run, write_spec

BATCH_TOKENS = 32 * 64
"""Rows of a batch times the longest that a row may be: by less than this a rung is passed."""


def test_a_finished_sweep_trained_what_its_plan_said_and_gives_the_next_one_its_speed(
    finished: Swept,
) -> None:
    plan = json_of(finished.sweep("plan", finished.spec, "--json"))
    stages = {s["stage"]: s for s in plan["stages"]}
    runs = finished.state().runs.values()
    for stage in (Stage.SEARCH, Stage.CONFIRM):
        ended = [r.last_report for r in runs if r.asked.stage is stage and r.last_report]
        real = sum(report.tokens for report in ended)
        low, high = (stages[stage][end]["training_tokens"] for end in ("least", "most"))
        assert low <= real < high + BATCH_TOKENS * len(ended)
    for model in plan["models"]:
        speed = model["methods"][0]["speed"]
        assert speed["source"] == "earlier trials" and plan["hardware"] in speed["basis"]
        assert 0 < speed["other_seconds"] < 60


@pytest.mark.slow
def test_a_calibration_measures_with_the_real_worker_and_is_kept(tmp_path: Path) -> None:
    spec, store = write_spec(tmp_path), tmp_path / "store"
    done = run("sweep", "plan", spec, "--store", store, "--calibrate", "--json", cwd=tmp_path)
    first = json_of(done)["models"][0]["methods"][0]["speed"]
    assert first["source"] == "calibration" and "calibrating xs by full" in done.err
    assert first["flops_per_second"] > 1e7 and 0 < first["score_seconds"] < 60
    again = run("sweep", "plan", spec, "--store", store, "--json", cwd=tmp_path)
    assert json_of(again)["models"][0]["methods"][0]["speed"] == first
    assert {p.name for p in store.iterdir()} == {"calibrations.jsonl", "sweeps"}, "no MLflow"
    assert not list((store / "sweeps").iterdir()), "no run"


def test_a_calibration_that_fails_says_so_and_keeps_nothing(tmp_path: Path) -> None:
    spec, store = write_spec(tmp_path, tokens=1000), tmp_path / "store"
    text = spec.read_text() + "resources: {device: cuda, gpus_per_trial: 0}\n"
    spec.write_text(text)
    done = run("sweep", "plan", spec, "--store", store, "--calibrate", cwd=tmp_path).expect(2)
    assert "xs by full could not be calibrated" in done.err and "cuda" in done.err
    assert not (store / "calibrations.jsonl").exists()
