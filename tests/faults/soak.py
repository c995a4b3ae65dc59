"""`python -m tests.faults.soak FOLDER --trials 1000 --kills 60`: a long sweep of trials that do
next to nothing, while workers, trial actors and drivers are SIGKILLed at random.
The trial body is a stand-in without torch (`tests.sweeps.stand_in`); everything else is what users
run: spec, checks, Optuna, Ray Tune, ledger, spool, MLflow on SQLite. Prints one JSON line.

`... drive SPEC STORE ADDRESS FIGURES` is one driver: `sweep run`, which also notes what the search
and its bookkeeping cost and how its memory grows.
"""

import argparse
import functools
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from keepgain.core.status import Stage, TrialStatus
from keepgain.sweeps.search.ledger import Event, Finished, Rung, read_events
from keepgain.sweeps.search.replay import replay
from tests.sweeps.e2e.test_ray_job import ray_head
from tests.sweeps.e2e.world import kill
from tests.sweeps.stand_in import SECONDS
from tests.sweeps.test_program import edit
from tests.sweeps.tiny_models import make_world

ROOT = Path(__file__).parents[2]
BODY_SECONDS = "0.05"


def spec_of(folder: Path, trials: int) -> Path:
    """Two base models, one rung, all trials at full budget."""
    path = make_world(folder, models=2, rows=200)
    search = f"search: {{trials_per_model: {trials // 2}, generation_size: 27}}\n"
    edit(path, "search: {trials_per_model: 12}\n", search)
    edit(path, "confirm: {finalists: 4, seeds: 3}", "confirm: {finalists: 2, seeds: 2}")
    edit(path, "prices:", "training: {budget_tokens: 1000, rungs: [1]}\nprices:")
    edit(path, "max_forgetting: 0.03", "max_forgetting: 0.5")
    return path


# -- one driver ----------------------------------------------------------------------------------


