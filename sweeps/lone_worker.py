"""A training worker outside any sweep, for a job or two: a calibration, a refit, newer items."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from keepgain.cluster.process import WorkerLost
from keepgain.cluster.ranks import Ranks
from keepgain.core.errors import TrialFailure
from keepgain.core.launch import LaunchSpec, ResourceRequest
from keepgain.core.record import RungReport
from keepgain.core.status import FailureCause
from keepgain.core.work import ScoreRequest, TrainRequest, WorkReply
from keepgain.sweeps.crew import worker_env
from keepgain.sweeps.gates.resources import detect_machine, plan_slots
from keepgain.sweeps.spec_resources import ResourcesSpec

WORKER = "keepgain.trainers.worker"


@contextmanager
def lone_worker(resources: ResourceRequest, ranks: int, log: Path) -> Iterator[Ranks]:
    """Processes that end with the context.

    Args:
        resources: Of all of them together.
        ranks: How many.
        log: Gets what they print.
    """
    env = worker_env(resources, ranks)
    spec = LaunchSpec(entry_point=WORKER, env=env, log_path=str(log), world_size=ranks)
    worker = Ranks(spec)
    try:
        yield worker
    finally:
        worker.close()


def trained(
    worker: Ranks, request: TrainRequest | ScoreRequest, timeout_seconds: float | None = None
) -> RungReport:
    """Trains to a rung, or scores.

    Raises:
        TrialFailure: The worker says so, was lost, or took too long.
    """
    try:
        answer = worker.request(request.model_dump(mode="json"), timeout_seconds=timeout_seconds)
    except WorkerLost as lost:
        raise TrialFailure(FailureCause.WORKER_LOST, str(lost)) from None
    reply = WorkReply.model_validate(answer)
    if reply.report is None:
        raise TrialFailure(reply.cause or FailureCause.EXCEPTION, reply.detail or "no detail")
    return reply.report


def resources_of(spec: Mapping[str, Any]) -> ResourceRequest:
    """What a trial of a sweep would hold on this machine.

    Args:
        spec: Of the sweep, as JSON.
    """
    asked = ResourcesSpec.model_validate(spec["resources"])
    fit = plan_slots(
        detect_machine(),
        cpus_per_trial=asked.cpus_per_trial,
        gpus_per_trial=asked.gpus_per_trial,
        workers_per_trial=asked.workers_per_trial,
    )
    return ResourceRequest(cpus=fit.cpus_per_trial, gpus=fit.gpus_per_trial)
