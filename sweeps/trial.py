"""The trial that Ray Tune runs: a class Trainable without torch, which drives a training worker.

The only place that knows both `cluster` (processes) and `trainers` (by the name of its entry
point). One `step` is one rung. A worker of a single process is kept warm and serves the next trial
of the same actor; DeepSpeed leaves globals behind, so it gets fresh processes per rung: below this
actor, or on the other bundles of its placement group (`cluster.rank_actor`).
"""

import json
import os
import socket
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ray import tune

from keepgain.cluster.process import WorkerLost
from keepgain.cluster.rank_actor import trial_seats
from keepgain.cluster.ranks import Ranks
from keepgain.core.errors import TrialFailure
from keepgain.core.launch import LaunchSpec
from keepgain.core.status import FailureCause
from keepgain.core.work import ScoreRequest, TrainRequest, WorkReply
from keepgain.sweeps.job import Execution

REQUEST_KEY = "request"
REPORT_KEY = "report_json"
EXECUTION_KEY = "execution"


class SweepTrial(tune.Trainable):
    """Config: `request` (JSON of a TrainRequest or ScoreRequest), `entry_point` and `env` of the
    worker, `hang_seconds` (see `LaunchSpec`)."""

    _request: TrainRequest | ScoreRequest
    _env: dict[str, str]
    _entry_point: str
    _worker_pid: int

    def setup(self, config: dict[str, Any]) -> None:
        self._worker: Ranks | None = None
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Takes the next trial; the warm worker stays."""
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """One rung, or one scoring job.

        Raises:
            TrialFailure: The worker said so, or was lost.
        """
        began = time.time()
        reply = self._ask()
        if reply.smaller_micro_batch is not None and self._halve(reply):
            reply = self._ask()
        if reply.report is None:
            raise TrialFailure(reply.cause or FailureCause.EXCEPTION, reply.detail or "no detail")
        report = reply.report
        if isinstance(self._request, TrainRequest) and not report.final:
            self._request = self._request.model_copy(
                update={"rung": report.rung + 1, "resume_from": report.checkpoint}
            )
        execution = Execution(socket.gethostname(), self._worker_pid, began, time.time())
        # Not "done": then Tune would end the trial without showing the report to its scheduler.
        return {
            REPORT_KEY: report.model_dump_json(),
            EXECUTION_KEY: json.dumps(asdict(execution)),
        }

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """The worker's own checkpoint is the state; Tune keeps only where to go on."""
        request = self._request.model_dump_json()
        Path(checkpoint_dir, "request.json").write_text(request, encoding="utf-8")

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        """The reverse of `save_checkpoint`."""
        text = Path(checkpoint_dir, "request.json").read_text(encoding="utf-8")
        self._request = parse_request(text)

    def cleanup(self) -> None:
        """Ends the worker with the actor."""
        self._close_worker()

    def _begin(self, config: dict[str, Any]) -> None:
        self._request = parse_request(config[REQUEST_KEY])
        env: dict[str, str] = dict(config["env"])
        self._entry_point = config["entry_point"]
        self._hang_seconds: float | None = config.get("hang_seconds")
        if self._worker is not None and (env != self._env or self._needs_fresh_process()):
            self._close_worker()
        self._env = env

    def _needs_fresh_process(self) -> bool:
        return self._trains() and self._request.config.runtime.engine == "deepspeed"

    def _trains(self) -> bool:
        return isinstance(self._request, TrainRequest)

    def _ask(self) -> WorkReply:
        request = self._request
        if isinstance(request, TrainRequest) and request.rung == len(request.config.rungs) - 1:
            # Nothing goes on from there, and a checkpoint is some 12 bytes a parameter.
            request = request.model_copy(update={"keep_checkpoint": False})
        try:
            if self._worker is None:
                self._worker = Ranks(self._launch_spec(), trial_seats)
            self._worker_pid = self._worker.pid
            answer = self._worker.request(
                request.model_dump(mode="json"), failed=lambda reply: reply["report"] is None
            )
        except WorkerLost as lost:
            self._worker = None
            return WorkReply(cause=FailureCause.WORKER_LOST, detail=str(lost))
        if self._needs_fresh_process():
            self._close_worker()
        return WorkReply.model_validate(answer)

    def _halve(self, reply: WorkReply) -> bool:
        """Once in a trial, memory that ran out is met with a smaller micro-batch from here on.

        In fresh processes: the other ranks of a failed one are gone, and memory is in pieces.
        """
        request = self._request
        if not isinstance(request, TrainRequest) or request.out_of_memory is not None:
            return False
        self._close_worker()
        runtime = request.config.runtime.model_copy(
            update={"micro_batch_size": reply.smaller_micro_batch}
        )
        config = request.config.model_copy(update={"runtime": runtime})
        self._request = request.model_copy(update={"config": config, "out_of_memory": reply.detail})
        return True

    def _launch_spec(self) -> LaunchSpec:
        logs = Path(self._request.sweep_folder) / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        return LaunchSpec(
            entry_point=self._entry_point,
            env=self._env,
            # One process scores: its answers do not depend on how many could have shared the work.
            world_size=self._request.config.runtime.world_size if self._trains() else 1,
            log_path=str(logs / f"worker-{os.getpid()}.log"),
            hang_seconds=self._hang_seconds,
        )

    def _close_worker(self) -> None:
        if self._worker is not None:
            self._worker.close()
            self._worker = None


def parse_request(text: str) -> TrainRequest | ScoreRequest:
    """A request from its JSON, told apart by `op`."""
    if '"op":"train"' in text.replace(" ", ""):
        return TrainRequest.model_validate_json(text)
    return ScoreRequest.model_validate_json(text)