def drive(spec: str, store: str, address: str, figures: str) -> int:
    """`sweep run` with the stand-in as trial body; lines of figures go to a file."""
    from keepgain.sweeps import crew, tune_runner
    from keepgain.sweeps.cli.main import main
    from keepgain.sweeps.program import SweepProgram

    assert tune_runner.run_program.__kwdefaults__ is not None
    tune_runner.run_program.__kwdefaults__["entry_point"] = "tests.sweeps.stand_in"
    env_of = crew.worker_env
    own = {"PYTHONPATH": str(ROOT), SECONDS: BODY_SECONDS}
    crew.worker_env = lambda *args: env_of(*args) | own
    spent = {"seconds": 0.0, "depth": 0, "ended": 0}
    process = psutil.Process()
    out = open(figures, "a", encoding="utf-8")

    def timed(call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def inner(self: SweepProgram, *args: Any) -> Any:
            began = time.perf_counter()
            spent["depth"] += 1
            try:
                return call(self, *args)
            finally:
                spent["depth"] -= 1
                if not spent["depth"]:
                    spent["seconds"] += time.perf_counter() - began

        return inner

    def note(call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def inner(self: SweepProgram, *args: Any) -> Any:
            result = call(self, *args)
            spent["ended"] += 1
            if spent["ended"] % 5 == 0:
                line = {
                    "pid": os.getpid(),
                    "ended": spent["ended"],
                    "rss_mb": process.memory_info().rss / 1e6,
                    "seconds": spent["seconds"],
                }
                out.write(json.dumps(line) + "\n")
                out.flush()
            return result

        return inner

    for name in ("next_job", "on_started", "on_failed", "on_tick"):
        setattr(SweepProgram, name, timed(getattr(SweepProgram, name)))
    SweepProgram.on_report = note(timed(SweepProgram.on_report))  # type: ignore[method-assign]
    return main(["run", spec, "--store", store, "--address", address])


# -- the soak ------------------------------------------------------------------------------------


def soak(folder: Path, trials: int, kills: int, driver_share: float, seed: int) -> dict[str, Any]:
    """Runs it, checks it, says what it cost."""
    rng = random.Random(seed)
    spec, store, figures = spec_of(folder / "user", trials), folder / "store", folder / "figures"
    done: Counter[str] = Counter()
    began = time.monotonic()
    with ray_head(dashboard=False) as head:
        address, env = head.for_drivers
        plan = sorted(rng.uniform(0, trials) for _ in range(kills))
        code: int | None = None
        while code is None:
            words = [sys.executable, "-m", "tests.faults.soak", "drive"]
            words += [str(spec), str(store), address, str(figures)]
            with (folder / "driver.log").open("ab") as log:
                driver = subprocess.Popen(
                    words, cwd=ROOT, env=env, stdout=log, stderr=subprocess.STDOUT
                )
            try:
                code = _disturb(driver, store, plan, rng, driver_share, done)
            finally:
                if driver.poll() is None:
                    kill([psutil.Process(driver.pid)])
    found = {"exit_code": code, "kills": dict(done), "seconds": time.monotonic() - began}
    return found | check(store, trials) | cost(figures)


def _disturb(
    driver: "subprocess.Popen[bytes]",
    store: Path,
    plan: list[float],
    rng: random.Random,
    driver_share: float,
    done: Counter[str],
) -> int | None:
    """Kills as planned while this driver lives; its exit code, None if it was killed."""
    hit: set[str] = set()
    while driver.poll() is None:
        time.sleep(0.1)
        # A run that loses its second worker too is FAILED, as it should be: not what is tried here.
        if not plan or finished_trials(store) < plan[0] or hit & open_runs(store):
            continue
        plan.pop(0)
        hit = open_runs(store)
        if rng.random() < driver_share:
            driver.kill()
            driver.wait(60)
            done["driver"] += 1
            return None
        kind, victim = _victim(driver.pid, store, rng)
        if victim is None:
            plan.insert(0, 0.0)  # nobody works at this moment
            continue
        kill([victim])
        done[kind] += 1
    return driver.returncode


def _victim(driver: int, store: Path, rng: random.Random) -> tuple[str, psutil.Process | None]:
    """A worker that works, or the actor of a trial: both name this soak's Ray or store."""
    bodies = []
    for one in psutil.process_iter(["cmdline", "environ"]):
        line = " ".join(one.info["cmdline"] or ())
        if "tests.sweeps.stand_in" in line:
            bodies.append(one)
    if not bodies:
        return "none", None
    body = rng.choice(bodies)
    if rng.random() < 0.5:
        return "worker", body
    return "trial actor", body.parent()


def finished_trials(store: Path) -> int:
    """Completed trials so far, counted by lines of the ledger."""
    return sum(
        path.read_bytes().count(b'"event":"finished"')
        for path in store.glob("sweeps/*/ledger.jsonl")
    )


def open_runs(store: Path) -> set[str]:
    """Run keys of what was asked for and has not ended."""
    runs = [replay(read_events(p)).runs for p in store.glob("sweeps/*/ledger.jsonl")]
    return {r.run_key for found in runs for r in found.values() if not r.status.is_final}


def check(store: Path, trials: int) -> dict[str, Any]:
    """What was lost, and what is there twice."""
    (ledger,) = store.glob("sweeps/*/ledger.jsonl")
    events = read_events(ledger)
    runs = replay(events).runs
    rungs = Counter((e.report.run_key, e.report.rung) for e in events if isinstance(e, Rung))
    search = [r for r in runs.values() if r.asked.stage is Stage.SEARCH]
    return {
        "trials": len(search),
        "asked_for": trials,
        "completed": sum(r.status is TrialStatus.COMPLETED for r in search),
        "reported_twice": sum(n > 1 for n in rungs.values()),
        "ended_twice": len(ended_twice(events)),
        "open": sum(not r.status.is_final for r in runs.values()),
    }


def ended_twice(events: Iterable[Event]) -> set[str]:
    """Runs with a second end. A failure that a later driver takes back, because it may have passed,
    has not ended its run; what is completed has ended for good."""
    ended: dict[str, TrialStatus] = {}
    twice: set[str] = set()
    for event in events:
        if not isinstance(event, Finished):
            continue
        before = ended.get(event.run_key)
        if before is not None and (event.status.is_final or before is TrialStatus.COMPLETED):
            twice.add(event.run_key)
        ended.pop(event.run_key, None)
        if event.status.is_final:
            ended[event.run_key] = event.status
    return twice


def cost(figures: Path) -> dict[str, Any]:
    """Memory's slope within the lives of drivers, and the seconds of search and bookkeeping."""
    lives: dict[int, list[dict[str, float]]] = {}
    for line in figures.read_text(encoding="utf-8").splitlines():
        point = json.loads(line)
        lives.setdefault(point["pid"], []).append(point)
    # One slope for all, each life with its own start: least squares on centred points. The first
    # 20 reports of a life fill caches and import what is imported lazily.
    centred = []
    for points in lives.values():
        warm = np.array([(p["ended"], p["rss_mb"]) for p in points if p["ended"] > 20])
        if len(warm) > 2:
            centred.append(warm - warm.mean(axis=0))
    x, y = np.concatenate(centred).T
    ends = [points[-1] for points in lives.values()]
    return {
        "drivers": len(lives),
        "mb_per_report": float((x * y).sum() / (x * x).sum()),
        "longest_life_reports": int(max(p["ended"] for p in ends)),
        "program_seconds_per_report": sum(p["seconds"] for p in ends)
        / sum(p["ended"] for p in ends),
        "peak_rss_mb": max(p["rss_mb"] for points in lives.values() for p in points),
    }


def main() -> int:
    """See the module."""
    if sys.argv[1:2] == ["drive"]:
        return drive(*sys.argv[2:])
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--driver-share", type=float, default=0.25)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    args.folder.mkdir(parents=True)
    print(json.dumps(soak(args.folder, args.trials, args.kills, args.driver_share, args.seed)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
