"""The protocol of a worker process."""

import json
import os
import subprocess
import sys

from keepgain.core.config import ScoreConfig
from keepgain.core.work import ScoreRequest, TrainRequest, WorkReply
from tests.trainers import tiny


def test_requests_are_answered_in_order_on_their_own_descriptor_until_input_closes(tmp_path, llama):
    config = tiny.trial(tmp_path, llama, budget=600, rungs=(300, 600))
    good = TrainRequest(config=config, seed=0, rung=0, sweep_folder=str(tmp_path))
    base = ScoreRequest(
        config=ScoreConfig(model=llama, suites=config.suites),
        report_as="base",
        sweep_folder=str(tmp_path),
    )
    lost = llama.model_copy(update={"path": str(tmp_path / "nowhere")})
    bad = ScoreRequest(
        config=ScoreConfig(model=lost, suites=config.suites),
        report_as="lost",
        sweep_folder=str(tmp_path),
    )
    read, write = os.pipe()
    worker = subprocess.Popen(
        [sys.executable, "-m", "keepgain.trainers.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        pass_fds=(write,),
        env={**os.environ, "KEEPGAIN_REPLY_FD": str(write)},
    )
    os.close(write)
    assert worker.stdin is not None
    with os.fdopen(read) as replies:

        def ask(line: str) -> WorkReply:
            assert worker.stdin is not None
            worker.stdin.write(line + "\n")
            worker.stdin.flush()
            answer = next(line for line in replies if line.strip())  # others are signs of life
            return WorkReply.model_validate_json(answer)

        trained = ask(good.model_dump_json())
        scored = ask(base.model_dump_json())
        failed = ask(bad.model_dump_json())
        nonsense = ask('{"op": "dance"}')
        worker.stdin.close()
        assert worker.wait(30) == 0
        assert replies.read() == ""
    assert trained.report is not None, trained.detail
    assert trained.cause is None
    assert not trained.report.final
    assert scored.report is not None
    assert scored.report.tokens == 0
    assert failed.report is None
    assert failed.cause == "exception"
    assert "no causal language model can be read" in str(failed.detail)
    assert nonsense.cause == "exception"
    log = (tmp_path / "runs" / "lost" / "worker.log").read_text()
    assert "nowhere" in log

    spool = tmp_path / "spool" / f"{good.run_key}.jsonl"
    points = [json.loads(line) for line in spool.read_text().splitlines()]
    assert {p["event"] for p in points} == {"metrics"}
    assert len(points) <= 200
    assert set(points[-1]["values"]) == {"train/loss", "train/learning_rate", "train/grad_norm"}
    assert points[-1]["step"] == trained.report.tokens
    cost = trained.report.cost
    named = {
        "train_seconds", "score_seconds", "train_flops", "peak_memory_bytes", "parameters",
        "trainable_parameters", "generated_tokens_per_second", "prompt_tokens_per_item",
        "prefill_tokens_per_second", "seconds_per_answer_p95", "kv_cache_bytes_per_token",
    }  # fmt: skip
    assert named <= cost.keys()
    assert all(v > 0 for v in cost.values())
    assert trained.report.numerics["dtype"] == "float32"


def test_a_worker_ends_when_the_process_that_started_it_is_gone(tmp_path):
    code = (
        "import os, subprocess, sys, time\n"
        "r, w = os.pipe()\n"
        "p = subprocess.Popen([sys.executable, '-m', 'keepgain.trainers.worker'],\n"
        "    stdin=r, pass_fds=(w,), env={**os.environ, 'KEEPGAIN_REPLY_FD': str(w)})\n"
        "print(p.pid, flush=True)\n"
        "time.sleep(2)\n"
        "os._exit(0)\n"
    )
    # This process keeps the worker's input open, so only the missing parent can end it.
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    pid = int(done.stdout.split()[0])
    import time

    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.2)
    os.kill(pid, 9)
    raise AssertionError("the worker outlived its parent")
