"""Two launches in all: each pays for DeepSpeed's start."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("deepspeed")

from safetensors.torch import load_file

from keepgain.core.config import Runtime
from keepgain.core.items import read_items
from keepgain.core.work import TrainRequest, WorkReply
from keepgain.trainers.engine_deepspeed import deepspeed_config
from keepgain.trainers.jobs import Jobs
from keepgain.trainers.models import numerics_of
from tests.trainers import tiny


def work(requests: list[TrainRequest]) -> list[WorkReply]:
    """One worker process for all requests."""
    read, write = os.pipe()
    worker = subprocess.run(
        [sys.executable, "-m", "keepgain.trainers.worker"],
        input="".join(r.model_dump_json() + "\n" for r in requests),
        text=True,
        capture_output=True,
        pass_fds=(write,),
        env={**os.environ, "KEEPGAIN_REPLY_FD": str(write)},
        check=False,
    )
    os.close(write)
    with os.fdopen(read) as replies:
        lines = [line for line in replies if line.strip()]  # others are signs of life
    assert worker.returncode == 0, worker.stderr[-3000:]
    return [WorkReply.model_validate_json(line) for line in lines]


def test_zero_2_in_one_process_trains_resumes_bit_exactly_and_agrees_with_torch(tmp_path, llama):
    runtime = Runtime(engine="deepspeed", zero_stage=2, micro_batch_size=4)
    config = tiny.trial(tmp_path, llama, runtime=runtime, budget=2000, rungs=(1000, 2000))
    once, twice, plain = (tmp_path / n for n in ("once", "twice", "plain"))

    def request(sweep: Path, rung: int, resume_from: str | None = None) -> TrainRequest:
        return TrainRequest(
            config=config, seed=3, rung=rung, resume_from=resume_from,
            sweep_folder=str(sweep), keep_model=True,
        )  # fmt: skip

    first, whole = work([request(twice, 0), request(once, 1)])
    assert first.report is not None, first.detail
    assert whole.report is not None, whole.detail
    (resumed,) = work([request(twice, 1, first.report.checkpoint)])
    assert resumed.report is not None, resumed.detail
    assert resumed.report.warnings == ()
    assert resumed.report.metrics == whole.report.metrics
    a, b = (
        load_file(sweep / str(whole.report.model_folder) / "model.safetensors")
        for sweep in (once, twice)
    )
    assert all((a[k] == b[k]).all() for k in a)
    pairs = zip(
        read_items(once / whole.report.items_path),
        read_items(twice / resumed.report.items_path),
        strict=True,
    )
    assert all((x.values == y.values).all() for (_, x), (_, y) in pairs)

    torch_config = config.model_copy(update={"runtime": Runtime()})
    job = TrainRequest(
        config=torch_config, seed=3, rung=1, sweep_folder=str(plain), keep_model=True
    )
    reference = Jobs().do(job).report
    assert reference is not None
    c = load_file(plain / str(reference.model_folder) / "model.safetensors")
    assert max(float((a[k] - c[k]).abs().max()) for k in a) < 1e-4


def test_the_configuration_is_concrete(tmp_path, llama):
    runtime = Runtime(engine="deepspeed", zero_stage=2, micro_batch_size=2)
    config = tiny.trial(tmp_path, llama, runtime=runtime)
    made = deepspeed_config(config, numerics_of(runtime))
    assert "auto" not in json.dumps(made)
    micro, steps = made["train_micro_batch_size_per_gpu"], made["gradient_accumulation_steps"]
    assert micro * steps == made["train_batch_size"] == config.batch_size
