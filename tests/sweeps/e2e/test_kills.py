"""SIGKILLs of the driver at uniform times, over a sweep with early stopping: nothing is lost.

`KEEPGAIN_KILLS=10` sets how many (default 2, since each start of a driver costs seconds) and
`KEEPGAIN_KILL_SEED` when; a failure prints both.
"""

import json
import os
import random
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from keepgain.core.status import Stage, TrialStatus
from keepgain.core.store.names import TAG_RUN_KEY
from keepgain.sweeps.search.ledger import Asked, Finished, Rung
from tests.sweeps.e2e.world import Swept, background, item_scores, mlflow_runs, searched, write_spec

KILLS = int(os.environ.get("KEEPGAIN_KILLS", "2"))
SEED = int(os.environ.get("KEEPGAIN_KILL_SEED", "1"))
RUNGS = (0.2, 0.5, 1.0)
TOKENS = 90_000


@dataclass
class Killed:
    """A sweep whose driver was killed again and again, beside the same one left alone."""

    swept: Swept
    undisturbed: Swept
    finished: list[dict[str, tuple[str, int]]] = field(default_factory=list)
    """At each kill: run key → (MLflow run id, start time) of what was FINISHED there."""
    alive: list[list[str]] = field(default_factory=list)
    """At each kill: run keys of the trials that were training, or asked for and not yet ended."""


def spec_of(folder: Path, mode: str) -> Path:
    path = write_spec(
        folder, tokens=TOKENS, trials=6, rungs=str(list(RUNGS)), learning_rate="{log: [1e-3, 1e-2]}"
    )
    old = "generation_size: 2,"
    text = path.read_text()
    assert old in text
    new = f"generation_size: 3, mode: {mode}, stopping: {{audit_trials: 1, keep: 0.4}},"
    path.write_text(text.replace(old, new))
    return path


def active(swept: Swept) -> bool:
    """True from the first job to the last of the search: when kills are to fall."""
    return any(isinstance(e, Asked) for e in swept.events())


def kill_often(swept: Swept, folder: Path, seconds: float) -> Killed:
    """Kills at `KILLS` uniform moments of `seconds` of work, then lets the sweep end."""
    moments = sorted(random.Random(SEED).uniform(0, seconds) for _ in range(KILLS))
    seen = Killed(swept, swept)
    worked = 0.0
    command = ("sweep", "run", swept.spec, "--store", swept.store)
    for number, moment in enumerate(moments):
        with background(*command, cwd=swept.cwd, log=folder / f"killed-{number}.log") as driver:
            before = len(swept.events())
            driver.until("the driver works", lambda n=before: _works(swept, driver.output, n))
            began = time.monotonic()
            while worked + time.monotonic() - began < moment and driver.process.poll() is None:
                time.sleep(0.05)
            worked += time.monotonic() - began
            if driver.process.poll() is not None:
                break  # the sweep was over before its time: this kill found nobody
            driver.process.kill()
            driver.process.wait(30)
        seen.alive.append(
            [k for k, r in swept.state().runs.items() if not r.status.is_final]
        )  # fmt: skip
        seen.finished.append(
            {
                r.data.tags[TAG_RUN_KEY]: (r.info.run_id, r.info.start_time)
                for r in mlflow_runs(swept.store)
                if r.info.status == "FINISHED" and TAG_RUN_KEY in r.data.tags
            }
        )
    swept.run(seconds=600).expect()
    return seen


def _works(swept: Swept, output: str, before: int) -> bool:
    return "slots:" in output and (before > 0 or len(swept.events()) > before)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Killed:
    folder = tmp_path_factory.mktemp("kills")
    calm = Swept(folder / "user", spec_of(folder / "user", "generations"), folder / "calm")
    began = time.monotonic()
    calm.run(seconds=600).expect()
    whole = time.monotonic() - began
    seen = kill_often(Swept(calm.cwd, calm.spec, folder / "killed"), folder, 0.6 * whole)
    seen.undisturbed = calm
    print(f"{KILLS} kills (KEEPGAIN_KILL_SEED={SEED}) in {0.6 * whole:.0f} s of work")
    return seen


