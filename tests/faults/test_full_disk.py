"""Disks without room: for real, on small file systems in memory."""

import errno
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from keepgain.core.config import ModelRef
from keepgain.core.errors import KeepgainError, UserError
from keepgain.core.publish import verify
from keepgain.core.status import FailureCause, TrialStatus
from keepgain.core.work import TrainRequest
from keepgain.sweeps.full_disk import said_of_full_disk
from keepgain.sweeps.plan.disk import DiskPart, check_disk
from keepgain.sweeps.search.ledger import Finished, Ledger, StageFinished, read_events
from keepgain.trainers.jobs import Jobs
from keepgain.trainers.process import prepare_libraries
from tests.sweeps.e2e.world import NAME, Swept, background, item_scores, searched, write_spec
from tests.trainers import tiny


@pytest.fixture(autouse=True, scope="module")
def libraries() -> None:
    prepare_libraries()


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    return tiny.llama(tmp_path_factory.mktemp("models") / "llama")


@contextmanager
def disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A file system of its own at `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    try:
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("no file system can be mounted here")
    except FileNotFoundError:
        pytest.skip("no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Takes all the room; the file gives it back."""
    path = folder / "rest"
    with pytest.raises(OSError, match="No space left"), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    with pytest.raises(OSError, match="No space left"), path.open("ab", buffering=0) as file:
        while True:
            file.write(b"0")
    return path


@pytest.mark.fault("R1")
def test_a_full_place_of_checkpoints_fails_the_trial_and_keeps_its_last_one(tmp_path, llama):
    config = tiny.trial(tmp_path, llama, budget=1200, rungs=(400, 800, 1200))
    other = config.model_copy(update={"learning_rate": 1e-3})
    with disk(tmp_path / "place", 16) as place:

        def request(config, rung, **options):
            return TrainRequest(
                config=config, seed=0, rung=rung, sweep_folder=str(tmp_path / "sweep"),
                checkpoints=str(place / "sweep-1"), **options,
            )  # fmt: skip

        first = Jobs().do(request(config, 0)).report
        assert first is not None
        rest = fill(place)
        failed = Jobs().do(request(config, 1, resume_from=first.checkpoint))
        assert (failed.report, failed.cause) == (None, FailureCause.DISK_FULL), failed.detail
        folder = Path(str(first.checkpoint))
        verify(folder)
        assert [p.name for p in folder.parent.iterdir()] == ["checkpoint-r0"]
        # Another trial that needs no room there goes on.
        last = Jobs().do(request(other, 2, keep_checkpoint=False))
        assert last.report is not None, last.detail
        rest.unlink()
        again = Jobs().do(request(config, 2, resume_from=first.checkpoint, keep_checkpoint=False))
        assert again.report is not None and again.report.warnings == ()
        assert not folder.exists(), "it ended, and so did its checkpoint"


@pytest.mark.fault("R1")
def test_a_ledger_without_room_keeps_what_it_has_and_takes_more_later(tmp_path):
    with disk(tmp_path / "place", 1) as place:
        path = place / "ledger.jsonl"
        event = StageFinished(stage="base", note="x" * 3000)
        with Ledger.open(path) as ledger:
            ledger.append(event)
            rest = fill(place)
            with pytest.raises(OSError) as caught:
                for _ in range(9):
                    ledger.append(event)
            assert caught.value.errno == errno.ENOSPC
            kept = len(ledger.events())
            assert len(read_events(path)) == kept, "no half line"
            rest.unlink()
            ledger.append(event)
        with Ledger.open(path) as ledger:
            assert len(ledger.events()) == kept + 1


def test_a_full_disk_is_one_line_whatever_it_led_to(tmp_path):
    with pytest.raises(KeepgainError) as caught, said_of_full_disk(tmp_path):
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError:
            raise RuntimeError("the spool could not be closed") from None
    assert caught.value.exit_code == 1
    assert "No space left on device" in str(caught.value) and "\n" not in str(caught.value)
    for error in (ValueError("something else"), OSError(errno.EACCES, "no")):
        with pytest.raises(type(error)), said_of_full_disk(tmp_path):
            raise error


def test_an_error_that_hides_the_full_disk_is_laid_to_it_and_a_clear_one_is_not(tmp_path):
    with disk(tmp_path / "place", 1) as place:
        fill(place)
        with pytest.raises(KeepgainError, match="No space left on device"):
            with said_of_full_disk(place):
                raise EOFError("Ran out of input")
        with pytest.raises(UserError, match="clear"), said_of_full_disk(place):
            raise UserError("clear")


def test_what_cannot_fit_is_refused_with_the_sums_and_what_nearly_does_is_said(tmp_path):
    def parts(place: str) -> list[DiskPart]:
        return [
            DiskPart(what="m checkpoints", bytes=9 << 20, arithmetic="3 × 3 MiB", place=place),
            DiskPart(what="record", bytes=5 << 20, arithmetic="5 × 1 MiB"),
        ]

    with disk(tmp_path / "place", 16) as place:
        apart = str(place / "not" / "there" / "yet")
        sweep = place / "sweep"
        (warning,) = check_disk(parts(""), sweep)
        assert "14 MiB on disk, and 16 MiB are free" in warning and str(sweep) in warning
        assert check_disk(parts(apart), sweep) == (warning,), "one file system, one sum"
        assert check_disk(parts("s3://bucket/x"), sweep) == (), "nobody can ask it"
        assert check_disk(parts(""), sweep, held=5 << 20) == (), "what is there needs no room"
        assert check_disk(parts(apart), sweep, held_apart=5 << 20) == (), "nor what is there apart"
        assert check_disk(parts(apart), tmp_path / "sweep") == ()
        (place / "taken").write_bytes(bytes(8 << 20))
        with pytest.raises(UserError) as caught:
            check_disk(parts(apart), tmp_path / "sweep")
        # A sweep that goes on: the checkpoints that fill the disk are its own.
        assert check_disk(parts(apart), tmp_path / "sweep", held_apart=8 << 20) == ()
        said = str(caught.value)
        assert "9 MiB  m checkpoints: 3 × 3 MiB" in said and "8 MiB are free" in said
        assert "record" not in said and apart in said


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Swept:
    folder = tmp_path_factory.mktemp("undisturbed")
    swept = Swept(folder, write_spec(folder, trials=2, failure_rate=0.9), folder / "store")
    swept.run().expect()
    return swept


@pytest.mark.fault("R1")
@pytest.mark.processes
@pytest.mark.timeout(900)
@pytest.mark.parametrize("which", ["checkpoints", "ledger"])
def test_a_sweep_goes_on_when_there_is_room_again(tmp_path, undisturbed, which):
    """The place of the checkpoints is full before the first one; the ledger's disk fills up when a
    trial has reached a rung. At the next run there is room.

    One generation: what failed in an earlier one stays so, since the sampler has drawn on it."""
    with disk(tmp_path / "small", 64) as small:
        spec = write_spec(tmp_path, trials=2, failure_rate=0.9)
        store = small / "store" if which == "ledger" else tmp_path / "store"
        if which == "checkpoints":
            spec.write_text(spec.read_text() + f"storage: {{checkpoints: {small}}}\n")
        swept = Swept(tmp_path, spec, store)
        with background(*swept.command, cwd=tmp_path, log=tmp_path / "log") as running:
            if which == "checkpoints":
                running.until("Ray was there", lambda: "slots: " in running.output)
            else:
                running.until(
                    "a trial was scored", lambda: any(r.reports for r in searched(swept.state()))
                )
            rest = fill(small)
            assert running.wait(240) == 1, running.output[-3000:]
        said = running.output
        assert "Traceback" not in said, said[-3000:]
        if which == "ledger":
            (line,) = [x for x in said.splitlines() if x.startswith("sweep: ")]
            assert "No space left on device" in line and "run the same command again" in line
        else:
            causes = {r.cause for r in searched(swept.state()) if r.status is TrialStatus.FAILED}
            assert causes == {FailureCause.DISK_FULL}
        before = swept.events()
        assert swept.folder.name.startswith(NAME)
        rest.unlink()
        swept.run().expect()
        assert swept.events()[: len(before)] == before, "nothing of the ledger was lost"
        assert item_scores(swept.folder) == item_scores(undisturbed.folder)
        ends = [e for e in swept.events() if isinstance(e, Finished)]
        completed = [e.run_key for e in ends if e.status is TrialStatus.COMPLETED]
        assert len(completed) == len(set(completed))
        assert not list(small.glob("*/*/checkpoint-r*")), "checkpoints end with their runs"
