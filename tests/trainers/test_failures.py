"""Memory and disk that run out, for real: below limits of the operating system."""

import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from keepgain.core.config import Runtime
from keepgain.core.publish import verify
from keepgain.core.work import TrainRequest
from keepgain.trainers.failures import OutOfMemory, is_disk_full, is_memory, reply_of
from keepgain.trainers.jobs import Jobs
from tests.trainers import tiny


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Python ignores the signal that a write beyond the limit sends; the write then fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("no file system can be mounted here")
    except FileNotFoundError:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def requests(tmp_path: Path, llama, sweep: Path) -> list[TrainRequest]:
    config = tiny.trial(tmp_path, llama, budget=900, rungs=(300, 600, 900))
    return [
        TrainRequest(
            config=config,
            seed=0,
            rung=rung,
            sweep_folder=str(sweep),
            resume_from=f"runs/{config.trial_id}-s0/checkpoint-r{rung - 1}" if rung else None,
        )
        for rung in range(3)
    ]


@pytest.mark.fault("R1")
def test_a_full_disk_leaves_the_last_checkpoint_and_is_called_so(tmp_path, llama, small_disk):
    first, second, _ = requests(tmp_path, llama, small_disk)
    made = Jobs().do(first)
    assert made.report is not None, made.detail
    rest = small_disk / "rest"
    with pytest.raises(OSError, match="No space left"), rest.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1000))
    failed = Jobs().do(second)
    assert (failed.report, failed.cause) == (None, "disk_full"), failed.detail
    folder = small_disk / "runs" / first.run_key
    verify(folder / "checkpoint-r0")
    assert not list(folder.glob("tmp.*"))
    rest.unlink()
    again = Jobs().do(second)
    assert again.report is not None and again.report.warnings == ()


@pytest.mark.fault("R1")
def test_a_limit_of_file_sizes_counts_as_a_full_disk(tmp_path, llama):
    first, second, _ = requests(tmp_path, llama, tmp_path)
    assert Jobs().do(first).report is not None
    with files_of_at_most(30_000):
        failed = Jobs().do(second)
    assert failed.cause == "disk_full", failed.detail
    verify(tmp_path / "runs" / first.run_key / "checkpoint-r0")


def test_what_torch_says_of_a_full_disk_is_known(tmp_path):
    """DeepSpeed writes by `torch.save`, which gives no number of the error."""
    tensor = torch.zeros(100_000)
    with files_of_at_most(10_000), pytest.raises(RuntimeError) as caught:
        torch.save(tensor, tmp_path / "tensor.pt")
    assert is_disk_full(caught.value), repr(caught.value)
    (tmp_path / "broken.pt").write_bytes(b"PK\3\4 and nothing more")
    with pytest.raises(RuntimeError) as caught:
        torch.load(tmp_path / "broken.pt")
    assert not is_disk_full(caught.value), repr(caught.value)


@pytest.mark.fault("R3")
def test_what_torch_says_when_memory_ran_out_is_known():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_memory(caught.value)


@pytest.mark.parametrize(
    ("engine", "batch", "world", "micro", "smaller"),
    [
        ("torch", 16, 1, None, 8),
        ("torch", 12, 1, 6, 3),
        ("deepspeed", 12, 1, 3, 1),
        ("deepspeed", 16, 2, None, 4),
        ("torch", 16, 1, 1, None),
    ],
)
@pytest.mark.fault("R3")
def test_half_the_micro_batch_is_next_where_it_cuts_the_batch_evenly(
    tmp_path, llama, engine, batch, world, micro, smaller
):
    runtime = Runtime(engine=engine, world_size=world, micro_batch_size=micro)
    config = tiny.trial(tmp_path, llama, batch_size=batch, runtime=runtime)
    sizes = {"rows": 3, "tokens": 96, "parameters": 5000}
    error = OutOfMemory(MemoryError("none left"), config, 7, 3 << 30, sizes)
    reply = reply_of(error)
    assert reply.cause == "out_of_memory"
    assert reply.smaller_micro_batch == smaller
    assert ("no smaller micro-batch is left" in str(reply.detail)) == (smaller is None)
    for part in ("at step 7", "3 GiB", "3 rows, 96 tokens", "none left"):
        assert part in str(reply.detail)
