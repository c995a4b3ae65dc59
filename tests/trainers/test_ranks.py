"""Several processes train one run: over gloo, with every ZeRO stage, beside plain PyTorch."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("deepspeed")

from safetensors.torch import load_file

from keepgain.cluster.ranks import Ranks
from keepgain.core.config import LoraSettings, ModelRef, Runtime, TrialConfig
from keepgain.core.launch import LaunchSpec
from keepgain.core.record import RungReport
from keepgain.core.store.tail import SpoolTail
from keepgain.core.work import TrainRequest, WorkReply
from keepgain.trainers.jobs import Jobs
from tests.trainers import tiny

LOSS = 2e-5
"""Relative difference of losses that stages and numbers of ranks may have: sums in float32 are
taken in another order, over some 20 steps."""
WEIGHT = 1e-4
"""Absolute difference of weights after them; they move by up to some 0.05."""


@pytest.fixture(scope="module", params=[2])
def ranks(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Ranks]:
    started = start("keepgain.trainers.worker", request.param, tmp_path_factory.mktemp("ranks"))
    yield started
    started.kill()


@pytest.fixture(scope="module")
def alone(tmp_path_factory: Any) -> Iterator[Ranks]:
    started = start("keepgain.trainers.worker", 1, tmp_path_factory.mktemp("alone"))
    yield started
    started.kill()


def start(entry_point: str, world: int, folder: Path) -> Ranks:
    env = {"OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu", "PYTHONPATH": os.getcwd()}
    log = str(folder / "ranks.log")
    return Ranks(LaunchSpec(entry_point=entry_point, env=env, world_size=world, log_path=log))


def configuration(
    folder: Path, model: ModelRef, method: str, runtime: Runtime, budget: int = 2400
) -> TrialConfig:
    options: dict[str, Any] = {"lora": LoraSettings(rank=4)} if method == "lora" else {}
    return tiny.trial(
        folder, model, method=method, runtime=runtime, budget=budget,
        rungs=(budget // 2, budget), **options,
    )  # fmt: skip


def request_for(config: TrialConfig, sweep: Path, rung: int = 1, **options: Any) -> TrainRequest:
    return TrainRequest(
        config=config, seed=3, rung=rung, sweep_folder=str(sweep), keep_model=True, **options
    )


def asked(ranks: Ranks, request: TrainRequest) -> RungReport:
    answer = ranks.request(request.model_dump(mode="json"), failed=lambda r: r["report"] is None)
    reply = WorkReply.model_validate(answer)
    assert reply.report is not None, f"{reply.cause}: {reply.detail}"
    return reply.report


def losses(sweep: Path) -> list[float]:
    return [
        line.event["values"]["train/loss"]
        for line in SpoolTail(sweep / "spool").read()
        if line.event is not None and line.event["event"] == "metrics"
    ]


def weights(report: RungReport, sweep: Path) -> dict[str, torch.Tensor]:
    (path,) = (sweep / str(report.model_folder)).glob("*.safetensors")
    return load_file(path)


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("ranks", [4, 2], indirect=True)
def test_every_stage_trains_as_plain_pytorch_does(tmp_path, llama, ranks, method):
    """Losses of every step and exported weights; a micro-batch of one row, accumulated."""
    world = len(ranks._ranks)
    plain = configuration(tmp_path, llama, method, Runtime(), 1200)
    reference = Jobs().do(request_for(plain, tmp_path / "plain")).report
    assert reference is not None
    expected, made = losses(tmp_path / "plain"), weights(reference, tmp_path / "plain")
    assert len(expected) > 8
    cpu = {"device": "cpu"}
    ways: list[tuple[int, Any]] = [(0, None), (1, None), (2, None), (3, None)]
    ways += [(2, {"offload_optimizer": cpu}), (3, {"offload_optimizer": cpu, "offload_param": cpu})]
    for stage, zero in ways if world == 2 else [(1, None), (3, None)]:
        sweep = tmp_path / f"stage-{stage}{'-offload' if zero else ''}"
        runtime = Runtime(
            engine="deepspeed", zero_stage=stage, world_size=world, micro_batch_size=1,
            deepspeed=zero and {"zero_optimization": zero},
        )  # fmt: skip
        config = configuration(tmp_path, llama, method, runtime, 1200)
        report = asked(ranks, request_for(config, sweep))
        assert losses(sweep) == pytest.approx(expected, rel=LOSS), f"stage {stage}"
        assert report.tokens == reference.tokens
        found = weights(report, sweep)
        assert found.keys() == made.keys()
        for name, tensor in made.items():
            assert float((found[name] - tensor).abs().max()) < WEIGHT, (stage, name)
        for name, value in reference.metrics.items():
            assert report.metrics[name] == pytest.approx(value, abs=2e-3), (stage, name)
        assert ("deepspeed" in report.numerics) == (zero is not None)
    if method == "full":
        assert loaded_elsewhere(sweep / str(report.model_folder)) == pytest.approx(
            sum(float(tensor.abs().sum()) for tensor in found.values())
        )


def loaded_elsewhere(folder: Path) -> float:
    """Sum of the absolute weights, loaded in a process that cannot import DeepSpeed."""
    code = (
        "import sys\n"
        "sys.modules['deepspeed'] = None\n"
        "from transformers import AutoModelForCausalLM\n"
        f"model = AutoModelForCausalLM.from_pretrained({str(folder)!r})\n"
        "print(sum(float(p.abs().sum()) for p in model.parameters()))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def test_a_checkpoint_resumes_exactly_at_the_same_world_and_stage(tmp_path, llama, ranks):
    runtime = Runtime(
        engine="deepspeed", zero_stage=3, world_size=len(ranks._ranks), micro_batch_size=2
    )
    config = configuration(tmp_path, llama, "full", runtime)
    whole = asked(ranks, request_for(config, tmp_path / "whole"))
    # Another run in between, so that the second half must come from the checkpoint.
    half = asked(ranks, request_for(config, tmp_path / "half", 0))
    other = config.model_copy(update={"learning_rate": 1e-3})
    asked(ranks, request_for(other, tmp_path / "other", 0))
    resumed = asked(ranks, request_for(config, tmp_path / "half", resume_from=half.checkpoint))
    assert resumed.warnings == ()
    assert resumed.metrics == whole.metrics
    a, b = weights(whole, tmp_path / "whole"), weights(resumed, tmp_path / "half")
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_checkpoint_of_several_ranks_goes_on_in_one_and_at_another_stage(
    tmp_path, llama, ranks, alone, method
):
    runtime = Runtime(
        engine="deepspeed", zero_stage=2, world_size=len(ranks._ranks), micro_batch_size=2
    )
    config = configuration(tmp_path, llama, method, runtime)
    whole = asked(ranks, request_for(config, tmp_path / "whole"))
    half = asked(ranks, request_for(config, tmp_path / "half", 0))
    one = runtime.model_copy(update={"world_size": 1, "zero_stage": 1})
    moved = config.model_copy(update={"runtime": one})
    ended = asked(alone, request_for(moved, tmp_path / "half", resume_from=half.checkpoint))
    (warning,) = ended.warnings
    assert f"world_size {len(ranks._ranks)} (now 1), zero_stage 2 (now 1)" in warning
    assert losses(tmp_path / "half") == pytest.approx(losses(tmp_path / "whole"), rel=LOSS)
    a, b = weights(whole, tmp_path / "whole"), weights(ended, tmp_path / "half")
    assert all(float((a[name] - b[name]).abs().max()) < WEIGHT for name in a)
    assert not list((tmp_path / "half").rglob("tmp.*"))


@pytest.mark.fault("C1")
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before_it(tmp_path, llama, ranks):
    runtime = Runtime(
        engine="deepspeed", zero_stage=2, world_size=len(ranks._ranks), micro_batch_size=2
    )
    config = configuration(tmp_path, llama, "full", runtime)
    config = config.model_copy(update={"rungs": (800, 1600, 2400)})
    whole = asked(ranks, request_for(config, tmp_path / "whole", 2))
    sweep = tmp_path / "cut"
    first = asked(ranks, request_for(config, sweep, 0))
    shutil.copytree(sweep / str(first.checkpoint), tmp_path / "kept")
    second = asked(ranks, request_for(config, sweep, 1))
    shutil.copytree(tmp_path / "kept", sweep / str(first.checkpoint))
    (part, *_) = sorted((sweep / str(second.checkpoint)).rglob("*rank_1*optim_states.pt"))
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    other = config.model_copy(update={"learning_rate": 1e-3})
    asked(ranks, request_for(other, tmp_path / "other", 0))
    resumed = asked(ranks, request_for(config, sweep, 2, resume_from=second.checkpoint))
    (warning,) = resumed.warnings
    assert "checkpoint not used" in warning and part.name in warning
    assert resumed.metrics == whole.metrics


@pytest.mark.fault("N1")
def test_a_loss_that_is_not_finite_ends_all_ranks_at_once(tmp_path, llama, ranks):
    """The last test of these ranks: they are gone afterwards."""
    runtime = Runtime(
        engine="deepspeed", zero_stage=2, world_size=len(ranks._ranks), micro_batch_size=2
    )
    config = configuration(tmp_path, llama, "full", runtime)
    config = config.model_copy(update={"learning_rate": 1e30, "warmup_share": 0.0})
    request = request_for(config, tmp_path).model_dump(mode="json")
    failed = ranks.request(request, lambda r: r["report"] is None, timeout_seconds=280)
    assert failed["cause"] == "nan"
    assert "at step 1, learning rate 1e+30" in failed["detail"]
    assert all(rank._process.poll() is not None for rank in ranks._ranks)


def test_another_number_of_processes_than_asked_for_is_refused(tmp_path, llama):
    config = configuration(
        tmp_path, llama, "full", Runtime(engine="deepspeed", world_size=2, micro_batch_size=1)
    )
    reply = Jobs().do(request_for(config, tmp_path))
    assert reply.report is None
    assert "world_size 2 is asked for, and 1 processes run" in str(reply.detail)


@pytest.fixture(scope="module")
def held_ranks(tmp_path_factory: Any) -> Iterator[Ranks]:
    started = start("tests.trainers.held_worker", 2, tmp_path_factory.mktemp("held"))
    yield started
    started.kill()


def test_each_of_two_ranks_holds_about_half_of_weights_and_moments_under_zero_3(
    tmp_path, llama, held_ranks
):
    """Between steps, with nothing kept whole for being small."""
    for stage, most_weights, most_moments in ((3, 0.55, 0.55), (2, 1.0, 0.55), (0, 1.0, 1.0)):
        runtime = Runtime(engine="deepspeed", zero_stage=stage, world_size=2, micro_batch_size=1)
        config = configuration(tmp_path, llama, "full", runtime)
        request = request_for(config, tmp_path, 0).model_dump(mode="json")
        answer = held_ranks.request(request, timeout_seconds=280)
        count = answer["parameters"]
        for held in answer["ranks"]:
            assert held["weights"] <= most_weights * count, stage
            assert held["moments"] <= most_moments * 2 * count, stage
        # All of it is somewhere, so the shares above are not those of an empty count.
        assert sum(h["weights"] for h in answer["ranks"]) >= count, stage
        assert sum(h["moments"] for h in answer["ranks"]) >= 2 * count, stage


def test_every_hyperparameter_reaches_every_rank(tmp_path, llama, held_ranks):
    """Elsewhere some reached the first rank only (transformers #34641)."""
    runtime = Runtime(engine="deepspeed", zero_stage=1, world_size=2, micro_batch_size=2)
    config = tiny.trial(
        tmp_path, llama, runtime=runtime, learning_rate=2e-3, schedule="constant",
        warmup_share=0.0, weight_decay=0.03, max_grad_norm=0.7, batch_size=12, dropout=0.15,
        label_smoothing=0.05, budget=60, rungs=(60,), budget_unit="examples",
    )  # fmt: skip
    request = request_for(config, tmp_path, 0).model_dump(mode="json")
    answer = held_ranks.request(request, timeout_seconds=280)
    assert len(answer["ranks"]) == 2
    for rank in answer["ranks"]:
        assert rank["settings"] == {
            "learning_rate": [2e-3],
            "weight_decay": [0.0, 0.03],
            "max_grad_norm": 0.7,
            "batch_size": 12,
            "micro_batch_size": 2,
            "accumulation": 3,
            "dropout": [0.15],
            "label_smoothing": 0.05,
            "examples": 60,
            "steps": 5,
        }
