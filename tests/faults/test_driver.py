"""The death of drivers and of training workers, on small real sweeps: what is left, and whether the
same command comes to the end that an undisturbed sweep has.

One sweep goes through several kills, since every start of a driver costs seconds.
"""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from keepgain.core.status import FailureCause, TrialStatus
from keepgain.sweeps.search.ledger import Asked, Finished, Rung
from tests.faults.invariants import (
    Left,
    check_invariants,
    complaints,
    nothing_seems_open,
    nothing_seems_to_run,
)
from tests.sweeps.e2e.world import (
    PATIENCE,
    Done,
    Running,
    Swept,
    background,
    json_of,
    run,
    searched,
    survivors,
    without_agents,
    write_spec,
)

pytestmark = [pytest.mark.processes, pytest.mark.timeout(1200 * PATIENCE)]

TOKENS = 100_000
"""A trial takes long enough to be met."""
WORKER = "keepgain.trainers.worker"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Swept:
    """A sweep that nothing happens to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    swept = Swept(folder, write_spec(folder, tokens=TOKENS), folder / "store")
    swept.run().expect()
    return swept


def fresh(folder: Path) -> Swept:
    """The same sweep, not begun."""
    return Swept(folder, write_spec(folder, tokens=TOKENS), folder / "store")


def workers(driver: Running) -> list[psutil.Process]:
    """Training workers below a driver."""
    found = []
    for one in driver.family():
        try:
            if WORKER in one.cmdline():
                found.append(one)
        except psutil.NoSuchProcess:
            continue
    return found


def reports(swept: Swept) -> list[tuple[str, int]]:
    """(run key, rung) of search trials, as they came."""
    keys = {r.run_key for r in searched(swept.state())}
    return [(e.report.run_key, e.report.rung) for e in swept.events()
            if isinstance(e, Rung) and e.report.run_key in keys]  # fmt: skip


def began(swept: Swept) -> list[str]:
    """Run keys of the search, in their order."""
    return list(dict.fromkeys(r.run_key for r in searched(swept.state())))


def killed(driver: Running, swept: Swept, seconds: float = 30) -> list[str]:
    """Kills the driver alone; returns what is left of it after a while."""
    family = without_agents(driver.family())
    driver.process.kill()
    driver.wait(30)
    return survivors(family, seconds * PATIENCE)


@pytest.mark.fault("P5", "P6", "P12", "P13")
def test_a_sweep_whose_driver_dies_in_every_way_ends_like_an_undisturbed_one(
    tmp_path: Path, undisturbed: Swept, record_property: Any
) -> None:
    swept = fresh(tmp_path / "user")
    left: dict[str, list[str]] = {}
    families: list[psutil.Process] = []

    def driver(name: str) -> Any:
        return background(*swept.command, cwd=swept.cwd, log=tmp_path / name)

    # (a) before any trial has ended
    with driver("a.log") as one:
        one.until("a search trial is asked for", lambda: bool(searched(swept.state())))
        families += one.family()
        left["a"] = killed(one, swept)
    assert not any(r.status is TrialStatus.COMPLETED for r in searched(swept.state()))

    # (b) between two rungs of a trial
    with driver("b.log") as one:
        one.until("a rung is reported", lambda: bool(reports(swept)))
        families += one.family()
        left["b"] = killed(one, swept)

    # (c) a trial has ended and MLflow has not heard of it
    ended = len(completed(swept))
    with driver("c.log") as one:
        one.until("a trial has ended", lambda: len(completed(swept)) > ended)
        families += one.family()
        left["c"] = killed(one, swept)
    finished = completed(swept)
    trained = reports(swept)

    # (d) A second driver refuses, readers see a consistent state. Then SIGTERM, as a machine that
    # shuts down sends it.
    with driver("d.log") as one:
        one.until("it works", lambda: bool(workers(one)))
        before = swept.events()
        second, *read = at_once(swept)
        assert swept.events()[: len(before)] == before
        assert second.code == 2 and str(one.process.pid) in second.err, second.err
        for done in (second, *read):
            assert "Traceback" not in done.err, done.err
        for done in read:
            assert done.code == 0 or len(complaints(done)) == 1, done.err
        families += (family := one.family())
        assert one.end(signal.SIGTERM) == 130, one.output[-3000:]
        assert "the same command continues" in one.output
        left["d"] = survivors(without_agents(family), 30 * PATIENCE)
    now = Left.of(swept)
    assert [*nothing_seems_to_run(now), *nothing_seems_open(now)] == []
    looked = run("analyze", swept.id, "--store", swept.store, cwd=swept.cwd)
    assert looked.code == 0 and looked.out.strip(), looked.err

    swept.run().expect()
    record_property("tries", 6)
    assert left == {key: [] for key in "abcd"}
    drawn = [e for e in swept.events() if isinstance(e, Asked) and e.stage == "search"]
    assert len(drawn) == len({e.run_key for e in drawn}) == len(began(undisturbed))
    again = reports(swept)[len(trained) :]
    assert not {key for key, _ in again} & set(finished), "a finished trial was trained again"
    check_invariants(
        Left.of(swept), undisturbed=undisturbed.folder, processes=families, seconds=90 * PATIENCE
    )
    assert decision(swept) == decision(undisturbed)


def completed(swept: Swept) -> list[str]:
    return [r.run_key for r in searched(swept.state()) if r.status is TrialStatus.COMPLETED]


def decision(swept: Swept) -> Any:
    """What `analyze` says of it."""
    words = ("analyze", swept.id, "--format", "json", "--store", swept.store)
    return json_of(run(*words, cwd=swept.cwd))["decision"]


def at_once(swept: Swept) -> list[Done]:
    """A second driver, and two readers, at the same time."""
    look = ("analyze", swept.id, "--format", "json", "--store", swept.store)
    with ThreadPoolExecutor(3) as pool:
        commands = (swept.command, look, look)
        return list(pool.map(lambda words: run(*words, cwd=swept.cwd), commands))


@pytest.mark.fault("P1", "P2")
def test_a_worker_that_dies_once_goes_on_and_one_that_dies_each_time_fails_alone(
    tmp_path: Path, undisturbed: Swept, record_property: Any
) -> None:
    swept = fresh(tmp_path / "user")
    command = (*swept.command, "--slots", "1")
    with background(*command, cwd=swept.cwd, log=tmp_path / "log") as driver:
        driver.until("the first rung is reported", lambda: len(reports(swept)) > 0)
        family = driver.family()
        first = reports(swept)[0][0]
        kill_worker(driver)
        driver.until("it is tried again", lambda: "trying once more" in driver.output)
        # The last trial that is drawn: none is drawn from its result.
        wanted = len(began(undisturbed))
        driver.until("the last trial begins", lambda: len(began(swept)) == wanted)
        last = began(swept)[-1]
        driver.until("nothing else runs", lambda: others_ended(swept, last))
        for _ in range(2):
            kill_worker(driver)
        family += driver.family()
        assert driver.wait(600) == 0, driver.output[-3000:]
    record_property("tries", 3)
    runs = swept.state().runs
    assert runs[first].status is TrialStatus.COMPLETED
    rungs = [rung for key, rung in reports(swept) if key == first]
    assert rungs == sorted(set(rungs)), "no rung was trained twice"
    assert (runs[last].status, runs[last].cause) == (TrialStatus.FAILED, FailureCause.WORKER_LOST)
    ends = [e for e in swept.events() if isinstance(e, Finished) and e.run_key == last]
    assert len(ends) == 1 and "SIGKILL" in str(ends[0].reason)
    check_invariants(
        Left.of(swept), undisturbed=undisturbed.folder, processes=family, seconds=90 * PATIENCE
    )


def others_ended(swept: Swept, last: str) -> bool:
    runs = searched(swept.state())
    return all(r.status.is_final or r.waits for r in runs if r.run_key != last)


def kill_worker(driver: Running) -> None:
    """SIGKILL to the one that works, once it has something to do."""
    driver.until("a worker is there", lambda: any(busy(w) for w in workers(driver)))
    for one in workers(driver):
        os.kill(one.pid, signal.SIGKILL)
    gone = [w.pid for w in workers(driver)]
    driver.until("it is gone", lambda: not {w.pid for w in workers(driver)} & set(gone))


def busy(worker: psutil.Process) -> bool:
    try:
        return worker.cpu_times().user > 0.5
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("KEEPGAIN_STORE", "MLFLOW_TRACKING_URI", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    yield
