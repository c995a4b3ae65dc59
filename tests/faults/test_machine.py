"""Machines that deny something: files, processes, places to write, a compiler; and odd paths."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from keepgain.core.config import Runtime
from keepgain.core.record import RungReport
from keepgain.core.status import TrialStatus
from keepgain.core.work import TrainRequest
from keepgain.sweeps.trial import REPORT_KEY, REQUEST_KEY, SweepTrial
from tests.faults.invariants import Left, check_invariants
from tests.faults.test_driver import reports
from tests.sweeps.e2e.world import (
    BIN,
    PATIENCE,
    SECONDS,
    Done,
    Swept,
    background,
    environment,
    run,
    searched,
    write_spec,
)
from tests.trainers import tiny

pytestmark = [pytest.mark.processes, pytest.mark.timeout(1200 * PATIENCE)]


def limited(limit: str, folder: Path, *command: str | Path) -> Done:
    """A command below a limit of `prlimit`."""
    if shutil.which("prlimit") is None:
        pytest.skip("no prlimit here")
    program = BIN / str(command[0])
    done = subprocess.run(
        ["prlimit", limit, "--", str(program), *map(str, command[1:])],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=SECONDS * PATIENCE,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr, 0.0)


@pytest.mark.fault("R4")
def test_too_few_open_files_are_said_before_anything_is_written(tmp_path: Path) -> None:
    spec = write_spec(tmp_path / "user")
    store = tmp_path / "store"
    done = limited("--nofile=64", spec.parent, "sweep", "run", spec, "--store", store).expect(2)
    last = done.err.strip().splitlines()[-1]
    assert "open files" in last and "ulimit -n" in last, done.err
    assert "Traceback" not in done.err and not store.exists()


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder of a file system that takes nothing."""
    folder = tmp_path / "read-only"
    folder.mkdir()
    mount("tmpfs", folder, "ro,size=1m")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def mount(kind: str, folder: Path, options: str, of: Path | None = None) -> None:
    command = ["mount", "-t", kind, "-o", options, str(of or kind), str(folder)]
    if (
        shutil.which("mount") is None
        or subprocess.run(command, capture_output=True, check=False).returncode
    ):
        pytest.skip("no file system can be mounted here")


@pytest.mark.fault("R5")
@pytest.mark.parametrize("below", ["", "new/store"])
def test_a_store_on_a_read_only_disk_is_refused_before_anything_starts(
    below: str, read_only: Path, tmp_path: Path
) -> None:
    spec = write_spec(tmp_path / "user")
    done = run("sweep", "run", spec, "--store", read_only / below, cwd=spec.parent).expect(2)
    last = done.err.strip().splitlines()[-1]
    assert str(read_only) in last and "Traceback" not in done.err, done.err
    assert "Ray:" not in done.out, "nothing was started"


@pytest.mark.fault("R5")
def test_a_store_of_somebody_else_is_refused_before_anything_starts(tmp_path: Path) -> None:
    if os.getuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can become somebody else")
    user, store = tmp_path / "user", tmp_path / "store"
    spec = write_spec(user)
    store.mkdir(mode=0o755)
    for folder in (tmp_path, *tmp_path.parents[:3]):
        if not folder.stat().st_mode & 0o005:
            folder.chmod(folder.stat().st_mode | 0o055)
    env = environment(HOME=str(user))
    command = [
        *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
        *(str(BIN / "sweep"), "run", str(spec), "--store", str(store)),
    ]
    done = subprocess.run(
        command,
        cwd=user,
        env=env,
        capture_output=True,
        text=True,
        timeout=SECONDS * PATIENCE,
        check=False,
    )
    assert done.returncode == 2, done.stderr[-2000:]
    last = done.stderr.strip().splitlines()[-1]
    assert str(store) in last and "Traceback" not in done.stderr, done.stderr
    assert "Ray:" not in done.stdout and list(store.iterdir()) == []


@pytest.mark.fault("R5")
def test_results_that_can_no_longer_be_written_fail_trials_and_not_the_record(
    tmp_path: Path,
) -> None:
    """The folder of the runs becomes read-only in the middle of one, as a disk with errors does."""
    spec = write_spec(tmp_path / "user", trials=4, rungs="[1]", failure_rate=0.2)
    swept = Swept(spec.parent, spec, tmp_path / "store")
    with background(*swept.command, cwd=swept.cwd, log=tmp_path / "log") as driver:
        driver.until("a trial has ended", lambda: bool(reports(swept)))
        runs = swept.folder / "runs"
        mount("none", runs, "bind", of=runs)
        try:
            subprocess.run(["mount", "-o", "remount,bind,ro", str(runs)], check=True)
            family = driver.family()
            code = driver.wait(600)
        finally:
            subprocess.run(["umount", "-l", str(runs)], check=True)
        assert code == 1, driver.output[-3000:]
        assert "Traceback" not in driver.output, driver.output[-3000:]
        assert "the sweep stopped" in driver.output and "ead-only" in driver.output
    failed = [r for r in searched(swept.state()) if r.status is TrialStatus.FAILED]
    assert failed and all("ead-only" in str(r.reason) for r in failed), failed
    swept.sweep("run", spec, "--retry-failed").expect()
    assert {r.status for r in searched(swept.state())} == {TrialStatus.COMPLETED}
    check_invariants(Left.of(swept), processes=family, seconds=90 * PATIENCE)


@pytest.mark.fault("R6")
def test_a_sweep_works_below_a_long_path_with_spaces_and_every_script(tmp_path: Path) -> None:
    odd = tmp_path / "with spaces & 'quotes'" / "ünï-日本-👩‍👧" / ("long" * 50)
    odd.mkdir(parents=True)
    assert len(str(odd)) > 250
    spec = write_spec(odd / "user", trials=2, tokens=15_000, rungs="[1]")
    swept = Swept(spec.parent, spec, odd / "store")
    env = environment(TMPDIR=str(odd))
    done = run(*swept.command, cwd=swept.cwd, env=env)
    if done.code != 0:  # a message before anything starts is the other way to hold
        assert done.code == 2 and "Traceback" not in done.err and not swept.store.exists(), done.err
        swept.run().expect()
    check_invariants(Left.of(swept))


@pytest.mark.fault("R7")
def test_deepspeed_trains_without_a_compiler_and_past_a_stale_lock_of_its_builds(
    tmp_path: Path,
) -> None:
    extensions = tmp_path / "extensions"
    for name in ("", "shm_comm", "deepspeed_shm_comm", "fused_adam"):
        (extensions / name).mkdir(parents=True, exist_ok=True)
        (extensions / name / "lock").touch()
    runtime = Runtime(engine="deepspeed", zero_stage=2, device="cpu")
    config = tiny.trial(
        tmp_path, tiny.llama(tmp_path / "llama"), runtime=runtime, budget=300, rungs=(300,)
    )
    request = TrainRequest(config=config, seed=0, rung=0, sweep_folder=str(tmp_path))
    trial = object.__new__(SweepTrial)
    env = {
        "PATH": str(tmp_path / "nothing"),
        "CXX": "",
        "TORCH_EXTENSIONS_DIR": str(extensions),
        "OMP_NUM_THREADS": "1",
        "DS_ACCELERATOR": "cpu",
    }
    trial.setup(
        {
            REQUEST_KEY: request.model_dump_json(),
            "entry_point": "keepgain.trainers.worker",
            "env": env,
        }
    )
    try:
        report = RungReport.model_validate_json(trial.step()[REPORT_KEY])
    finally:
        trial.cleanup()
    assert report.numerics["engine"] == "deepspeed" and report.final
    assert sys.executable.startswith("/")
