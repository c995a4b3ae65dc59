"""Runs a program's jobs as Ray Tune trials, until it has none left.

The program decides (which job next, what a result means); Tune runs. Tune's own searcher and
experiment state is not used to continue a sweep: it omits too much (docs/DECISIONS.md). A
continued sweep rebuilds its program from the ledger and starts a fresh Tuner.
"""

import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from keepgain.core.launch import ResourceRequest
from keepgain.core.record import RungReport
from keepgain.core.status import FailureCause
from keepgain.sweeps.job import Execution, Job

TRAINING_WORKER = "keepgain.trainers.worker"
"""Entry point of a trial's worker: named, never imported, so that the driver needs no torch."""

SECONDS_TO_STOP = 5
"""After an interruption, a trial in the middle of a step is killed when this has passed."""


class Program(Protocol):
    """What the runner asks, always from the driver's main thread."""

    def next_job(self) -> Job | None:
        """The next job; None: nothing to start until a running one has ended."""
        ...

    @property
    def finished(self) -> bool:
        """True when no job is left or running, or the sweep must stop."""
        ...

    def on_started(self, job: Job) -> None:
        """The job's trial has begun to run."""
        ...

    def on_report(self, job: Job, report: RungReport, execution: Execution) -> None:
        """The job has reached a rung; `execution` says where and when."""
        ...

    def on_failed(self, job: Job, cause: FailureCause, detail: str) -> None:
        """The job's trial has ended badly."""
        ...

    def on_tick(self) -> None:
        """Called some ten times a second: progress, heartbeat."""
        ...


def run_program(
    program: Program,
    *,
    sweep_id: str,
    folder: Path,
    resources: ResourceRequest,
    slots: int,
    env: dict[str, str],
    entry_point: str = TRAINING_WORKER,
) -> bool:
    """Runs jobs until the program has finished.

    Args:
        folder: The sweep's folder; Tune's files go to `ray/` below it.
        resources: Of one trial.
        slots: Trials at a time. `max_concurrent_trials` is not used: it hangs with paused trials.
        env: Environment of the training workers.
        entry_point: Module that the workers run.

    Returns:
        False if the run was interrupted (SIGINT, SIGTERM or SIGUSR1).
    """
    os.environ.update(
        TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1",
        TUNE_MAX_PENDING_TRIALS_PG=str(slots),
        TUNE_FORCE_TRIAL_CLEANUP_S=str(SECONDS_TO_STOP),
        TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S="0",
        RAY_AIR_NEW_OUTPUT="0",
    )
    from ray import tune

    from keepgain.sweeps.trial import SweepTrial
    from keepgain.sweeps.tune_adapter import JobSearcher, ProgramCallback, SilentReporter

    searcher = JobSearcher(program, entry_point, env)
    tuner = tune.Tuner(
        tune.with_resources(SweepTrial, {"cpu": resources.cpus, "gpu": resources.gpus}),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            num_samples=-1,
            reuse_actors=True,
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        ),
        run_config=tune.RunConfig(
            name=sweep_id,
            storage_path=str(folder / "ray"),
            callbacks=[ProgramCallback(program, searcher)],
            progress_reporter=SilentReporter(),
            failure_config=tune.FailureConfig(max_failures=0),
            verbose=0,
        ),
    )
    _log_tune_to(folder / "logs")
    with _interruptions() as was_interrupted:
        tuner.fit()
    return not was_interrupted()


def _log_tune_to(logs: Path) -> None:
    """Tune's log lines go to a file: `sweep run` tells people what they mean."""
    logs.mkdir(parents=True, exist_ok=True)
    logger = logging.getLogger("ray.tune")
    logger.handlers = [logging.FileHandler(logs / "tune.log")]
    logger.propagate = False


def _trial_name(trial: Any) -> str:
    """Run key and Tune's id: short, and the same run may be tried again."""
    return f"{trial.config['run_key']}-{trial.trial_id[:8]}"


@contextmanager
def _interruptions() -> Iterator[Callable[[], bool]]:
    """Sends SIGINT and SIGTERM down Tune's orderly path (SIGUSR1), once; yields the question."""
    seen: list[int] = []

    def forward(number: int, _frame: FrameType | None) -> None:
        seen.append(number)
        if len(seen) == 1:
            os.kill(os.getpid(), signal.SIGUSR1)
        elif number == signal.SIGINT:
            raise KeyboardInterrupt  # the second Ctrl-C: leave now, the next run continues

    # Tune installs its SIGINT handler unless told not to; ours must stay in place.
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    old = {n: signal.signal(n, forward) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(seen)
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
