"""A thousand trials that do next to nothing, under sixty kills: see `tests.faults.soak`."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.invariants import Left, nothing_seems_open, nothing_seems_to_run, one_run_each
from tests.faults.soak import ROOT
from tests.sweeps.e2e.world import PATIENCE, environment, json_of, run

TRIALS = int(os.environ.get("KEEPGAIN_SOAK_TRIALS", "1000"))
KILLS = TRIALS * 60 // 1000
MB_PER_TRIAL = 0.5
SECONDS_PER_TRIAL = 0.2


def told(found: dict[str, Any]) -> str:
    kills = ", ".join(f"{count} of {what}" for what, count in found["kills"].items())
    return (
        f"{found['completed']:,} of {found['trials']:,} trials completed under "
        f"{sum(found['kills'].values())} kills ({kills}), {found['reported_twice']} reported "
        f"twice; the driver's memory grows by {found['mb_per_report']:.3f} MB a report, up to "
        f"{found['peak_rss_mb']:.0f} MB; search and bookkeeping take "
        f"{found['program_seconds_per_report']:.3f} s a report"
    )


@pytest.mark.processes
@pytest.mark.fault("L4")
@pytest.mark.timeout(3600 * PATIENCE)
def test_a_long_sweep_under_random_kills_loses_and_repeats_nothing(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    words = [sys.executable, "-m", "tests.faults.soak", str(tmp_path / "soak")]
    done = subprocess.run(
        [*words, "--trials", str(TRIALS), "--kills", str(KILLS)],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.strip().splitlines()[-1])
    record_property("tries", sum(found["kills"].values()))
    record_property("figures", told(found))
    assert found["exit_code"] == 0
    assert found["trials"] == found["completed"] == TRIALS
    assert found["reported_twice"] == found["ended_twice"] == found["open"] == 0
    assert found["mb_per_report"] <= MB_PER_TRIAL
    assert found["program_seconds_per_report"] <= SECONDS_PER_TRIAL
    store = tmp_path / "soak" / "store"
    (folder,) = [p for p in (store / "sweeps").iterdir() if p.is_dir()]
    uri = f"sqlite:///{store / 'mlflow.db'}"
    left = Left(folder.name, folder, uri, tmp_path, store=str(store))
    breaches = [*one_run_each(left), *nothing_seems_to_run(left), *nothing_seems_open(left)]
    assert not breaches
    answer = json_of(run("analyze", "last", "--format", "json", "--store", store, cwd=tmp_path))
    trials = [t for t in answer["trials"] if t["kind"] == "trial"]
    assert len(trials) >= TRIALS
