"""The whole of it at once: a sweep submitted to two nodes loses a raylet, a trial, MLflow, and its
driver, one after the other, and decides what it would have decided.

The disturbed sweep runs as a Ray job on a local cluster of two nodes with a token, recorded on an
MLflow server with PostgreSQL; the undisturbed one with `sweep run` on a Ray of its own and SQLite.
"""

import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from keepgain.core.status import Stage, TrialStatus
from keepgain.sweeps.search.ledger import Event, Rung, read_events
from keepgain.sweeps.search.replay import replay
from tests.faults.invariants import Left, check_invariants
from tests.faults.team import Team, kill_now, team
from tests.sweeps.e2e.world import (
    NAME,
    PATIENCE,
    QUICKSTART,
    Swept,
    item_scores,
    json_of,
    run,
    survivors,
    write_spec,
)

pytestmark = [pytest.mark.processes, pytest.mark.timeout(1800 * PATIENCE)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    with team(tmp_path_factory.mktemp("team")) as made:
        yield made


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is submitted: 25 trials of xs in five generations; TPE draws from the third on."""
    folder = tmp_path_factory.mktemp("user")
    shutil.copytree(QUICKSTART / "bases" / "xs", folder / "bases" / "xs")
    (folder / "data").mkdir()
    for name in ("far_train", "far_validation", "far_test", "general_replay",
                 "general_fact_validation", "general_fact_test"):  # fmt: skip
        shutil.copy(QUICKSTART / "data" / f"{name}.jsonl", folder / "data")
    spec = write_spec(folder, root="", trials=25, tokens=300_000)
    text = spec.read_text()
    old = "generation_size: 2,"
    assert old in text
    new = "generation_size: 5, sampler: tpe, stopping: {audit_trials: 1},"
    spec.write_text(text.replace(old, new))
    return folder


@pytest.fixture(scope="module")
def undisturbed(user: Path, tmp_path_factory: pytest.TempPathFactory) -> Swept:
    folder = tmp_path_factory.mktemp("undisturbed")
    swept = Swept(folder, user / "sweep.yaml", folder / "store")
    swept.run(seconds=800).expect()
    return swept


@dataclass
class Disturbed:
    """What was killed, and what had been finished then."""

    left: Left
    killed: list[str] = field(default_factory=list)
    finished: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What was killed → run key → its reports, of what was completed at that moment."""
    processes: list[psutil.Process] = field(default_factory=list)


@pytest.fixture(scope="module")
def disturbed(place: Team, user: Path) -> Disturbed:
    command = ("sweep", "run", "sweep.yaml", "--store", place.url)
    place.submit(user, "first", *command).expect()
    until(place, "first", "two trials have ended", lambda: len(ended(place)) >= 2)
    seen = Disturbed(place.left(NAME))

    def note(what: str) -> None:
        seen.killed.append(what)
        seen.finished[what] = reports_of_completed(seen.left.folder)
        seen.processes += [p for p in place.cluster.processes() if is_ours(p)]

    note("raylet of a worker node")
    raylet = place.cluster.node(1).raylet
    assert raylet is not None
    of_node = [p for p in place.cluster.node(1).processes() if not is_log_monitor(p)]
    kill_now([raylet])
    assert survivors(of_node, 60) == [], "what ran on a node ends with its raylet"
    go_on(place, seen, 2)
    place.cluster.add_node()
    go_on(place, seen, 1)

    until(place, "first", "a worker trains", lambda: bool(workers(place)))
    note("process of a trial")
    actor = workers(place)[0].parent()
    assert actor is not None
    kill_now([actor])
    go_on(place, seen, 2)

    note("MLflow server")
    kill_now(place.mlflow_processes())
    go_on(place, seen, 2)
    place.mlflow_up()

    until(place, "first", "a worker trains", lambda: bool(workers(place)))
    note("driver")
    drivers = [p for p in place.cluster.processes() if is_driver(p)]
    assert drivers
    kill_now(drivers)
    assert place.wait("first", 120) == "FAILED"
    assert any(not r.status.is_final for r in replay(events(place)).runs.values())
    place.submit(user, "second", *command).expect()
    assert place.wait("second", 800) == "SUCCEEDED", place.logs("second")[-3000:]
    seen.left = place.left(NAME)
    return seen


def events(place: Team) -> list[Event]:
    ledgers = list((place.work / "sweeps").glob(f"{NAME}-*/ledger.jsonl"))
    return read_events(ledgers[0]) if ledgers else []


def ended(place: Team) -> list[str]:
    runs = replay(events(place)).runs.values()
    return [r.run_key for r in runs if r.asked.stage is Stage.SEARCH and r.status.is_final]


def reports_of_completed(folder: Path) -> dict[str, Any]:
    runs = replay(read_events(folder / "ledger.jsonl")).runs
    return {k: r.reports for k, r in runs.items() if r.status is TrialStatus.COMPLETED}


def go_on(place: Team, seen: Disturbed, rungs: int) -> None:
    """Until so many more rungs are reported: whoever was hit has been tried again."""
    before = sum(isinstance(e, Rung) for e in events(place))
    until(
        place,
        "first",
        f"{rungs} more rungs after the loss of the {seen.killed[-1]}",
        lambda: sum(isinstance(e, Rung) for e in events(place)) >= before + rungs,
    )


def until(place: Team, job: str, what: str, true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300 * PATIENCE
    while not true():
        status = place.status(job)
        assert status in ("PENDING", "RUNNING"), (
            f"{status} before {what}\n{place.logs(job)[-3000:]}"
        )
        assert time.monotonic() < deadline, f"never {what}\n{place.logs(job)[-3000:]}"
        time.sleep(0.2)


def command_line(one: psutil.Process) -> str:
    try:
        return " ".join(one.cmdline())
    except psutil.Error:
        return ""


def is_driver(one: psutil.Process) -> bool:
    return "/sweep run sweep.yaml" in command_line(one)


def is_log_monitor(one: psutil.Process) -> bool:
    """Ray's own reader of logs: it does not notice the end of its raylet, and holds nothing."""
    return "log_monitor.py" in command_line(one)


def is_ours(one: psutil.Process) -> bool:
    return is_driver(one) or "keepgain.trainers.worker" in command_line(one)


def workers(place: Team) -> list[psutil.Process]:
    return [p for p in place.cluster.processes() if "trainers.worker" in command_line(p)]


@pytest.mark.fault("P1", "P5", "P7", "P9")
def test_losing_raylet_trial_mlflow_and_driver_changes_nothing(
    place: Team, disturbed: Disturbed, undisturbed: Swept
) -> None:
    assert disturbed.killed == [
        "raylet of a worker node", "process of a trial", "MLflow server", "driver",
    ]  # fmt: skip
    left = disturbed.left
    check_invariants(
        left,
        undisturbed=undisturbed.folder,
        processes=disturbed.processes,
        cluster=(place.cluster.address, place.env),
    )
    # Nothing that had been finished was trained again, and no rung was reported twice.
    now = reports_of_completed(left.folder)
    for what, finished in disturbed.finished.items():
        assert finished, f"something was finished when the {what} was killed"
        assert {k: now[k] for k in finished} == finished
    rungs = Counter((e.report.run_key, e.report.rung) for e in events(place) if isinstance(e, Rung))
    assert set(rungs.values()) == {1}
    assert item_scores(left.folder) == item_scores(undisturbed.folder)
    theirs = run("analyze", "--format", "json", "--store", undisturbed.store, cwd=undisturbed.cwd)
    assert json.loads(left.analyze().expect().out)["decision"] == json_of(theirs)["decision"]


def test_the_unchanged_quickstart_as_a_job_has_the_item_scores_of_a_local_run(
    place: Team, tmp_path: Path
) -> None:
    smoke = ("--profile", "smoke")
    place.submit(QUICKSTART, "quickstart", "sweep", "run", "sweep.yaml", *smoke, "--store",
                 place.url).expect()  # fmt: skip
    assert place.wait("quickstart", 800) == "SUCCEEDED", place.logs("quickstart")[-3000:]
    store = tmp_path / "store"
    words = ("sweep", "run", QUICKSTART / "sweep.yaml", *smoke, "--store", store)
    run(*words, cwd=tmp_path, seconds=800).expect()
    left = place.left("ticket-routing")
    (local,) = (store / "sweeps").glob("ticket-routing-*")
    ours, theirs = item_scores(left.folder), item_scores(local)
    assert ours == theirs and len(ours) > 10
    check_invariants(left, undisturbed=local, cluster=(place.cluster.address, place.env))
