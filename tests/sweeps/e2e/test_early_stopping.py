"""Early stopping with real training: on one slot, on two with SIGKILLs of the driver at uniform
times, and asynchronously. The first two must come to the same decisions, scores and Optuna trials.
All run on one Ray cluster, which outlives a killed driver; `test_interruptions` is of a local Ray.

`KEEPGAIN_KILLS=10` sets how many kills (default 2, since each start of a driver costs seconds) and
`KEEPGAIN_KILL_SEED` when; a failure prints both.
"""

import itertools
import json
import os
import random
import time
from collections import defaultdict
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
from keepgain.sweeps.recorder import TAG_EXECUTION
from keepgain.sweeps.search.ledger import Asked, Finished, Promoted, Rung
from tests.sweeps.e2e.test_ray_job import Cluster, ray_head
from tests.sweeps.e2e.world import (
    NAME,
    Swept,
    background,
    item_scores,
    json_of,
    mlflow_runs,
    run,
    searched,
    write_spec,
)

KILLS = int(os.environ.get("KEEPGAIN_KILLS", "2"))
SEED = int(os.environ.get("KEEPGAIN_KILL_SEED", "1"))
RUNGS = (0.2, 0.5, 1.0)
TOKENS = 30_000 * KILLS


def spec_of(folder: Path, slots: int, mode: str = "generations") -> Path:
    """Six trials in two generations, one of them an audit; at a rung two in five go on."""
    path = write_spec(
        folder, tokens=TOKENS, trials=6, rungs=str(list(RUNGS)), learning_rate="{log: [1e-4, 1e-2]}"
    )
    old = "generation_size: 2,"
    text = path.read_text()
    assert old in text
    new = f"generation_size: 3, mode: {mode}, stopping: {{audit_trials: 1, keep: 0.4}},"
    path.write_text(text.replace(old, new) + f"resources: {{slots: {slots}}}\n")
    return path


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with ray_head(dashboard=False) as head:
        yield head


