"""A training worker outside any sweep, for a job or two: `sweep plan --calibrate`, a refit."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from keepgain.cluster.process import WorkerLost
from keepgain.cluster.ranks import Ranks
from keepgain.core.errors import TrialFailure
from keepgain.core.launch import LaunchSpec, ResourceRequest
from keepgain.core.record import RungReport
from keepgain.core.status import FailureCause
from keepgain.core.work import TrainRequest, WorkReply
from keepgain.sweeps.crew import worker_env

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
    worker: Ranks, request: TrainRequest, timeout_seconds: float | None = None
) -> RungReport:
    """Trains to a rung.

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