def optuna_trials(swept: Swept) -> dict[str, list[tuple[Any, ...]]]:
    """Study → (state, values, params) of its trials."""
    storage = JournalStorage(JournalFileBackend(str(swept.folder / "optuna.journal")))
    found = {}
    for name in optuna.get_all_study_names(storage):
        trials = optuna.load_study(study_name=name, storage=storage).get_trials()
        found[name.removeprefix(swept.id)] = [(t.state, t.values, t.params) for t in trials]
    return found


def trained_tokens(swept: Swept) -> int:
    """Over all attempts of all runs, from the points that every attempt left in its spool."""
    starts: dict[str, list[int]] = defaultdict(lambda: [0])
    for event in swept.events():
        if isinstance(event, Rung) and event.report.tokens:
            starts[event.report.run_key].append(event.report.tokens)
    total = 0
    for path in (swept.folder / "spool").glob("*-s*.jsonl"):
        last = 0
        for line in path.read_text().splitlines():
            point = json.loads(line) if line else {}
            if point.get("event") != "metrics" or "train/loss" not in point["values"]:
                continue
            step = point["step"]
            if step <= last:  # another attempt, from the last rung before this point
                last = max(s for s in starts[path.stem] if s < step)
            total += step - last
            last = step
    return total


def test_finished_trials_keep_their_mlflow_run_and_its_start(killed: Killed) -> None:
    now = {
        r.data.tags[TAG_RUN_KEY]: (r.info.run_id, r.info.start_time)
        for r in mlflow_runs(killed.swept.store)
        if TAG_RUN_KEY in r.data.tags
    }
    assert len(killed.finished) == KILLS
    for finished in killed.finished:
        assert {key: now[key] for key in finished} == finished


def test_each_kill_costs_at_most_a_rung_per_trial_alive(killed: Killed) -> None:
    calm, ours = trained_tokens(killed.undisturbed), trained_tokens(killed.swept)
    largest = max(b - a for a, b in zip((0.0, *RUNGS), RUNGS, strict=False)) * TOKENS
    batch = 32 * 64
    allowed = sum(len(alive) for alive in killed.alive) * (largest + batch)
    print(f"{ours:,} tokens over all attempts, {calm:,} undisturbed, {allowed:,.0f} allowed more")
    assert calm <= ours <= calm + allowed


def test_scores_states_and_decisions_are_those_of_the_undisturbed_sweep(killed: Killed) -> None:
    assert item_scores(killed.swept.folder) == item_scores(killed.undisturbed.folder)
    assert optuna_trials(killed.swept) == optuna_trials(killed.undisturbed)
    states = [
        {k: (r.status, [p.rung for p in r.reports]) for k, r in s.state().runs.items()}
        for s in (killed.swept, killed.undisturbed)
    ]
    assert states[0] == states[1]
    assert TrialStatus.PRUNED in {status for status, _ in states[0].values()}


def test_in_async_mode_counts_hold_and_nothing_is_trained_twice(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("async")
    spec = spec_of(folder / "user", "async")
    swept = Swept(spec.parent, spec, folder / "store")
    kill_often(swept, folder, 40.0)
    events = swept.events()
    draws = [e for e in events if isinstance(e, Asked) and e.stage is Stage.SEARCH]
    params = [json.dumps([e.model, e.params], sort_keys=True) for e in draws]
    first_asked = list(dict.fromkeys(e.run_key for e in draws))
    assert len(first_asked) == 6 == len(set(params))
    assert all(r.status.is_final for r in searched(swept.state()))
    done: set[str] = set()
    for event in events:
        if isinstance(event, Finished) and event.status.is_final:
            done.add(event.run_key)
        elif isinstance(event, Rung):
            assert event.report.run_key not in done, "trained after its end"