@pytest.fixture(scope="module")
def one_slot(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Swept:
    """Left alone."""
    folder = tmp_path_factory.mktemp("one-slot")
    spec = spec_of(folder / "user", 1)
    swept = Swept(spec.parent, spec, folder / "store", cluster.for_drivers)
    swept.run(seconds=800).expect()
    return swept


@dataclass
class Killed:
    """A sweep whose driver was killed again and again."""

    swept: Swept
    finished: list[dict[str, tuple[str, int]]] = field(default_factory=list)
    """At each kill: run key → (MLflow run id, start time) of what was FINISHED there."""
    alive: list[list[str]] = field(default_factory=list)
    """At each kill: run keys of the trials that were training, or asked for and not yet ended."""


def kill_seconds(one_slot: Swept) -> float:
    """Seconds of work in which the kills fall: on two slots there is half as much at least as on
    one, so that every kill finds a driver at work."""
    at = [e.at for e in one_slot.events() if isinstance(e, Rung) and e.at is not None]
    return 0.35 * (at[-1] - at[0])


def done_so_far(swept: Swept) -> int:
    """Grows when a worker has done something: rungs, and the bytes that workers have said."""
    rungs = sum(isinstance(e, Rung) for e in swept.events())
    return rungs + sum(
        path.stat().st_size for path in swept.store.glob(f"sweeps/{NAME}-*/spool/*-s*.jsonl")
    )


def kill_often(swept: Swept, folder: Path, seconds: float) -> Killed:
    """Kills at `KILLS` uniform moments of `seconds` of work, then lets the sweep end. The clock
    stands still while a driver starts its workers."""
    moments = sorted(random.Random(SEED).uniform(0, seconds) for _ in range(KILLS))
    seen = Killed(swept)
    worked = 0.0
    for number, moment in enumerate(moments):
        log = folder / f"killed-{number}.log"
        with background(*swept.command, cwd=swept.cwd, log=log, env=swept.env) as driver:
            before = done_so_far(swept)
            driver.until("a worker works", lambda n=before: done_so_far(swept) > n)
            began = time.monotonic()
            while worked + time.monotonic() - began < moment and driver.process.poll() is None:
                time.sleep(0.05)
            worked += time.monotonic() - began
            if driver.process.poll() is not None:
                break  # the sweep was over before its time: this kill found nobody
            driver.process.kill()
            driver.wait(30)
        seen.alive.append([k for k, r in swept.state().runs.items() if not r.status.is_final])
        seen.finished.append(
            {
                r.data.tags[TAG_RUN_KEY]: (r.info.run_id, r.info.start_time)
                for r in mlflow_runs(swept.store)
                if r.info.status == "FINISHED" and TAG_RUN_KEY in r.data.tags
            }
        )
    swept.run(seconds=600).expect()
    return seen


@pytest.fixture(scope="module")
def killed(one_slot: Swept, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Killed:
    """On two slots."""
    folder = tmp_path_factory.mktemp("killed")
    spec = spec_of(folder / "user", 2)
    print(f"{KILLS} kills (KEEPGAIN_KILL_SEED={SEED}) in {kill_seconds(one_slot):.0f} s of work")
    swept = Swept(spec.parent, spec, folder / "store", cluster.for_drivers)
    return kill_often(swept, folder, kill_seconds(one_slot))


@pytest.fixture(params=["one_slot", "killed"])
def swept(request: pytest.FixtureRequest) -> Swept:
    found = request.getfixturevalue(request.param)
    return found.swept if isinstance(found, Killed) else found


def optuna_trials(swept: Swept) -> dict[str, list[tuple[Any, ...]]]:
    """Study → (state, values, params) of its trials."""
    storage = JournalStorage(JournalFileBackend(str(swept.folder / "optuna.journal")))
    found = {}
    for name in optuna.get_all_study_names(storage):
        trials = optuna.load_study(study_name=name, storage=storage).get_trials()
        found[name.removeprefix(swept.id)] = [(t.state, t.values, t.params) for t in trials]
    return found


def decided(swept: Swept) -> dict[str, Any]:
    promoted = [(e.run_key, e.rung) for e in swept.events() if isinstance(e, Promoted)]
    stopped = {e.run_key: e.reason for e in swept.events()
               if isinstance(e, Finished) and e.status is TrialStatus.PRUNED}  # fmt: skip
    return {"promoted": sorted(set(promoted)), "stopped": stopped}


@pytest.mark.fault("N9")
def test_trials_were_stopped_and_told_so(swept: Swept) -> None:
    runs = sorted(searched(swept.state()), key=lambda r: r.asked.number or 0)
    states = {TrialStatus.COMPLETED: TrialState.COMPLETE, TrialStatus.PRUNED: TrialState.PRUNED}
    assert [state for state, *_ in optuna_trials(swept)["/xs"]] == [states[r.status] for r in runs]
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


@pytest.mark.fault("P5", "N10")
def test_one_slot_or_two_and_a_killed_driver_come_to_the_same(
    one_slot: Swept, killed: Killed
) -> None:
    other = killed.swept
    assert decided(one_slot) == decided(other)
    assert item_scores(one_slot.folder) == item_scores(other.folder)
    assert optuna_trials(one_slot) == optuna_trials(other)
    ours, theirs = (
        {k: (r.status, [p.rung for p in r.reports]) for k, r in s.state().runs.items()}
        for s in (one_slot, other)
    )
    assert ours == theirs


@pytest.mark.fault("N9")
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


@pytest.mark.fault("P5")
def test_finished_trials_keep_their_mlflow_run_and_its_start(killed: Killed) -> None:
    now = {
        r.data.tags[TAG_RUN_KEY]: (r.info.run_id, r.info.start_time)
        for r in mlflow_runs(killed.swept.store)
        if TAG_RUN_KEY in r.data.tags
    }
    assert len(killed.finished) == KILLS
    for finished in killed.finished:
        assert {key: now[key] for key in finished} == finished


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


def test_each_kill_costs_at_most_a_rung_per_trial_alive(one_slot: Swept, killed: Killed) -> None:
    calm, ours = trained_tokens(one_slot), trained_tokens(killed.swept)
    largest = max(b - a for a, b in zip((0.0, *RUNGS), RUNGS, strict=False)) * TOKENS
    batch = 32 * 64
    allowed = sum(len(alive) for alive in killed.alive) * (largest + batch)
    print(f"{ours:,} tokens over all attempts, {calm:,} undisturbed, {allowed:,.0f} allowed more")
    assert calm <= ours <= calm + allowed


def test_in_async_mode_counts_hold_and_nothing_is_trained_twice(
    one_slot: Swept, cluster: Cluster, tmp_path: Path
) -> None:
    spec = spec_of(tmp_path / "user", 2, "async")
    swept = Swept(spec.parent, spec, tmp_path / "store", cluster.for_drivers)
    kill_often(swept, tmp_path, kill_seconds(one_slot))
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
